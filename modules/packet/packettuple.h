// SPDX-License-Identifier: MIT
// What is the same in all packets of one direction of a flow; of a packet itself, and of the one that an ICMP error
// quotes. Owns nothing. Not here: flows (packetflow.h). Context: main loop; host tests.

#ifndef FLOE_PACKETTUPLE_H
#define FLOE_PACKETTUPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

// Unused bytes are 0.
typedef struct {
    uint8_t src[16], dst[16]; // as in packet_key_t
    uint16_t sport, dport;    // of an ICMP query: its identifier, its type
    uint8_t proto, family;
    uint8_t zero[2];
} packet_tuple_t;

typedef enum {
    PACKET_KIND_TCP,
    PACKET_KIND_UDP,
    PACKET_KIND_QUERY, // ICMP's questions and their answers
    PACKET_KIND_ERROR, // ICMP's errors: about another packet
    PACKET_KIND_OTHER, // no ports
    PACKET_KIND_LOCAL, // between neighbours (RFC 4861 and the like): nobody's flow
    PACKET_KIND_BAD,   // cut short, or not known
} packet_kind_t;

// The tuple of a packet that has its transport header, and what it is. For ERROR, LOCAL and BAD there is no tuple.
packet_kind_t packet_tuple_of(const packet_t *p, packet_tuple_t *t);
packet_kind_t packet_tuple_kind(const packet_tuple_t *t);
// What replies have.
packet_tuple_t packet_tuple_reverse(const packet_tuple_t *t);
// Whether a query's tuple asks, and does not answer.
bool packet_tuple_asks(const packet_tuple_t *t);

// The packet in an ICMP error.
typedef struct {
    packet_tuple_t tuple;
    uint8_t *ip, *l4; // where it lies
    uint16_t l4_room; // 8 at the least
} packet_quote_t;

// False: cut short, a later fragment, an error itself.
bool packet_tuple_quoted(const packet_t *p, packet_quote_t *quote);

// Where IPv6's extension headers lead (RFC 8200, 4), in bytes from the header on.
typedef struct {
    uint8_t proto;
    bool later;        // a later fragment: what follows is the middle of something
    uint32_t l4;       // where `proto` begins
    uint32_t fragment; // the fragment header; 0: none
} packet_ip6_chain_t;

// Follow them through `room` bytes. False: they do not end there.
bool packet_tuple_chain(const uint8_t *ip6, uint32_t room, packet_ip6_chain_t *chain);

#endif
