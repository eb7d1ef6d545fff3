// SPDX-License-Identifier: MIT
// Frames that a Xen guest receives: pieces to whole frames, and buffers back to the backend (Xen public/io/netif.h).
// The stack gets the pages themselves. Owns the frame in assembly. Not here: sending (netfront_tx.c), grants
// (netfront.c). Context: main loop only; never waits.

#include "netfront_internal.h"

#define RX_PARTIAL_NS 1000000000ull // all pieces of a frame must have come by then

static netif_rx_entry_t *rx_entry(const netfront_t *n, uint32_t i) {
    return xenring_entry(&n->rx, i, NETIF_RING_SIZE, sizeof(netif_rx_entry_t));
}

void netfront_rx_post(netfront_t *n, rxbuf_t *b) {
    b->next = NULL;
    if (n->port == 0 || !xenring_page_ready(&b->page)) {
        return;
    }
    uint32_t i = n->rx.req_prod++;
    rxbuf_t **at = &n->posted[i % NETIF_RING_SIZE];
    hal_assert(*at == NULL); // no more buffers than entries
    *at = b;
    rx_entry(n, i)->req = (netif_rx_request_t){.id = (uint16_t)(b - n->rxbuf), .ref = b->page.ref};
    xenring_publish(&n->rx);
}

static void rx_recycle(netfront_t *n, rxbuf_t *b) {
    while (b != NULL) {
        rxbuf_t *next = b->next;
        netfront_rx_post(n, b);
        b = next;
    }
}

// An extra info in a response's place. 0, or -EIO.
static int rx_extra(netfront_t *n, const netif_extra_t *e) {
    if (e->type != NETIF_EXTRA_TYPE_GSO || n->rx_gso_seen) {
        return netfront_die(n, "received extra info that nobody asked for");
    }
    if (!n->rx_gso || e->gso_size == 0 || (e->gso_type != NETIF_GSO_TCPV4 && e->gso_type != NETIF_GSO_TCPV6)) {
        return netfront_die(n, "received frame of a segmentation that nobody asked for");
    }
    n->rx_gso_seen = true;
    n->rx_gso_type = e->gso_type;
    n->rx_gso_size = e->gso_size;
    n->rx_extra = (e->flags & NETIF_EXTRA_FLAG_MORE) != 0;
    return 0;
}

// A piece of a frame. 0, or -EIO.
static int rx_piece(netfront_t *n, rxbuf_t *b, const netif_rx_response_t *rsp) {
    bool begins = n->first == NULL;
    if (rsp->id != b - n->rxbuf) {
        return netfront_die(n, "received id is not that of the request");
    }
    if (rsp->status > 0 && rsp->offset + rsp->status > PAGE) {
        return netfront_die(n, "received length beyond the page");
    }
    if ((rsp->flags & NETIF_RXF_GSO_PREFIX) != 0 || (!begins && (rsp->flags & NETIF_RXF_EXTRA_INFO) != 0)) {
        return netfront_die(n, "received flags out of place");
    }
    b->offset = rsp->offset;
    b->len = rsp->status > 0 ? (uint16_t)rsp->status : 0;
    b->next = NULL;
    if (begins) {
        n->first = b;
        n->rx_flags = rsp->flags;
        n->rx_total = n->rx_pieces = 0;
        n->rx_gso_seen = n->rx_bad = false;
        n->partial_since = hal_clock_ns();
    } else {
        n->last->next = b;
    }
    n->last = b;
    n->rx_total += b->len;
    // It could not be copied to us: an error of netif.h's, or of the copy itself (GNTST_*).
    n->rx_bad |= rsp->status < 0;
    n->rx_more = (rsp->flags & NETIF_RXF_MORE_DATA) != 0;
    n->rx_extra = (rsp->flags & NETIF_RXF_EXTRA_INFO) != 0;
    return ++n->rx_pieces <= NETDEV_MAX_SEGS ? 0 : netfront_die(n, "received frame in too many pieces");
}

// Move one response into the frame in assembly. 0: that is whole now; 1: not yet; -EAGAIN; -EIO.
static int rx_gather(netfront_t *n) {
    int r = xenring_look(&n->rx);
    if (r < 0) {
        if (r == -EIO) {
            return netfront_die(n, "received: response index jumped");
        }
        bool late = n->first != NULL && hal_clock_ns() - n->partial_since > RX_PARTIAL_NS;
        return late ? netfront_die(n, "received frame never completed") : r;
    }
    uint32_t i = n->rx.rsp_cons++;
    netif_rx_entry_t e = {.whole = *(const volatile uint64_t *)&rx_entry(n, i)->whole};
    rxbuf_t *b = n->posted[i % NETIF_RING_SIZE];
    n->posted[i % NETIF_RING_SIZE] = NULL;
    if (n->rx_extra) {
        netfront_rx_post(n, b); // its request made room for this, its page is untouched
        r = rx_extra(n, &e.extra);
    } else {
        r = rx_piece(n, b, &e.rsp);
    }
    return r < 0 ? r : n->rx_extra || n->rx_more;
}

// Describe the assembled frame. False: no frame at all (too short, too long, or not all of it came),
// its buffers went back.
static bool rx_describe(netfront_t *n, netdev_frame_t *out) {
    rxbuf_t *b = n->first;
    n->first = NULL;
    if (n->rx_bad || n->rx_total < ETH_HEADER || n->rx_total > FRAME_MAX) {
        n->dev.stats.rx_dropped++;
        rx_recycle(n, b);
        return false;
    }
    out->cookie = b;
    for (out->nsegs = 0; b != NULL; b = b->next) {
        b->lent = true;
        if (b->len > 0) {
            out->seg[out->nsegs++] = (netdev_seg_t){b->page.base + b->offset, b->len};
        }
    }
    out->csum_start = out->csum_offset = out->gso_size = out->hdr_len = out->headroom =
        0; // where the sum goes is not told
    out->gso = NETDEV_GSO_NONE;
    // Blank: it never was on a wire, and what stands there is not a checksum yet.
    out->csum_needed = (n->rx_flags & NETIF_RXF_CSUM_BLANK) != 0;
    if (n->rx_gso_seen && out->csum_needed) {
        out->gso = n->rx_gso_type == NETIF_GSO_TCPV4 ? NETDEV_GSO_TCP4 : NETDEV_GSO_TCP6;
        out->gso_size = n->rx_gso_size;
    }
    out->csum_good = (n->rx_flags & (NETIF_RXF_DATA_VALIDATED | NETIF_RXF_CSUM_BLANK)) != 0;
    n->dev.stats.rx_frames++;
    n->dev.stats.rx_bytes += n->rx_total;
    return true;
}

int netfront_rx_take(netdev_t *dev, netdev_frame_t *out) {
    netfront_t *n = netfront_of(dev);
    bool dropped = false;
    int r = dev->dead ? -EIO : -EAGAIN;
    unsigned budget = n->up ? NETIF_RING_SIZE : 0; // dropped frames do not hold the loop
    for (; budget > 0 && !dev->dead; budget--) {
        r = rx_gather(n);
        if (r < 0) {
            break;
        }
        if (r == 0 && rx_describe(n, out)) {
            return 0;
        }
        dropped |= r == 0;
        r = -EAGAIN;
    }
    if (dropped && r == -EAGAIN && xenring_kick_needed(&n->rx)) { // the stack, who got nothing, does not kick
        xen_evtchn_notify(n->port);
        dev->stats.kicks++;
    }
    return r;
}

void netfront_rx_return(netdev_t *dev, void *cookie) {
    netfront_t *n = netfront_of(dev);
    rxbuf_t *b = cookie;
    hal_assert(b >= n->rxbuf && b < n->rxbuf + n->slots && b->lent);
    for (rxbuf_t *each = b; each != NULL; each = each->next) {
        each->lent = false;
    }
    rx_recycle(n, b);
}
