// SPDX-License-Identifier: MIT
// A bridge of cards (IEEE 802.1D, without its spanning tree): frames go to the card behind which their destination was
// seen, or to all others. It is a card itself, with an address of this machine's on it. Owns what it has learned, a
// bounded number of addresses. Not here: the card of its own (packetbridgecard.c). Loops are not found: whoever closes
// one has frames go round for ever. Context: main loop; host tests.

#ifndef FLOE_PACKETBRIDGE_H
#define FLOE_PACKETBRIDGE_H

#include "packetfwd.h"

enum { PACKET_BRIDGE_SETS = 256, PACKET_BRIDGE_WAYS = 4, PACKET_BRIDGE_AGE_S = 300 };

typedef struct {
    uint8_t mac[NETDEV_MAC_LEN];
    uint8_t card; // PACKET_NO_CARD: free
    uint32_t seen_s;
} packet_station_t;

typedef struct packet_bridge {
    uint8_t members; // a bit for each card
    uint8_t card;    // the bridge itself
    bool filter;     // rules are asked about what is bridged, too
    // A frame for this machine, whose cookie is a reference, which is taken over: to be put when it was read.
    void (*deliver)(struct packet_bridge *b, netdev_frame_t *f);
    packet_station_t station[PACKET_BRIDGE_SETS][PACKET_BRIDGE_WAYS];
} packet_bridge_t;

void packet_bridge_init(packet_bridge_t *b, uint8_t members, uint8_t card);
// The cards, a bit each, that a frame to this address goes to: the station's, or all for a group or an unknown one.
uint8_t packet_bridge_where(packet_bridge_t *b, const uint8_t *mac, uint64_t now_ns);
// Forward, flood or deliver a frame that a member received. DROPPED: the caller still owns it; KEPT: it was taken over.
packet_fate_t packet_bridge_frame(packet_fwd_t *w, packet_bridge_t *b, unsigned card, netdev_frame_t *f,
                                  uint64_t now_ns);

#endif
