// SPDX-License-Identifier: MIT
// Next hops and who waits for them. A MAC address is believed for a second, then lwIP's tables are looked at again:
// they are searched from the first entry to the last. An unknown one is asked for three times, a second apart, as
// RFC 1122, 2.3.2.1 and RFC 4861, 10 have it, while its first packets wait. Owns those packets.
// Context: main loop; host tests.

#include "packetneigh.h"

#include <string.h>

#include "packetbytes.h"
#include "packetparse.h"
#include "packetsend.h"

enum { TRIES = 3 };
#define LINE_NS 1000000000ull
#define ASK_NS 1000000000ull

void packet_neigh_init(packet_neigh_t *n) {
    memset(n, 0, sizeof *n);
    for (unsigned i = 0; i < PACKET_NEIGH_HELD; i++) {
        n->held[i].next = n->free;
        n->free = &n->held[i];
    }
}

static bool same(unsigned card, unsigned family, const uint8_t *address, unsigned card2, unsigned family2,
                 const uint8_t *address2) {
    return card == card2 && family == family2 && memcmp(address, address2, family == 4 ? 4 : 16) == 0;
}

static packet_neigh_line_t *line_of(packet_neigh_t *n, unsigned card, unsigned family, const uint8_t *address) {
    uint32_t h = packet_get32(family == 4 ? address : address + 12) ^ (card << 8);
    h ^= family == 4 ? 0 : packet_get32(address + 8) ^ packet_get32(address + 4);
    return &n->line[(h * 2654435761u) >> 24];
}

const uint8_t *packet_neigh_find(packet_neigh_t *n, const packet_base_t *b, unsigned card, unsigned family,
                                 const uint8_t *address) {
    packet_neigh_line_t *l = line_of(n, card, family, address);
    if (l->until_ns > b->now_ns && same(card, family, address, l->card, l->family, l->address)) {
        return l->mac;
    }
    uint8_t mac[NETDEV_MAC_LEN];
    if (!b->host->neighbour(card, family, address, mac)) {
        return NULL;
    }
    l->card = (uint8_t)card;
    l->family = (uint8_t)family;
    memcpy(l->address, address, family == 4 ? 4 : 16);
    memcpy(l->mac, mac, sizeof mac);
    l->until_ns = b->now_ns + LINE_NS;
    return l->mac;
}

bool packet_neigh_hold(packet_neigh_t *n, const packet_base_t *b, unsigned card, unsigned family,
                       const uint8_t *address, const netdev_frame_t *f) {
    packet_neigh_wait_t *w = NULL, *spare = NULL;
    for (unsigned i = 0; i < PACKET_NEIGH_WAITING && w == NULL; i++) {
        packet_neigh_wait_t *each = &n->wait[i];
        if (each->family == 0) {
            spare = spare == NULL ? each : spare;
        } else if (same(card, family, address, each->card, each->family, each->address)) {
            w = each;
        }
    }
    packet_neigh_held_t *h = n->free;
    if (h == NULL || (w == NULL ? spare == NULL : w->count == PACKET_NEIGH_EACH)) {
        return false;
    }
    if (w == NULL) {
        w = spare;
        *w = (packet_neigh_wait_t){.family = (uint8_t)family, .card = (uint8_t)card, .due_ns = b->now_ns + ASK_NS};
        w->tries = 1;
        memcpy(w->address, address, family == 4 ? 4 : 16);
        n->waiting++;
        b->host->ask(card, family, address);
    }
    n->free = h->next;
    h->next = NULL;
    h->frame = *f;
    if (w->first == NULL) {
        w->first = h;
    } else {
        w->last->next = h;
    }
    w->last = h;
    w->count++;
    return true;
}

// The wait is over: each frame goes on, or to failed.
static void finish(packet_neigh_t *n, packet_base_t *b, packet_neigh_wait_t *w, const uint8_t *mac,
                   packet_neigh_failed_t *failed, void *arg) {
    packet_neigh_held_t *h = w->first;
    unsigned card = w->card;
    *w = (packet_neigh_wait_t){0};
    n->waiting--;
    while (h != NULL) {
        packet_neigh_held_t *next = h->next;
        netdev_frame_t f = h->frame;
        h->next = n->free;
        n->free = h;
        h = next;
        if (mac != NULL) {
            memcpy(f.seg[0].base, mac, NETDEV_MAC_LEN);
            packet_send(b, card, &f);
        } else {
            failed(arg, card, &f);
        }
    }
}

bool packet_neigh_run(packet_neigh_t *n, packet_base_t *b, packet_neigh_failed_t *failed, void *arg) {
    bool done = false;
    for (unsigned i = 0; i < PACKET_NEIGH_WAITING && n->waiting > 0; i++) {
        packet_neigh_wait_t *w = &n->wait[i];
        uint8_t mac[NETDEV_MAC_LEN];
        if (w->family == 0) {
            continue;
        }
        if (b->host->neighbour(w->card, w->family, w->address, mac)) {
            finish(n, b, w, mac, failed, arg);
            done = true;
        } else if (b->now_ns >= w->due_ns && w->tries == TRIES) {
            finish(n, b, w, NULL, failed, arg);
            done = true;
        } else if (b->now_ns >= w->due_ns) {
            w->tries++;
            w->due_ns = b->now_ns + ASK_NS;
            b->host->ask(w->card, w->family, w->address);
        }
    }
    return done;
}

static void give_up(void *arg, unsigned card, netdev_frame_t *f) {
    (void)card;
    packet_base_put(arg, f->cookie);
}

void packet_neigh_forget(packet_neigh_t *n, packet_base_t *b) {
    for (unsigned i = 0; i < PACKET_NEIGH_WAITING; i++) {
        if (n->wait[i].family != 0) {
            finish(n, b, &n->wait[i], NULL, give_up, b);
        }
    }
    memset(n->line, 0, sizeof n->line);
}

uint64_t packet_neigh_deadline(const packet_neigh_t *n) {
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; i < PACKET_NEIGH_WAITING && n->waiting > 0; i++) {
        if (n->wait[i].family != 0 && n->wait[i].due_ns < due) {
            due = n->wait[i].due_ns;
        }
    }
    return due;
}
