// SPDX-License-Identifier: MIT
// Frames of a link that a router answers in Python, because no socket can: requests for a DHCP server, whose senders
// have no address yet, ARP replies, and router solicitations. And frames that it sends. Owns what waits to be read: a
// ring for each card that is listened to. Not here: Python (mod_link.c), what is in a frame beyond its kind. Context:
// main loop.
// Errors are -errno; -EAGAIN: not now.

#ifndef FLOE_LINK_H
#define FLOE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINK_FRAME_MAX = 1514, LINK_WAITING_MAX = 16 };

// Kinds of frames (bit masks).
enum {
    LINK_DHCP = 1u << 0,    // UDP port 67 to this machine or broadcast; neither lwIP nor rules get these
    LINK_ARP = 1u << 1,     // ARP replies to this card; lwIP gets them too
    LINK_SOLICIT = 1u << 2, // router solicitations from the link; lwIP gets them too
};

// Listen on a card to these kinds from now on, in front of rules; 0 kinds: to none. What comes while LINK_WAITING_MAX
// wait is dropped. -ENODEV: no such card. -ENOMEM.
int link_listen(unsigned card, unsigned kinds);
// Length in bytes of the oldest frame that waits, which stays; -EAGAIN: none.
int link_waiting(unsigned card);
// Copy the oldest frame out, at most size bytes, and remove it; returns the bytes copied. -EAGAIN: none waits.
int link_take(unsigned card, void *out, size_t size);
// Frames that were dropped because LINK_WAITING_MAX waited, or because they are longer than LINK_FRAME_MAX.
uint32_t link_lost(unsigned card);
// Send a whole Ethernet frame, which is copied. -ENODEV; -EMSGSIZE: too short or too long; -EAGAIN: the queue is full.
int link_send(unsigned card, const void *frame, size_t len);
// Set the R flag in neighbour advertisements of this card from now on, or not: without it hosts drop the router from
// their default routers (RFC 4861, 7.2.5). -ENODEV.
int link_router(unsigned card, bool on);

#endif
