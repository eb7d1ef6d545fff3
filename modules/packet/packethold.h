// SPDX-License-Identifier: MIT
// Later fragments that came before their first one: copies of their frames wait for it, a bounded number of them, for
// a bounded time. Where there is no room for one more, the card that has most of them gives way, of its senders the
// one that has most, and of that one the fragment that came first: who sends nothing but such fragments pushes out
// those of others for no longer than he sends under more addresses than there are places.
// Owns those copies, whose memory is the pool's (packetbuf.h): no received frame is kept, so that none can be missing.
// Not here: which datagrams are under way (packetfrag.h). Context: main loop; host tests.

#ifndef FLOE_PACKETHOLD_H
#define FLOE_PACKETHOLD_H

#include "packetfrag.h"
#include "packethost.h"

enum { PACKET_HOLD_MOST = 32, PACKET_HOLD_SENDERS = 64 };

// What the room of a PACKET_REF_HELD has.
typedef struct {
    packet_frag_key_t key;
    uint64_t came_ns;
    uint16_t len;
    uint8_t card, sender; // by whom they are counted
    uint8_t frame[PACKET_HELD_ROOM - 56];
} packet_held_t;

typedef struct {
    packet_ref_t *ref[PACKET_HOLD_MOST]; // in the order in which they came
    uint8_t count;
    uint8_t of_card[NETDEV_MAX], of_sender[PACKET_HOLD_SENDERS];
} packet_hold_t;

// Copy the frame of a packet. from: a hash of who sent it. False: there is no room, or a device has left something of
// it to be done. The frame stays the caller's.
bool packet_hold_put(packet_hold_t *h, packet_base_t *b, const packet_t *p, const packet_frag_key_t *key,
                     uint64_t from);
// The next one of a datagram, in the order in which they came; the reference is the caller's then. NULL: none.
packet_ref_t *packet_hold_take(packet_hold_t *h, packet_base_t *b, const packet_frag_key_t *key);
// Give up those that have waited for too long, which is counted.
void packet_hold_age(packet_hold_t *h, packet_base_t *b);
// Give up all of them.
void packet_hold_forget(packet_hold_t *h, packet_base_t *b);

#endif
