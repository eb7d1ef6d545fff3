// SPDX-License-Identifier: MIT
// VLANs (IEEE 802.1Q): one more card for each tag of a card. It receives the frames that have the tag, without it; what
// it sends gets the tag. It is a driver as netdev.h has it, over another card, so that the stack and the engine see a
// card like all others. Owns these cards. Not here: priorities, double tags of one kind (a VLAN's card may have VLANs).
// Context: main loop.

#ifndef FLOE_PACKETVLAN_H
#define FLOE_PACKETVLAN_H

#include "netglue.h"

enum { PACKET_VLAN_LAST = 4094 };

// Add a card for a tag and return its number; it is up, and has no address yet. -ENODEV: no such card; -EINVAL: no such
// tag; -EEXIST: the tag has a card; -ENOSPC: there are NETDEV_MAX cards; -ENOMEM.
int packet_vlan_add(unsigned card, unsigned tag);
// The tag of a card; 0: none.
uint16_t packet_vlan_tag(unsigned card);
// Take a received frame that has a tag: KEPT: the tag's card has it; DROPPED: the tag has no card, or there is no room.
// PASSED: no tag, or tag 0 (priority alone), which is taken off.
netglue_fate_t packet_vlan_receive(netglue_t *g, netdev_frame_t *f);

#endif
