// SPDX-License-Identifier: MIT
// The engine as a whole: what becomes of each frame that a card received. Owns routes, packets that wait, buffers and
// counters. Not here: cards and lwIP (packetjoin.c), Python (mod_packet.c). Context: main loop; host tests.

#ifndef FLOE_PACKETFWD_H
#define FLOE_PACKETFWD_H

#include "packetfilter.h"
#include "packethold.h"
#include "packethost.h"
#include "packeticmp.h"
#include "packetneigh.h"
#include "packetroute.h"

typedef struct {
    packet_base_t base;
    packet_routes_t routes;
    packet_neigh_t neigh;
    packet_bucket_t errors;
    packet_hold_t hold;
    bool can_hold;
    packet_ref_t *copy;    // of such a frame, while it goes through; NULL: the frame is a received one
    packet_flows_t *flows; // NULL: none are kept
} packet_fwd_t;

typedef enum {
    PACKET_PASSED,  // for this machine: the caller still has the frame
    PACKET_DROPPED, // the caller gives it back
    PACKET_KEPT,    // the engine has it, and gives it back by host->give_back
} packet_fate_t;

// Set up; cards are the caller's to fill in (base.card). False: no memory, and it is of no use.
bool packet_fwd_init(packet_fwd_t *w, const packet_host_t *host, size_t routes_limit);
// Keep flows in this table, the caller's; NULL: none.
void packet_fwd_track(packet_fwd_t *w, packet_flows_t *flows);
// A received frame.
packet_fate_t packet_fwd_frame(packet_fwd_t *w, unsigned card, netdev_frame_t *f, uint64_t now_ns);
// What a card said of a received frame, made such that another one can be asked for it. False: it cannot be.
bool packet_fwd_offloads(packet_t *p);
// A frame that this machine itself sends, of which the engine takes note.
void packet_fwd_sent(packet_fwd_t *w, unsigned card, netdev_frame_t *f, uint64_t now_ns);
// This machine is a copy of another one, which goes on: what waits is that one's, flows are both's, but no copy tells
// how the other one's hash.
void packet_fwd_copied(packet_fwd_t *w, const uint64_t seed[2]);
// What waits: to be called when neighbours may be known, and by the deadline. True: something was sent.
bool packet_fwd_run(packet_fwd_t *w, uint64_t now_ns);
uint64_t packet_fwd_deadline(const packet_fwd_t *w);
// Fragments that wait in vain are given up: to be called now and then.
void packet_fwd_age(packet_fwd_t *w, uint64_t now_ns);

#endif
