// SPDX-License-Identifier: MIT
// Cards of VLANs: see packetvlan.h. A tag is taken off in place, and put in by a piece of its own that has the first
// 18 bytes: what the stack gave is not changed. Owns the cards and these pieces. Not here: slots and queue
// (packetover.c). Context: main loop.

#include "packetvlan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packetbytes.h"
#include "packetover.h"

enum { TYPE_VLAN = 0x8100, MACS = 12, TAG = 4, ETH = 14, ID = 0xfff, AHEAD = 16 };

// A frame on its way out.
typedef struct out {
    packet_over_t slot;        // first
    uint8_t bytes[AHEAD + 24]; // room for a device's header, then ours, 18 bytes
} out_t;

// A received frame that somebody has.
typedef struct in {
    void *cookie;
    unsigned pieces;
    struct in *next;
} in_t;

typedef struct vlan {
    packet_over_card_t card; // first
    netglue_t *own, *below;
    uint16_t tag;
    in_t *in_free;
    struct vlan *next;
} vlan_t;

static vlan_t *vlans;

static vlan_t *vlan_of(const netglue_t *below, unsigned tag) {
    vlan_t *v = vlans;
    while (v != NULL && (v->below != below || v->tag != tag)) {
        v = v->next;
    }
    return v;
}

static void rx_return(netdev_t *dev, void *cookie) {
    vlan_t *v = (vlan_t *)dev;
    in_t *in = cookie;
    netglue_give_back(v->below, in->cookie, in->pieces);
    in->next = v->in_free;
    v->in_free = in;
}

static int tx_provide(netdev_t *dev, const netdev_frame_t *f) {
    vlan_t *v = (vlan_t *)dev;
    out_t *out = (out_t *)(void *)packet_over_slot(&v->card);
    if (out == NULL) {
        return -EAGAIN;
    }
    bool more = f->seg[0].len > ETH;
    if (f->nsegs == 0 || f->seg[0].len < ETH || f->nsegs + more > NETDEV_MAX_SEGS) {
        return -EMSGSIZE;
    }
    netdev_frame_t t = *f;
    const uint8_t *eth = f->seg[0].base;
    uint8_t *head = out->bytes + AHEAD;
    memcpy(head, eth, MACS);
    packet_put16(head + MACS, TYPE_VLAN);
    packet_put16(head + MACS + 2, v->tag);
    memcpy(head + MACS + TAG, eth + MACS, ETH - MACS);
    t.seg[0] = (netdev_seg_t){head, ETH + TAG};
    if (more) {
        t.seg[1] = (netdev_seg_t){(uint8_t *)f->seg[0].base + ETH, f->seg[0].len - ETH};
    }
    memcpy(&t.seg[1 + more], &f->seg[1], (f->nsegs - 1u) * sizeof f->seg[0]);
    t.nsegs = (uint16_t)(f->nsegs + more);
    t.headroom = AHEAD;
    t.csum_start = (uint16_t)(f->csum_start + (f->csum_needed ? TAG : 0));
    t.hdr_len = (uint16_t)(f->hdr_len + (f->gso != NETDEV_GSO_NONE ? TAG : 0));
    t.cookie = packet_over_cookie(&out->slot);
    int r = nettx_forward(v->below, &t);
    if (r == 0) {
        packet_over_take(&out->slot, f->cookie);
    }
    return r;
}

static void kick(netdev_t *dev) { // the other card's turn may be over
    netglue_t *below = ((vlan_t *)dev)->below;
    below->kick = false;
    below->dev->ops->kick(below->dev);
}

static bool link_up(netdev_t *dev) { return netif_is_link_up(&((vlan_t *)dev)->below->netif) != 0; }

static const netdev_ops_t ops = {packet_over_rx_take, rx_return, tx_provide, packet_over_tx_return, kick,
                                 packet_over_arm,     link_up};

// ---- what comes in ----------------------------------------------------------------------------------

static void untag(netdev_frame_t *f) {
    uint8_t *eth = f->seg[0].base;
    memmove(eth + TAG, eth, MACS);
    f->seg[0] = (netdev_seg_t){eth + TAG, f->seg[0].len - TAG};
    f->headroom = (uint16_t)(f->headroom + TAG);
    f->csum_start = (uint16_t)(f->csum_start >= TAG ? f->csum_start - TAG : 0);
}

netglue_fate_t packet_vlan_receive(netglue_t *g, netdev_frame_t *f) {
    const uint8_t *eth = f->seg[0].base;
    if (f->seg[0].len < ETH || packet_get16(eth + MACS) != TYPE_VLAN) {
        return NETGLUE_PASSED;
    }
    if (f->seg[0].len < ETH + TAG) { // no card cuts a frame there
        return NETGLUE_DROPPED;
    }
    unsigned tag = packet_get16(eth + MACS + 2) & ID;
    if (tag == 0) {
        untag(f);
        return NETGLUE_PASSED;
    }
    vlan_t *v = vlan_of(g, tag);
    if (v == NULL || v->card.count == PACKET_OVER_QUEUE || v->in_free == NULL || !netglue_keep_frame(g, f->nsegs)) {
        netdev_t *dev = v != NULL ? &v->card.dev : g->dev;
        dev->stats.rx_dropped++;
        return NETGLUE_DROPPED;
    }
    in_t *in = v->in_free;
    v->in_free = in->next;
    *in = (in_t){f->cookie, f->nsegs, NULL};
    untag(f);
    f->cookie = in;
    packet_over_put(&v->card, f); // there is room
    return NETGLUE_KEPT;
}

// ---- which there are --------------------------------------------------------------------------------

uint16_t packet_vlan_tag(unsigned card) {
    for (const vlan_t *v = vlans; v != NULL; v = v->next) {
        if (v->own == netglue_get(card)) {
            return v->tag;
        }
    }
    return 0;
}

static bool equip(vlan_t *v) {
    const netdev_t *below = v->below->dev;
    unsigned pieces = below->rx_pieces != 0 ? below->rx_pieces : PACKET_OVER_QUEUE;
    in_t *in = calloc(pieces, sizeof *in);
    if (in == NULL || packet_over_init(&v->card, sizeof(out_t), packet_over_left) < 0) {
        free(in);
        return false;
    }
    for (unsigned i = 0; i < pieces; i++) {
        in[i].next = v->in_free;
        v->in_free = &in[i];
    }
    netdev_t *d = &v->card.dev;
    *d = (netdev_t){.ops = &ops, .driver = "vlan", .mtu = below->mtu, .features = below->features};
    d->rx_buffers = below->rx_buffers;
    d->rx_pieces = (uint16_t)pieces;
    memcpy(d->mac, below->mac, NETDEV_MAC_LEN);
    return true;
}

int packet_vlan_add(unsigned card, unsigned tag) {
    netglue_t *below = netglue_get(card);
    if (below == NULL) {
        return -ENODEV;
    }
    if (tag == 0 || tag > PACKET_VLAN_LAST) {
        return -EINVAL;
    }
    if (vlan_of(below, tag) != NULL) {
        return -EEXIST;
    }
    if (netglue_count() == NETDEV_MAX) {
        return -ENOSPC;
    }
    vlan_t *v = calloc(1, sizeof *v);
    if (v == NULL) {
        return -ENOMEM;
    }
    v->below = below;
    v->tag = (uint16_t)tag;
    if (!equip(v)) {
        free(v);
        return -ENOMEM;
    }
    v->own = netglue_attach(&v->card.dev);
    v->next = vlans;
    vlans = v;
    netif_set_up(&v->own->netif);
    return (int)netglue_count() - 1;
}
