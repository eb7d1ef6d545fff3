// SPDX-License-Identifier: MIT
// Between sock_tcp.c and sock_listen.c only. Owns nothing. Context: main loop.

#ifndef FLOE_SOCK_INTERNAL_H
#define FLOE_SOCK_INTERNAL_H

#include "sock.h"

// Make s the owner of a connection: its callbacks come to us from now on.
void sock_tcp_adopt(sock_t *s, struct tcp_pcb *pcb);
// End a listener and reset the connections nobody accepted. pcb: its own.
void sock_listen_close(sock_t *s, struct tcp_pcb *pcb);
// A connection that waits to be accepted has died: take it out of its listener's queue.
void sock_listen_forget(sock_t *s);

#endif
