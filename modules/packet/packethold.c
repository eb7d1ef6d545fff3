// SPDX-License-Identifier: MIT
// Fragments that wait: see packethold.h. There are so few that all of them are looked at.
// Owns nothing of its own. Context: main loop; host tests.

#include "packethold.h"

#include <string.h>

#include "packetparse.h"

// A sender's 65,536 numbers may come round in that time (packetfrag.c): what is older is perhaps of another datagram.
static const uint64_t life_ns = 2000000000;

_Static_assert(sizeof(packet_held_t) == PACKET_HELD_ROOM, "as large as the room for it");

static packet_held_t *held_of(packet_ref_t *ref) { return (packet_held_t *)(void *)packet_ref_data(ref); }

// Take one out of the order.
static packet_ref_t *take(packet_hold_t *h, unsigned i) {
    packet_ref_t *ref = h->ref[i];
    const packet_held_t *held = held_of(ref);
    h->of_card[held->card]--;
    h->of_sender[held->sender]--;
    h->count--;
    memmove(&h->ref[i], &h->ref[i + 1], (h->count - i) * sizeof h->ref[0]);
    return ref;
}

static void lose(packet_hold_t *h, packet_base_t *b, unsigned i) {
    b->count[PACKET_N_HELD_LOST]++;
    packet_base_put(b, take(h, i));
}

// Which one is to give way.
static unsigned victim(const packet_hold_t *h) {
    unsigned best = 0, most = 0;
    for (unsigned i = 0; i < h->count; i++) {
        const packet_held_t *held = held_of(h->ref[i]);
        unsigned weight = h->of_card[held->card] * (PACKET_HOLD_MOST + 1u) + h->of_sender[held->sender];
        best = weight > most ? i : best;
        most = weight > most ? weight : most;
    }
    return best;
}

bool packet_hold_put(packet_hold_t *h, packet_base_t *b, const packet_t *p, const packet_frag_key_t *key,
                     uint64_t from) {
    const netdev_frame_t *f = p->frame;
    uint32_t len = packet_frame_len(f);
    packet_hold_age(h, b);
    if (len > sizeof((packet_held_t *)0)->frame || f->csum_needed || f->gso != NETDEV_GSO_NONE) {
        return false;
    }
    if (h->count > 0 && (h->count == PACKET_HOLD_MOST || b->pool.free[PACKET_REF_HELD] == NULL)) {
        lose(h, b, victim(h));
    }
    packet_ref_t *ref = packet_ref_get(&b->pool, PACKET_REF_HELD, NULL);
    if (ref == NULL) {
        return false;
    }
    packet_held_t *held = held_of(ref);
    held->key = *key;
    held->came_ns = b->now_ns;
    held->len = (uint16_t)len;
    held->card = p->key.in;
    held->sender = (uint8_t)(from % PACKET_HOLD_SENDERS);
    uint8_t *at = held->frame;
    for (unsigned i = 0; i < f->nsegs; i++) {
        memcpy(at, f->seg[i].base, f->seg[i].len);
        at += f->seg[i].len;
    }
    h->ref[h->count++] = ref;
    h->of_card[held->card]++;
    h->of_sender[held->sender]++;
    return true;
}

packet_ref_t *packet_hold_take(packet_hold_t *h, packet_base_t *b, const packet_frag_key_t *key) {
    packet_hold_age(h, b);
    for (unsigned i = 0; i < h->count; i++) {
        if (memcmp(&held_of(h->ref[i])->key, key, sizeof *key) == 0) {
            return take(h, i);
        }
    }
    return NULL;
}

void packet_hold_age(packet_hold_t *h, packet_base_t *b) {
    while (h->count > 0 && b->now_ns - held_of(h->ref[0])->came_ns >= life_ns) {
        lose(h, b, 0);
    }
}

void packet_hold_forget(packet_hold_t *h, packet_base_t *b) {
    while (h->count > 0) {
        lose(h, b, 0);
    }
}
