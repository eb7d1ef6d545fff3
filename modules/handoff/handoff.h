// SPDX-License-Identifier: MIT
// Connections that go to a copy of this VM. A connection stays where its packets come: the VM that had it relays it
// through two pipes, and in the copy the same socket stands on these. Owns the relays and what such sockets stand on.
// Not here: Python's objects (mod_handoff.c); which parts there are (handoff_internal.h). Context: main loop.

#ifndef FLOE_HANDOFF_H
#define FLOE_HANDOFF_H

#include <stddef.h>
#include <stdint.h>

#include "sock.h"

// A connection on its way.
typedef struct {
    sock_t *s;
    sock_addr_t peer;
    int in[2], out[2]; // descriptors: what the peer sends, and what it is sent
    void *memory;      // for what comes of it on either side
} handoff_t;

// Before the fork: the pipes. 0 or -errno, and then there are none.
int handoff_prepare(handoff_t *h, sock_t *s);
// After a fork that returned `pid`. In the copy h->s goes on; in the VM that had it, it is the relay's from here on;
// where there is no copy nothing has changed.
void handoff_finish(handoff_t *h, int32_t pid);

#endif
