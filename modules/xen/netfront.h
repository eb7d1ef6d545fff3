// SPDX-License-Identifier: MIT
// What joins the two halves of the Xen network driver: rings and verbs (netfront.c), handshake (netfront_xs.c).
// Xen public/io/netif.h. Owns nothing itself. Not here: netdev.h's verbs. Context: main loop.

#ifndef FLOE_NETFRONT_H
#define FLOE_NETFRONT_H

#include "netdev.h"
#include "xenbus.h"

typedef struct netfront netfront_t;

// What the backend takes from us.
typedef struct {
    bool sg;           // a frame in several pieces
    bool csum4, csum6; // TCP and UDP whose checksum it completes
    bool gso4, gso6;   // TCP that it cuts
} netfront_terms_t;

// Where the backend finds us, for its folder.
typedef struct {
    xen_grant_t tx_ring, rx_ring;
    xen_port_t port;
    bool gso; // it may give us large TCP frames
} netfront_contact_t;

// One card, with memory for its frames; not connected. `bus` outlives it. NULL: no memory.
netfront_t *netfront_new(const xenbus_dev_t *bus);
netdev_t *netfront_netdev(netfront_t *n);
// Its MTU is known.
void netfront_identified(netfront_t *n);
// Make rings and grants for the backend that `bus` names now.
// 0, or -errno with a log line: then nothing is left of them.
int netfront_connect(netfront_t *n, const netfront_terms_t *terms, netfront_contact_t *out);
// Its rings are there: since netfront_connect(), until netfront_disconnect().
bool netfront_connected(const netfront_t *n);
// The backend is connected too: frames flow, the link is up. Idempotent.
void netfront_start(netfront_t *n);
// The backend is going or gone: the link is down, what was in flight is lost and its cookies come back. Idempotent.
void netfront_disconnect(netfront_t *n);
// The same after HAL_RESUMED: there is nobody to take anything back from.
void netfront_forget(netfront_t *n);

#endif
