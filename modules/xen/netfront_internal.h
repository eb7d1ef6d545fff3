// SPDX-License-Identifier: MIT
// One card, to the three files that work on it: frames in (netfront_rx.c), frames out (netfront_tx.c), coming and going
// (netfront.c). Owns nothing itself. Not here: what the handshake sees of it (netfront.h). Context: main loop.

#ifndef FLOE_NETFRONT_INTERNAL_H
#define FLOE_NETFRONT_INTERNAL_H

#include "netfront.h"
#include "netfront_ring.h"

enum { PAGE = HAL_PAGE_SIZE };
enum { ETH_HEADER = 14, VLAN_TAG = 4, FRAME_MAX = 65535 };

typedef struct txslot {
    xenring_page_t page;
    struct txslot *next; // of the frame; or in a list
    void *cookie;        // first of a frame that the stack has not got back
    uint16_t first;      // of its frame
    uint16_t left;       // first of a frame: answers to come
    bool asked;          // the backend has the request
} txslot_t;

typedef struct rxbuf {
    xenring_page_t page;
    struct rxbuf *next; // of the frame
    uint16_t offset, len;
    bool lent; // the stack has it
} rxbuf_t;

// netfront_t.
struct netfront {
    netdev_t dev; // first: the verbs get its address
    const xenbus_dev_t *bus;
    netfront_terms_t terms;
    xen_port_t port;             // 0: not connected
    bool up, rx_gso, tx_refused; // tx_refused: the stack met a full queue and waits for room
    unsigned spare_rings;
    xenring_t tx, rx;
    uint32_t slots; // of each kind
    txslot_t *txslot, *tx_free, *tx_done;
    uint32_t tx_free_count, tx_usable, tx_extras; // tx_extras: extra infos to be answered
    rxbuf_t *rxbuf, *posted[NETIF_RING_SIZE];
    rxbuf_t *first, *last; // frame in assembly
    uint64_t partial_since;
    uint32_t rx_total, rx_pieces;
    uint16_t rx_flags;    // of the frame's first piece
    uint16_t rx_gso_size; // of the frame's extra info, where it has one
    uint8_t rx_gso_type;
    bool rx_more, rx_extra, rx_gso_seen, rx_bad; // what comes next; what came
};

static inline netfront_t *netfront_of(netdev_t *dev) { return (netfront_t *)dev; }

// The backend lied: the card is dead, with one log line. -EIO.
static inline int netfront_die(netfront_t *n, const char *why) {
    n->dev.dead = true;
    return xenbus_say(n->bus, why, -EIO); // also while something else is tried again
}

// ---- netfront_rx.c ------------------------------------------------------------------------------
// Let the backend fill a buffer. Not connected, or the page is held: it stays where it is until we connect again.
void netfront_rx_post(netfront_t *n, rxbuf_t *b);
int netfront_rx_take(netdev_t *dev, netdev_frame_t *out);
void netfront_rx_return(netdev_t *dev, void *cookie);

// ---- netfront_tx.c ------------------------------------------------------------------------------
// No frame has the slot any more: it is free, unless its page is held.
void netfront_tx_free(netfront_t *n, txslot_t *s);
int netfront_tx_provide(netdev_t *dev, const netdev_frame_t *f);
void *netfront_tx_return(netdev_t *dev);

#endif
