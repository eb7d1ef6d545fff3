// SPDX-License-Identifier: MIT
// Cards of VLANs: see packetvlan.h. A tag is taken off in place, and put in by a piece of its own that has the first
// 18 bytes: what the stack gave is not changed. Owns the cards and these pieces. Context: main loop.

#include "packetvlan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packetbytes.h"

enum { TYPE_VLAN = 0x8100, MACS = 12, TAG = 4, ETH = 14, ID = 0xfff, AHEAD = 16 };
enum { SLOTS = 256, QUEUE = 64 };

// A frame on its way out.
typedef struct out {
    packet_over_t over;        // first: a cookie points to it
    uint8_t bytes[AHEAD + 24]; // room for a device's header, then ours, 18 bytes
    void *cookie;
    struct vlan *vlan;
    struct out *next;
} out_t;

// A received frame that somebody has.
typedef struct in {
    void *cookie;
    unsigned pieces;
    struct in *next;
} in_t;

typedef struct vlan {
    netdev_t dev; // first: the verbs get its address
    netglue_t *own, *below;
    uint16_t tag;
    out_t *out_free, *left;
    in_t *in_free;
    unsigned head, count;
    netdev_frame_t queue[QUEUE];
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

static int rx_take(netdev_t *dev, netdev_frame_t *out) {
    vlan_t *v = (vlan_t *)dev;
    if (v->count == 0) {
        return -EAGAIN;
    }
    *out = v->queue[v->head];
    v->head = (v->head + 1) % QUEUE;
    v->count--;
    dev->stats.rx_frames++;
    return 0;
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
    out_t *out = v->out_free;
    if (out == NULL) {
        dev->stats.tx_full++;
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
    t.cookie = (void *)((uintptr_t)out | NETTX_FORWARDED | PACKET_OVER_COOKIE);
    int r = nettx_forward(v->below, &t);
    if (r == 0) {
        v->out_free = out->next;
        out->cookie = f->cookie;
        dev->stats.tx_frames++;
    }
    return r;
}

static void *tx_return(netdev_t *dev) {
    vlan_t *v = (vlan_t *)dev;
    out_t *out = v->left;
    if (out == NULL) {
        return NULL;
    }
    v->left = out->next;
    out->next = v->out_free;
    v->out_free = out;
    return out->cookie;
}

static void sent(packet_over_t *over) {
    out_t *out = (out_t *)(void *)over;
    out->next = out->vlan->left;
    out->vlan->left = out;
}

void packet_over_sent(void *cookie) {
    packet_over_t *over = (packet_over_t *)((uintptr_t)cookie & ~(uintptr_t)(NETTX_FORWARDED | PACKET_OVER_COOKIE));
    over->sent(over);
}

static void kick(netdev_t *dev) { // the other card's turn may be over
    netglue_t *below = ((vlan_t *)dev)->below;
    below->kick = false;
    below->dev->ops->kick(below->dev);
}

static bool arm(netdev_t *dev) { return ((vlan_t *)dev)->count > 0; }
static bool link_up(netdev_t *dev) { return netif_is_link_up(&((vlan_t *)dev)->below->netif) != 0; }

static const netdev_ops_t ops = {rx_take, rx_return, tx_provide, tx_return, kick, arm, link_up};

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
    if (v == NULL || v->count == QUEUE || v->in_free == NULL || !netglue_keep_frame(g, f->nsegs)) {
        netdev_t *dev = v != NULL ? &v->dev : g->dev;
        dev->stats.rx_dropped++;
        return NETGLUE_DROPPED;
    }
    in_t *in = v->in_free;
    v->in_free = in->next;
    *in = (in_t){f->cookie, f->nsegs, NULL};
    untag(f);
    netdev_frame_t *to = &v->queue[(v->head + v->count++) % QUEUE];
    *to = *f;
    to->cookie = in;
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
    unsigned pieces = below->rx_pieces != 0 ? below->rx_pieces : QUEUE;
    out_t *out = calloc(SLOTS, sizeof *out);
    in_t *in = calloc(pieces, sizeof *in);
    if (out == NULL || in == NULL) {
        free(out);
        free(in);
        return false;
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        out[i].over.sent = sent;
        out[i].vlan = v;
        out[i].next = v->out_free;
        v->out_free = &out[i];
    }
    for (unsigned i = 0; i < pieces; i++) {
        in[i].next = v->in_free;
        v->in_free = &in[i];
    }
    v->dev = (netdev_t){.ops = &ops, .driver = "vlan", .mtu = below->mtu, .features = below->features};
    v->dev.rx_buffers = below->rx_buffers;
    v->dev.rx_pieces = (uint16_t)pieces;
    memcpy(v->dev.mac, below->mac, NETDEV_MAC_LEN);
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
    v->own = netglue_attach(&v->dev);
    v->next = vlans;
    vlans = v;
    netif_set_up(&v->own->netif);
    return (int)netglue_count() - 1;
}
