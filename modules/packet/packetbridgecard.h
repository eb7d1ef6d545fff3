// SPDX-License-Identifier: MIT
// The card that a bridge is to this machine: its own frames in, and out by the cards of the bridge. A driver as
// netdev.h has it. Owns the bridges and their cards.
// Not here: what goes from card to card (packetbridge.h). Context: main loop.

#ifndef FLOE_PACKETBRIDGECARD_H
#define FLOE_PACKETBRIDGECARD_H

#include "netglue.h"
#include "packetbridge.h"

// Make a bridge of these cards (a bit each) and return the number of its own card, which is up, and has no address yet.
// Its MAC address is that of the first of them. -ENODEV: no such card; -EINVAL: fewer than two; -EEXIST: one of them is
// another bridge's, or a bridge; -ENOSPC: there are NETDEV_MAX cards; -ENOMEM.
int packet_bridge_add(packet_base_t *base, unsigned cards, bool filter);
// The bridge that a card is of; NULL: none.
packet_bridge_t *packet_bridge_of(unsigned card);

#endif
