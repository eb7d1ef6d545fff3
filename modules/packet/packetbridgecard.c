// SPDX-License-Identifier: MIT
// A bridge's own card: see packetbridgecard.h. A frame out of several cards is the same bytes, and is done when all
// have sent it. Not here: slots and queue (packetover.c). Context: main loop.

#include "packetbridgecard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "packetover.h"

// A frame on its way out.
typedef struct out {
    packet_over_t slot; // first
    unsigned cards;     // how many have not sent it yet
} out_t;

typedef struct bridge {
    packet_over_card_t card; // first
    packet_bridge_t bridge;
    packet_base_t *base;
    struct bridge *next;
} bridge_t;

static bridge_t *bridges;

static void rx_return(netdev_t *dev, void *cookie) { packet_base_put(((bridge_t *)dev)->base, cookie); }

static void deliver(packet_bridge_t *bridge, netdev_frame_t *f) {
    bridge_t *b = (bridge_t *)((uint8_t *)bridge - offsetof(bridge_t, bridge));
    if (!packet_over_put(&b->card, f)) {
        packet_base_put(b->base, f->cookie);
    }
}

static void sent(packet_over_t *slot) {
    if (--((out_t *)(void *)slot)->cards == 0) {
        packet_over_left(slot);
    }
}

static int tx_provide(netdev_t *dev, const netdev_frame_t *f) {
    bridge_t *b = (bridge_t *)dev;
    out_t *out = (out_t *)(void *)packet_over_slot(&b->card);
    if (out == NULL) {
        return -EAGAIN;
    }
    if (f->nsegs == 0 || f->seg[0].len < NETDEV_MAC_LEN) {
        return -EMSGSIZE;
    }
    unsigned cards = packet_bridge_where(&b->bridge, f->seg[0].base, hal_clock_ns()), full = 0;
    netdev_frame_t t = *f;
    t.headroom = (cards & (cards - 1)) != 0 ? 0 : f->headroom; // each device has a header of its own
    t.cookie = packet_over_cookie(&out->slot);
    for (unsigned i = 0; i < NETDEV_MAX; i++) {
        if ((cards >> i & 1) != 0 && netif_is_link_up(&netglue_get(i)->netif)) {
            int r = nettx_forward(netglue_get(i), &t);
            out->cards += r == 0;
            full += r == -EAGAIN;
        }
    }
    if (out->cards == 0 && full > 0) {
        dev->stats.tx_full++;
        return -EAGAIN;
    }
    packet_over_take(&out->slot, f->cookie);
    if (out->cards == 0) {
        packet_over_left(&out->slot); // there is no card that could send it
    }
    return 0;
}

static void kick(netdev_t *dev) { // the other cards' turn may be over
    const bridge_t *b = (bridge_t *)dev;
    netglue_t *g;
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        if ((b->bridge.members >> i & 1) != 0 && g->kick) {
            g->kick = false;
            g->dev->ops->kick(g->dev);
        }
    }
}

static bool link_up(netdev_t *dev) {
    const bridge_t *b = (bridge_t *)dev;
    netglue_t *g;
    bool up = false;
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        up |= (b->bridge.members >> i & 1) != 0 && netif_is_link_up(&g->netif);
    }
    return up;
}

static const netdev_ops_t ops = {packet_over_rx_take, rx_return, tx_provide, packet_over_tx_return, kick,
                                 packet_over_arm,     link_up};

// ---- which there are --------------------------------------------------------------------------------

packet_bridge_t *packet_bridge_of(unsigned card) {
    for (bridge_t *b = bridges; b != NULL; b = b->next) {
        if ((b->bridge.members >> card & 1) != 0) {
            return &b->bridge;
        }
    }
    return NULL;
}

static int check(unsigned cards) {
    if ((cards & (cards - 1)) == 0) {
        return -EINVAL;
    }
    if (cards >> netglue_count() != 0) {
        return -ENODEV;
    }
    for (unsigned i = 0; i < netglue_count(); i++) {
        if ((cards >> i & 1) != 0 && (packet_bridge_of(i) != NULL || netglue_get(i)->dev->ops == &ops)) {
            return -EEXIST;
        }
    }
    return netglue_count() == NETDEV_MAX ? -ENOSPC : 0;
}

// What all members can do.
static void describe(bridge_t *b, unsigned cards) {
    netdev_t *d = &b->card.dev;
    *d =
        (netdev_t){.ops = &ops, .driver = "bridge", .mtu = UINT16_MAX, .features = UINT32_MAX, .rx_pieces = UINT16_MAX};
    for (unsigned i = NETDEV_MAX; i-- > 0;) {
        if ((cards >> i & 1) == 0) {
            continue;
        }
        const netdev_t *m = netglue_get(i)->dev;
        d->mtu = m->mtu < d->mtu ? m->mtu : d->mtu;
        d->features &= m->features;
        d->rx_pieces = m->rx_pieces < d->rx_pieces ? m->rx_pieces : d->rx_pieces;
        d->rx_buffers = m->rx_buffers;
        memcpy(d->mac, m->mac, NETDEV_MAC_LEN);
    }
}

int packet_bridge_add(packet_base_t *base, unsigned cards, bool filter) {
    int r = check(cards);
    if (r < 0) {
        return r;
    }
    bridge_t *b = calloc(1, sizeof *b);
    if (b == NULL || packet_over_init(&b->card, sizeof(out_t), sent) < 0) {
        free(b);
        return -ENOMEM;
    }
    b->base = base;
    packet_bridge_init(&b->bridge, (uint8_t)cards, (uint8_t)netglue_count());
    b->bridge.filter = filter;
    b->bridge.deliver = deliver;
    describe(b, cards);
    netglue_t *own = netglue_attach(&b->card.dev);
    b->next = bridges;
    bridges = b;
    for (unsigned i = 0; i < NETDEV_MAX; i++) {
        if ((cards >> i & 1) != 0) {
            netif_set_up(&netglue_get(i)->netif);
        }
    }
    netif_set_up(&own->netif);
    return b->bridge.card;
}
