// SPDX-License-Identifier: MIT
// What rules and flows have to say about a packet, at the places of the pipeline where they are asked. Owns nothing.
// Not here: the rules (packetrules.h), flows (packetflow.h), translation (packetnat.h), what becomes of a packet
// (packetfwd.h). Context: main loop; host tests.

#ifndef FLOE_PACKETFILTER_H
#define FLOE_PACKETFILTER_H

#include "packetflow.h"
#include "packetrules.h"

// One packet on its way through. To begin with, `flows` and `now_ns` are set.
typedef struct {
    packet_flows_t *flows; // NULL: none are kept
    uint64_t now_ns;
    packet_look_t look;
    bool may_wait;   // it can be held where it is PACKET_EARLY
    bool to_another; // a rule gave a new flow another destination
    bool noted;      // in its flow, or as a new one
    uint8_t reject;  // PACKET_REJECT_*, where a step says so
} packet_pass_t;

typedef enum {
    PACKET_GOES,
    PACKET_STOPS,   // a rule says so
    PACKET_REFUSED, // the same, and the sender is told
    PACKET_NO_FLOW, // there is no room for its flow, or no port
    PACKET_EARLY,   // prerouting let it pass; the rest is for the first fragment of its datagram to say
} packet_step_t;

// It came in: which flow it is of, and whether a fragment may pass at all; rules of prerouting; its destination as the
// flow has it.
packet_step_t packet_filter_came(packet_pass_t *s, packet_t *p);
// It is for this machine: rules of input; its flow is noted.
packet_step_t packet_filter_input(packet_pass_t *s, packet_t *p);
// The same for what is sent to everybody, or to a group: rules of input alone.
packet_step_t packet_filter_group(packet_pass_t *s, packet_t *p);
// It is to be forwarded, p->key.out is known: rules of forward.
packet_step_t packet_filter_forward(packet_pass_t *s, packet_t *p);
// It leaves by a card with this IPv4 address: rules of postrouting; its flow is noted; its source as the flow has it.
packet_step_t packet_filter_leaves(packet_pass_t *s, packet_t *p, const uint8_t *ip4);
// It goes no further, and its sender is to be told: make it what it was when it came in.
void packet_filter_undo(const packet_pass_t *s, packet_t *p);
// This machine itself sends it: its flow is noted, no rule is asked.
void packet_filter_sent(packet_pass_t *s, packet_t *p);

#endif
