// SPDX-License-Identifier: MIT
// Routes: a table of prefixes for IPv4 and one for IPv6, and the longest that matches an address. Owns its nodes, from
// malloc, up to a limit. Not here: where routes come from (packetjoin.c). Context: main loop; host tests.

#ifndef FLOE_PACKETROUTE_H
#define FLOE_PACKETROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACKET_ROUTES_MAX = 131072, PACKET_HOPS_MAX = 4096, PACKET_ROUTE_LINES = 256 };

typedef enum {
    PACKET_ROUTE_LOCAL,     // an address of this machine's
    PACKET_ROUTE_BROADCAST, // everybody on a network that a card is on
    PACKET_ROUTE_CONNECTED, // such a network
    PACKET_ROUTE_DEFAULT,   // by a router that this machine uses itself
    PACKET_ROUTE_STATIC,    // somebody said so
} packet_route_kind_t;

// Where to: out of this card, to this router; or to the destination itself, where `gateway` is false.
typedef struct {
    uint8_t kind; // packet_route_kind_t
    uint8_t card;
    bool gateway;
    uint8_t via[16]; // network order, of the prefix's family
} packet_hop_t;

// What was found for an address, until the table changes.
typedef struct {
    uint64_t high, low;
    uint64_t stamp; // of the table, and of the family
    const packet_hop_t *hop;
} packet_route_line_t;

typedef struct packet_node packet_node_t;
typedef struct {
    packet_node_t *root[2]; // IPv4, IPv6
    packet_hop_t *hop;
    uint32_t *uses; // of each hop
    uint32_t hops, hops_room;
    uint32_t count; // routes
    size_t bytes, limit;
    uint64_t stamp; // goes on by 2 with each change
    packet_route_line_t line[PACKET_ROUTE_LINES];
} packet_routes_t;

// An empty table that takes at most so many bytes. False: no memory.
bool packet_routes_init(packet_routes_t *r, size_t limit);
void packet_routes_free(packet_routes_t *r);

// Add, or replace the one of this prefix. Bits of the prefix behind its length are 0. The hop is copied.
// 0; -EINVAL: no such prefix; -ENOSPC: the table is full; -ENOMEM: nothing changed.
int packet_route_add(packet_routes_t *r, unsigned family, const uint8_t *prefix, unsigned bits,
                     const packet_hop_t *hop);
// 0; -ENOENT; -EINVAL.
int packet_route_remove(packet_routes_t *r, unsigned family, const uint8_t *prefix, unsigned bits);
// The hop of exactly this prefix, of the longest prefix that has this address; NULL: none. Good until the next change.
const packet_hop_t *packet_route_get(const packet_routes_t *r, unsigned family, const uint8_t *prefix, unsigned bits);
const packet_hop_t *packet_route_find(packet_routes_t *r, unsigned family, const uint8_t *address);
// Call visit for each route of a family, which must not change the table.
typedef void packet_route_visit_t(void *arg, const uint8_t *prefix, unsigned bits, const packet_hop_t *hop);
void packet_route_walk(const packet_routes_t *r, unsigned family, packet_route_visit_t *visit, void *arg);

#endif
