// SPDX-License-Identifier: MIT
// A card that stands over other cards, a VLAN's or a bridge's: a driver as netdev.h has it, so that the stack and the
// engine see a card like all others. Here is what they have in common: slots for frames on their way out by another
// card, and a queue of frames that came in. Not here: which card that is. Context: main loop.

#ifndef FLOE_PACKETOVER_H
#define FLOE_PACKETOVER_H

#include "netglue.h"

enum { PACKET_OVER_SLOTS = 256, PACKET_OVER_QUEUE = 64 };
// A cookie of nettx_forward() that has this bit points to a slot.
enum { PACKET_OVER_COOKIE = 4 };

// The first member of a slot: a frame on its way out.
typedef struct packet_over {
    void (*sent)(struct packet_over *slot); // a card that it was given to has sent it
    void *cookie;                           // of who gave the frame
    struct packet_over_card *card;
    struct packet_over *next;
} packet_over_t;

// The first member of such a card.
typedef struct packet_over_card {
    netdev_t dev; // first: the verbs get its address
    packet_over_t *free, *left;
    unsigned head, count;
    netdev_frame_t queue[PACKET_OVER_QUEUE];
} packet_over_card_t;

// Make slots of this size, which call `sent`. -ENOMEM: there are none.
int packet_over_init(packet_over_card_t *card, size_t slot_size, void (*sent)(packet_over_t *slot));

// A slot for a frame that is to be sent, which stays free until packet_over_take(); NULL: none, and counted.
packet_over_t *packet_over_slot(packet_over_card_t *card);
// What nettx_forward() gets as the cookie of a slot's frame.
void *packet_over_cookie(packet_over_t *slot);
// The frame was given away; cookie: of who gave it.
void packet_over_take(packet_over_t *slot, void *cookie);
// All have sent it: its owner gets the frame back, and the slot is free again.
void packet_over_left(packet_over_t *slot);
// A card has sent the frame of such a cookie.
void packet_over_sent(void *cookie);

// Queue a received frame for the stack. False: no room, and counted; the caller still owns it.
bool packet_over_put(packet_over_card_t *card, const netdev_frame_t *f);

// The verbs that are the same for all.
int packet_over_rx_take(netdev_t *dev, netdev_frame_t *out);
void *packet_over_tx_return(netdev_t *dev);
bool packet_over_arm(netdev_t *dev);

#endif
