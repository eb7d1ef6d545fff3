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
    LINK_DHCP = 1u << 0,    // UDP to port 67 of this machine's addresses or to all; nobody else gets these
    LINK_ARP = 1u << 1,     // ARP replies to this card; lwIP gets them too
    LINK_SOLICIT = 1u << 2, // router solicitations from the link; lwIP gets them too
};

// Listen on a card to these kinds from now on, in front of rules; 0 kinds: to none. What comes while LINK_WAITING_MAX
// wait is dropped. -ENODEV: no such card. -ENOMEM.
int link_listen(unsigned card, unsigned kinds);
// Bytes of the oldest frame that waits, or -EAGAIN; it stays.
int link_waiting(unsigned card);
// Take it: the bytes that were copied out. -EAGAIN: none waits.
int link_take(unsigned card, void *out, size_t size);
// Frames that had no room.
uint32_t link_lost(unsigned card);
// Send a whole Ethernet frame, which is copied. -ENODEV; -EMSGSIZE: too short or too long; -EAGAIN: the queue is full.
int link_send(unsigned card, const void *frame, size_t len);
// Say from now on that this card is a router's: neighbours that hear otherwise forget their default route (RFC 4861,
// 7.2.5, the R flag of a neighbour advertisement). -ENODEV.
int link_router(unsigned card, bool on);

#endif
