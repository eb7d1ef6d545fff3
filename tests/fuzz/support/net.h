// SPDX-License-Identifier: MIT
// The stack, started, with sockets that are used as an echo server uses them, over the card of tests/c/lwip/rig.c.

#ifndef FLOE_FUZZ_NET_H
#define FLOE_FUZZ_NET_H

#include "rig.h"
#include "world.h"

enum { NET_TCP_PORT = 80, NET_UDP_PORT = 7 };
enum { NET_FROM_NEIGHBOUR, NET_FROM_ROUTER, NET_FROM_FAR, NET_FROM_NOBODY, NET_FROM_US, NET_FROMS };

// Start the stack with a listening and a datagram socket.
void net_start(void);
// Let the stack work, serve the sockets, and let as much time pass as the input says.
void net_turn(void);
// A frame as it stands, in pieces as the input says.
void net_frame(const uint8_t *frame, size_t len);
// A packet with a right header and, where the protocol is ICMP, ICMPv6 or UDP, a right checksum over what is given.
void net_ip4(uint8_t protocol, uint8_t *payload, size_t len);
void net_ip6(unsigned from, uint8_t next, uint8_t *payload, size_t len);
// Set the checksums of a frame right, as far as it has the headers for them.
void net_right_sums(uint8_t *frame, size_t len);

#endif
