// SPDX-License-Identifier: MIT
// Translation of IPv4 addresses and ports (RFC 3022, RFC 4787, RFC 5382, RFC 5508). It is all in a flow's two tuples: a
// packet that came in by one of them leaves as the reverse of the other. So both ends can be translated in one flow,
// and a network's own machines reach each other by its outer address (hairpin).
//
// In the pipeline: look; for a packet that is NEW and has no flow, packet_nat_dst where a rule says so; translate
// PACKET_NAT_DST; routing and rules; for such a packet packet_nat_src; commit; translate PACKET_NAT_SRC.
//
// Owns nothing. Not here: IPv6, whose addresses are not translated. Context: main loop; host tests.

#ifndef FLOE_PACKETNAT_H
#define FLOE_PACKETNAT_H

#include "packetflow.h"

typedef struct {
    uint8_t address[4];
    uint8_t bits; // of the address that are the new one's, the rest stays: a network to a network; 0: all
    // Ports, of ICMP queries identifiers. 0, 0: dst: as it is; src: any that this machine has no use for itself.
    uint16_t first, last;
    uint16_t base; // dst: the port that becomes `first`, the others as far from it; 0: any in the range
    bool keep;     // src: the port as it is, or no flow: for a machine that has an address for itself (static NAT)
} packet_nat_t;

// What the packet's flow will be translated to. 0, or and nothing changed: -EINVAL: it is not a new flow of IPv4, or
// there is no such range; -EADDRINUSE (src): no port is left, and that is counted: the packet is to be dropped.
int packet_nat_dst(packet_flows_t *t, packet_look_t *look, const packet_nat_t *to);
// to NULL: the source as it is, or if replies to that are another flow's, by another port. Where dst was given, this is
// to be called. A port is chosen by a keyed hash of who sends (RFC 6056, algorithm 3, without the destination), so that
// it is the same one for all whom a port talks to as far as it is free (RFC 4787, REQ-1), and else by chance.
int packet_nat_src(packet_flows_t *t, packet_look_t *look, const packet_nat_t *to);

// Change the packet as its flow says: addresses, ports, checksums, p->key; of an ICMP error also the packet that it
// quotes. which: PACKET_NAT_DST, PACKET_NAT_SRC, or both; once each.
void packet_nat_translate(packet_t *p, const packet_look_t *look, unsigned which);
// Make it what it was when it came in, before it was committed: for an ICMP error about it, which its sender could not
// understand otherwise. Not for errors themselves, about which there are none.
void packet_nat_restore(packet_t *p, const packet_look_t *look);

#endif
