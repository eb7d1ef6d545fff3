// SPDX-License-Identifier: MIT
// What the parts of a socket owe each other; a part calls those above it in this list. Owns nothing. Not here: what the
// rest of the stack sees (sock.h). Context: main loop, and inside lwIP.

#ifndef FLOE_SOCK_INTERNAL_H
#define FLOE_SOCK_INTERNAL_H

#include "sock.h"

// ---- sock_base.c --------------------------------------------------------------------------------
// A socket of no protocol yet, all zero but for these two. The caller owns it and ends it with sock_free(). NULL: no
// memory.
sock_t *sock_alloc(int family, int type);
void sock_free(sock_t *s);
// It may have become readable or writable: end whoever waits for it.
void sock_changed(sock_t *s);
int sock_error_of(int lwip_err); // err_t -> -errno
int sock_take_error(sock_t *s);  // -errno to report now, 0 for none
// Whether an address may be used with this socket, as lwIP wants to see it (a v6 socket takes both kinds).
bool sock_addr_fits(const sock_t *s, const ip_addr_t *a);
void sock_refuse(sock_t *s);              // memory was refused
bool sock_still_refused(const sock_t *s); // and nothing was freed since
// Take a connection that nobody has accepted out of its listener's queue.
void sock_unqueue(sock_t *s);

// ---- sock_tcp.c: results as those of sock.h's verbs ---------------------------------------------
bool sock_tcp_open(sock_t *s);
void sock_tcp_abort(sock_t *s); // reset the connection, drop what came and was not read
void sock_tcp_close(sock_t *s); // of any but a listener
// Make s the owner of a connection: its callbacks come to us from now on.
void sock_tcp_adopt(sock_t *s, struct tcp_pcb *pcb);
int sock_tcp_bind(sock_t *s, const sock_addr_t *a);
int sock_tcp_connect(sock_t *s, const sock_addr_t *a);
ssize_t sock_tcp_send(sock_t *s, const void *data, size_t len);
ssize_t sock_tcp_recv(sock_t *s, void *out, size_t size);
size_t sock_tcp_readable(const sock_t *s, size_t max); // bytes that can be read at once, counted up to max
int sock_tcp_shutdown_write(sock_t *s);
unsigned sock_tcp_poll(const sock_t *s);

// ---- sock_listen.c ------------------------------------------------------------------------------
// End a listener and reset the connections nobody accepted.
void sock_listen_close(sock_t *s);

// ---- sock_udp.c ---------------------------------------------------------------------------------
bool sock_udp_open(sock_t *s);
void sock_udp_close(sock_t *s);
int sock_udp_bind(sock_t *s, const sock_addr_t *a);
int sock_udp_connect(sock_t *s, const sock_addr_t *a);
// to: NULL for the connected peer.
ssize_t sock_udp_send(sock_t *s, const void *data, size_t len, const sock_addr_t *to);
ssize_t sock_udp_recv(sock_t *s, void *out, size_t size, sock_addr_t *from);

// ---- sock_group.c -------------------------------------------------------------------------------
void sock_leave_groups(sock_t *s);

#endif
