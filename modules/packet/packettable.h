// SPDX-License-Identifier: MIT
// The table of flows as memory: a hash of both tuples with chains, a wheel of expiry, and two queues of flows that may
// be ended early. For packetflow.c and packetnat.c alone.
// Owns what packet_flow_init was given. Not here: what packets mean. Context: main loop; host tests.

#ifndef FLOE_PACKETTABLE_H
#define FLOE_PACKETTABLE_H

#include "packetflow.h"
#include "packetfrag.h"

enum { PACKET_WHEEL_SLOTS = 512, PACKET_TICK_SHIFT = 30 }; // a tick is 2^30 ns, some second

// Flows that may be ended early, oldest first.
typedef enum { PACKET_QUEUE_NONE, PACKET_QUEUE_YOUNG, PACKET_QUEUE_SPENT, PACKET_QUEUES } packet_queue_t;

struct packet_flows {
    packet_flow_t *flow;
    uint32_t *bucket; // places in chains: 2 * flow + direction + 1; 0: none
    uint32_t size, mask;
    uint32_t free; // a chain of its own by chain[0]
    uint32_t numbers;
    uint64_t key[2], draws;
    uint64_t now;
    uint64_t victim_age;
    uint32_t cursor; // the tick that the wheel has come to
    uint32_t slot[PACKET_WHEEL_SLOTS];
    uint32_t first[PACKET_QUEUES], last[PACKET_QUEUES];
    uint64_t life[PACKET_LIFES];
    bool loose;
    packet_flow_stats_t stats;
    packet_frags_t frags;
};

// SipHash-1-3 (Aumasson, Bernstein 2012) of words under the table's key.
uint64_t packet_table_hash(const packet_flows_t *t, const uint64_t *words, unsigned count);
// A number that nobody can tell beforehand.
uint32_t packet_table_draw(packet_flows_t *t);

// The flow of a tuple and, in *dir, which one of its two it is. NULL: none, or it is over, and gone with this.
packet_flow_t *packet_table_find(packet_flows_t *t, const packet_tuple_t *tuple, uint8_t *dir);
// A flow of these tuples, neither of which is there; to be touched at once. NULL: no room.
packet_flow_t *packet_table_add(packet_flows_t *t, const packet_tuple_t tuple[2]);
void packet_table_remove(packet_flows_t *t, packet_flow_t *f);
// Its life begins again.
void packet_table_touch(packet_flows_t *t, packet_flow_t *f, packet_life_t life);
// Put it behind the others in a queue, unless it is in it.
void packet_table_queue(packet_flows_t *t, packet_flow_t *f, packet_queue_t queue);

#endif
