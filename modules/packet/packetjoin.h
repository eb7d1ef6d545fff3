// SPDX-License-Identifier: MIT
// The joint between the engine, the cards and lwIP. Owns the one engine of this VM. Not here: Python (mod_packet.c).
// Context: main loop.

#ifndef FLOE_PACKETJOIN_H
#define FLOE_PACKETJOIN_H

#include "packetfwd.h"

// The engine, set up at the first call; NULL: no memory. Its automatic routes are up to date.
packet_fwd_t *packet_join(void);
// Whether frames that are not for this machine go on to where their routes lead. Off at the start.
void packet_join_forward(bool on);
// A card for the frames of a card that have this tag: packet_vlan_add().
int packet_join_vlan(unsigned card, unsigned tag);
// A bridge of these cards, a bit each: packet_bridge_add().
int packet_join_bridge(unsigned cards, bool filter);
// Keep track of this many flows from here on, which are forgotten when there are others already. Rules do that
// by themselves (packet_join_flows_default()) where nobody did. 0; -EINVAL: that many cannot be; -ENOMEM.
int packet_join_track(uint32_t flows);
uint32_t packet_join_flows_default(void);
// Add or replace a route. card PACKET_NO_CARD: that from which the gateway can be reached. gateway NULL: the hosts are
// on that card's network. 0; -EINVAL: no such prefix; -ENODEV: no such card; -EHOSTUNREACH: the gateway is on no card's
// network; -EEXIST: the prefix is an address of this machine's; -ENOSPC, -ENOMEM.
int packet_join_add(unsigned family, const uint8_t *prefix, unsigned bits, const uint8_t *gateway, unsigned card);
// 0; -ENOENT: nobody added it; -EINVAL.
int packet_join_remove(unsigned family, const uint8_t *prefix, unsigned bits);

#endif
