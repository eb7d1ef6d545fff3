// SPDX-License-Identifier: MIT
// Who is behind a next hop: MAC addresses that were asked for lately, and the packets that wait for one. Owns those
// packets, a bounded number of them. Not here: ARP and neighbour discovery (lwIP's, by way of packetjoin.c).
// Context: main loop; host tests.

#ifndef FLOE_PACKETNEIGH_H
#define FLOE_PACKETNEIGH_H

#include "packethost.h"

enum { PACKET_NEIGH_LINES = 256, PACKET_NEIGH_WAITING = 32, PACKET_NEIGH_HELD = 64, PACKET_NEIGH_EACH = 8 };

typedef struct {
    uint8_t family, card; // family 0: none
    uint8_t mac[NETDEV_MAC_LEN];
    uint8_t address[16];
    uint64_t until_ns;
} packet_neigh_line_t;

typedef struct packet_neigh_held {
    struct packet_neigh_held *next;
    netdev_frame_t frame;
} packet_neigh_held_t;

typedef struct {
    uint8_t family, card, tries; // family 0: free
    uint8_t count;
    uint8_t address[16];
    uint64_t due_ns;
    packet_neigh_held_t *first, *last;
} packet_neigh_wait_t;

typedef struct {
    packet_neigh_line_t line[PACKET_NEIGH_LINES];
    packet_neigh_wait_t wait[PACKET_NEIGH_WAITING];
    packet_neigh_held_t held[PACKET_NEIGH_HELD], *free;
    unsigned waiting;
} packet_neigh_t;

void packet_neigh_init(packet_neigh_t *n);
// The MAC address of a next hop; NULL: not known, packet_neigh_hold() asks. Good until the next call.
const uint8_t *packet_neigh_find(packet_neigh_t *n, const packet_base_t *b, unsigned card, unsigned family,
                                 const uint8_t *address);
// Keep a frame until its next hop is known, and have that asked for. The frame's reference is taken over. False: no
// room, the caller still has it.
bool packet_neigh_hold(packet_neigh_t *n, const packet_base_t *b, unsigned card, unsigned family,
                       const uint8_t *address, const netdev_frame_t *f);
// Send what waited for those that are known now. For those that did not answer, failed is called with each frame,
// which it owns. True: something was sent or has failed.
typedef void packet_neigh_failed_t(void *arg, unsigned card, netdev_frame_t *f);
bool packet_neigh_run(packet_neigh_t *n, packet_base_t *b, packet_neigh_failed_t *failed, void *arg);
// All is another's, as this machine is a copy: give up the frames that wait, and ask for everybody anew.
void packet_neigh_forget(packet_neigh_t *n, packet_base_t *b);
// When to run again; UINT64_MAX: nothing waits.
uint64_t packet_neigh_deadline(const packet_neigh_t *n);

#endif
