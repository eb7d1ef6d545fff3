// SPDX-License-Identifier: MIT
// The console's ring (Xen public/io/console.h, struct xencons_interface): one page, shared with the console daemon.
// Owned by modules/xen/xen_console.c; port/xen/end.c writes into it where that does not run. Not here:
// events. Context: ring 3.

#ifndef FLOE_XENCONS_H
#define FLOE_XENCONS_H

#include "xen.h"

enum { XENCONS_IN = 1024, XENCONS_OUT = 2048 };

typedef struct {
    char in[XENCONS_IN], out[XENCONS_OUT];
    volatile uint32_t in_cons, in_prod, out_cons, out_prod; // all run freely
} xencons_ring_t;
_Static_assert(sizeof(xencons_ring_t) == 3088, "struct xencons_interface");

// Bytes given to the ring since the start (end.c): both writers go on from there, so that the last words of a panic are
// not written over by what the console had still to send.
extern uint32_t xen_console_prod;
// The ring and its event channel; NULL where the host gave none.
xencons_ring_t *xen_console_ring(xen_port_t *port);

#endif
