// SPDX-License-Identifier: MIT
// What a frame on its way out belongs to: the received frame whose bytes it is, or a buffer of the engine's. Owns all
// of them, from one block at the start; no packet allocates. Context: main loop; host tests.

#ifndef FLOE_PACKETBUF_H
#define FLOE_PACKETBUF_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    PACKET_REF_FRAME, // stands for a received frame
    PACKET_REF_SMALL, // has room for headers; the rest of the frame is its parent's
    PACKET_REF_LARGE, // has room for an ICMP error
    PACKET_REF_HELD,  // has room for a fragment that waits (packethold.h)
    PACKET_REF_KINDS
} packet_ref_kind_t;

enum { PACKET_SMALL_ROOM = 256, PACKET_LARGE_ROOM = 1344, PACKET_HELD_ROOM = 1592 };

typedef struct packet_ref {
    struct packet_ref *next; // the next free one
    struct packet_ref *parent;
    void *cookie;  // of the received frame
    uint16_t refs; // frames in flight or waiting, and pieces; 0: free
    uint8_t card;  // which received it
    uint8_t kind, pieces;
} packet_ref_t;

typedef struct {
    packet_ref_t *free[PACKET_REF_KINDS];
} packet_pool_t;

// Those of all kinds but PACKET_REF_HELD. False: no memory.
bool packet_pool_init(packet_pool_t *pool);
// Those of one kind, once. False: no memory, there are none.
bool packet_pool_fill(packet_pool_t *pool, packet_ref_kind_t kind);
// One reference. NULL: none is free. With a parent, which gets one more.
packet_ref_t *packet_ref_get(packet_pool_t *pool, packet_ref_kind_t kind, packet_ref_t *parent);
// Give up one reference; the last frees it and gives up its parent's. Returns the received frame that nobody has any
// more, NULL if there is none: read what it has of it at once.
packet_ref_t *packet_ref_put(packet_pool_t *pool, packet_ref_t *ref);
// Its room, aligned to 8.
static inline uint8_t *packet_ref_data(packet_ref_t *ref) { return (uint8_t *)(ref + 1); }

#endif
