// SPDX-License-Identifier: MIT
// Types that all parts of the packet engine share: one packet, parsed. Nothing here points into freed frames.
// Owns nothing. Not here: parsing (packetparse.h), routes (packetroute.h), the pipeline (packetfwd.h).
// Context: main loop; host tests.

#ifndef FLOE_PACKET_H
#define FLOE_PACKET_H

#include <stdint.h>

#include "netdev.h"

enum { PACKET_NO_CARD = 0xff };
enum { PACKET_WHOLE, PACKET_FIRST_FRAGMENT, PACKET_LATER_FRAGMENT };

// What a flow table knows of a packet; one bit is set.
enum { PACKET_NEW = 1, PACKET_ESTABLISHED = 2, PACKET_RELATED = 4, PACKET_INVALID = 8, PACKET_UNTRACKED = 16 };

// What rules and flows look at: plain values, in host byte order but for addresses.
typedef struct {
    uint8_t family;  // 4, 6; 0: not IP
    uint8_t proto;   // the last header's, behind IPv6 extension headers
    uint8_t in, out; // card numbers (netdev_get order), PACKET_NO_CARD: this machine
    uint8_t fragment, ttl, dscp, tcp_flags;
    uint8_t icmp_type, icmp_code;
    uint8_t state;
    uint8_t src[16], dst[16]; // network order; IPv4 in the first four, the rest 0
    uint16_t sport, dport;    // 0 where there are none (ICMP echo: the identifier in sport)
    uint16_t length;          // bytes of the IP packet
    uint16_t vlan;            // 0: untagged
    uint8_t smac[6];
    uint32_t mark;
} packet_key_t;

// Where things lie in the frame's first segment; the engine changes bytes there.
typedef struct {
    netdev_frame_t *frame;
    uint8_t *eth, *ip, *l4; // l4 NULL: a later fragment, or cut short
    uint16_t l4_room;       // bytes from l4 that lie in the first segment
    packet_key_t key;
} packet_t;

#endif
