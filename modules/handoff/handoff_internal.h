// SPDX-License-Identifier: MIT
// What the parts owe each other. Owns nothing. Context: main loop.

#ifndef FLOE_HANDOFF_INTERNAL_H
#define FLOE_HANDOFF_INTERNAL_H

#include <stdbool.h>

#include "handoff.h"

// One turn's most, so that a frame with it has two buffers of the line; and room for it, and for what else such a step
// sends: a READ, or the ends of both pipes.
enum { HANDOFF_CHUNK = 2 * 4096 - 12, HANDOFF_ROOM = 5 * 4096 };
enum { HANDOFF_MEMORY = 128 }; // of malloc(), for what either side keeps of a connection

// ---- handoffrelay.c: the VM that has the connection ----------------------------------------------
// s becomes the relay's, and the memory. in: writing end of what the peer sends; out: reading end of what it is sent.
void handoff_relay(void *memory, sock_t *s, int in, int out);
// Carry what can be carried. True: something was.
bool handoff_relay_run(bool frames_came);
// This VM is a copy: its relays are another's, and end.
void handoff_relay_copied(void);

// ---- handoffback.c: the VM that was given it -----------------------------------------------------
// s goes on over these, and has the memory. in: reading end of what the peer sends; out: writing end of what it is
// sent.
void handoff_back(void *memory, sock_t *s, const sock_addr_t *peer, int in, int out);
// Frames came: sockets may have become ready.
void handoff_back_run(void);
// This VM is a copy: what its sockets stand on is another's, and they are as after a reset.
void handoff_back_copied(void);

#endif
