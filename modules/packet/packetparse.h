// SPDX-License-Identifier: MIT
// A received frame, read as Ethernet and IP (RFC 791, RFC 8200) and what is behind them. Owns nothing.
// Not here: what is done with it (packetfwd.h). Context: main loop; host tests.

#ifndef FLOE_PACKETPARSE_H
#define FLOE_PACKETPARSE_H

#include "packet.h"

enum { PACKET_ETH = 14, PACKET_IP4_MIN = 20, PACKET_IP4_MAX = 60, PACKET_IP6 = 40 };
enum { PACKET_TYPE_IP4 = 0x0800, PACKET_TYPE_IP6 = 0x86dd };
enum { PACKET_ICMP = 1, PACKET_TCP = 6, PACKET_UDP = 17, PACKET_ICMP6 = 58 };
enum { PACKET_IP6_HOPOPT = 0, PACKET_IP6_ROUTING = 43, PACKET_IP6_FRAGMENT = 44, PACKET_IP6_AH = 51 };
enum { PACKET_IP6_NONE = 59, PACKET_IP6_DSTOPT = 60 };

typedef enum {
    PACKET_PARSED,
    PACKET_OTHER, // neither IPv4 nor IPv6
    PACKET_SPLIT, // the headers lie in more than one piece
    PACKET_BAD,   // lengths that cannot be, a wrong header checksum, a source route
} packet_parsed_t;

// Fill in *p for a frame that card `in` received. Pieces and bytes beyond the IP packet (padding) are cut off the frame
// where it is PACKET_PARSED; for all other results *p means nothing. Extension headers are followed up to eight.
packet_parsed_t packet_parse(packet_t *p, netdev_frame_t *f, uint8_t in);

// Bytes of a frame.
static inline uint32_t packet_frame_len(const netdev_frame_t *f) {
    uint32_t total = f->seg[0].len;
    for (unsigned i = 1; i < f->nsegs; i++) {
        total += f->seg[i].len;
    }
    return total;
}

#endif
