// SPDX-License-Identifier: MIT
// Cards over cards: see packetover.h. Owns their slots and queues. Context: main loop.

#include "packetover.h"

#include <errno.h>
#include <stdlib.h>

int packet_over_init(packet_over_card_t *card, size_t slot_size, void (*sent)(packet_over_t *slot)) {
    uint8_t *slots = calloc(PACKET_OVER_SLOTS, slot_size);
    if (slots == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < PACKET_OVER_SLOTS; i++) {
        packet_over_t *slot = (packet_over_t *)(void *)(slots + i * slot_size);
        *slot = (packet_over_t){sent, NULL, card, card->free};
        card->free = slot;
    }
    return 0;
}

packet_over_t *packet_over_slot(packet_over_card_t *card) {
    if (card->free == NULL) {
        card->dev.stats.tx_full++;
    }
    return card->free;
}

void *packet_over_cookie(packet_over_t *slot) {
    return (void *)((uintptr_t)slot | NETTX_FORWARDED | PACKET_OVER_COOKIE);
}

void packet_over_take(packet_over_t *slot, void *cookie) {
    slot->card->free = slot->next;
    slot->cookie = cookie;
    slot->card->dev.stats.tx_frames++;
}

void packet_over_left(packet_over_t *slot) {
    slot->next = slot->card->left;
    slot->card->left = slot;
}

void packet_over_sent(void *cookie) {
    packet_over_t *slot = (packet_over_t *)((uintptr_t)cookie & ~(uintptr_t)(NETTX_FORWARDED | PACKET_OVER_COOKIE));
    slot->sent(slot);
}

bool packet_over_put(packet_over_card_t *card, const netdev_frame_t *f) {
    if (card->count == PACKET_OVER_QUEUE) {
        card->dev.stats.rx_dropped++;
        return false;
    }
    card->queue[(card->head + card->count++) % PACKET_OVER_QUEUE] = *f;
    return true;
}

int packet_over_rx_take(netdev_t *dev, netdev_frame_t *out) {
    packet_over_card_t *card = (packet_over_card_t *)dev;
    if (card->count == 0) {
        return -EAGAIN;
    }
    *out = card->queue[card->head];
    card->head = (card->head + 1) % PACKET_OVER_QUEUE;
    card->count--;
    dev->stats.rx_frames++;
    return 0;
}

void *packet_over_tx_return(netdev_t *dev) {
    packet_over_card_t *card = (packet_over_card_t *)dev;
    packet_over_t *slot = card->left;
    if (slot == NULL) {
        return NULL;
    }
    card->left = slot->next;
    slot->next = card->free;
    card->free = slot;
    return slot->cookie;
}

bool packet_over_arm(netdev_t *dev) { return ((packet_over_card_t *)dev)->count > 0; }
