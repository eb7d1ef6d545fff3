// SPDX-License-Identifier: MIT
// What the engine asks of whoever has the cards (packetjoin.c; tests have fakes), and what it is told of them.
// Owns nothing. Context: main loop; host tests.

#ifndef FLOE_PACKETHOST_H
#define FLOE_PACKETHOST_H

#include <stddef.h>

#include "netdev.h"
#include "packetbuf.h"

// A card, as far as the engine must know it.
typedef struct {
    uint16_t vlan;       // whose tag its frames had; 0: none
    const netdev_t *dev; // MTU and features, which may change; NULL: there is no such card
    bool up;
    uint8_t mac[NETDEV_MAC_LEN];
    uint8_t ip4[4];  // all zero: none
    uint8_t ip6[16]; // one that is not link-local; all zero: none
} packet_card_t;

typedef struct {
    // The MAC address of who has this address on the card's network. False: not known.
    bool (*neighbour)(unsigned card, unsigned family, const uint8_t *address, uint8_t *mac);
    // Ask that network for it; nothing is waited for.
    void (*ask)(unsigned card, unsigned family, const uint8_t *address);
    // One more frame that this card received, in so many pieces, stays with the engine. False: it has enough of them.
    bool (*keep)(unsigned card, unsigned pieces);
    // A frame that was kept is given back to its card.
    void (*give_back)(unsigned card, void *cookie, unsigned pieces);
    // Send a frame whose cookie is a packet_ref_t. 0: packet_send_done() follows when it has left. Else it is not
    // taken, and as it was.
    int (*send)(unsigned card, netdev_frame_t *f);
    // A copy of a frame that this card received a while ago is for this machine; it stays the engine's.
    void (*deliver)(unsigned card, const netdev_frame_t *f);
} packet_host_t;

// What became of packets. In the order of packet_stat_names.
typedef enum {
    PACKET_N_FORWARDED,
    PACKET_N_FORWARDED_BYTES,
    PACKET_N_LOCAL,     // for this machine
    PACKET_N_NOT_OURS,  // for another machine on the link
    PACKET_N_FILTERED,  // a rule said so
    PACKET_N_REJECTED,  // the same, and the sender was told
    PACKET_N_NO_FLOW,   // no room for another flow, or no port
    PACKET_N_BAD,       // no packet: lengths, header checksum, source route
    PACKET_N_MARTIAN,   // from or to an address that nobody can have
    PACKET_N_SPOOFED,   // from an address of this machine's
    PACKET_N_BROADCAST, // to everybody on another network
    PACKET_N_BRIDGED,   // frames that left by a card of a bridge
    PACKET_N_NO_ROUTE,
    PACKET_N_EXPIRED,      // TTL, hop limit
    PACKET_N_TOO_BIG,      // for the link, and may not be cut
    PACKET_N_FRAGMENTED,   // was cut
    PACKET_N_SEGMENTED,    // TCP that the card cannot cut itself
    PACKET_N_HELD,         // later fragments that waited for their first one
    PACKET_N_HELD_LOST,    // those for which there was no room, or that waited in vain
    PACKET_N_UNREACHABLE,  // nobody answered for the next hop
    PACKET_N_NO_ROOM,      // too many wait for an answer, or are in flight
    PACKET_N_CARD_FULL,    // the card takes no more
    PACKET_N_ICMP,         // errors that were sent
    PACKET_N_ICMP_LIMITED, // errors that were not
    PACKET_N_COUNT
} packet_stat_t;
extern const char *const packet_stat_names[PACKET_N_COUNT];

// What all parts of the engine stand on.
typedef struct {
    const packet_host_t *host;
    packet_card_t card[NETDEV_MAX];
    packet_pool_t pool;
    uint64_t count[PACKET_N_COUNT];
    uint64_t now_ns; // of this call
} packet_base_t;

// Give up a reference, and its received frame with the last one.
static inline void packet_base_put(packet_base_t *b, packet_ref_t *ref) {
    packet_ref_t *frame = packet_ref_put(&b->pool, ref);
    if (frame != NULL) {
        b->host->give_back(frame->card, frame->cookie, frame->pieces);
    }
}

#endif
