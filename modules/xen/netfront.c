// SPDX-License-Identifier: MIT
// Network card of a Xen guest (Xen public/io/netif.h): its rings and pages come and go with the backend; the verbs of
// netdev.h. Owns: rings, pages and their grants; a page that a backend still has mapped is not touched until it lets
// go. Not here: frames (netfront_rx.c, netfront_tx.c), XenStore (netfront_xs.c), several queues. Context: main loop
// only; no verb waits. The backend lied: one log line, netdev.dead, -EIO from then on.

#include "netfront.h"

#include <string.h>

#include "netfront_internal.h"

// Pages each way. A backend gets by with 18 for its longest frame (XEN_NETIF_NR_SLOTS_MIN).
enum { SLOTS_LARGE = 256, SLOTS_SMALL = 64, SLOTS_MIN = 18 };
enum { PAGES_GSO = 17 };       // that a large TCP frame takes
enum { SPARE_RINGS = 4 };      // pages for rings, beyond the first two, where a dead backend keeps one
#define LARGE_FROM (24u << 20) // RAM
_Static_assert((FRAME_MAX + 1) / (int)PAGE < (int)SLOTS_MIN, "the largest frame fits into the slots");
_Static_assert((int)SLOTS_MIN <= (int)NETDEV_MAX_SEGS, "the largest frame is one of the stack's");

static void netfront_kick(netdev_t *dev) {
    netfront_t *n = netfront_of(dev);
    if (dev->dead || !n->up) {
        return;
    }
    bool tx = xenring_kick_needed(&n->tx), rx = xenring_kick_needed(&n->rx);
    if (tx || rx) {
        xen_evtchn_notify(n->port);
        dev->stats.kicks++;
    }
}

// Frames that have left wake us only while the stack waits for room; otherwise it collects them when it runs next.
static bool netfront_arm(netdev_t *dev) {
    netfront_t *n = netfront_of(dev);
    if (dev->dead || !n->up) {
        return false;
    }
    xen_evtchn_take(n->port);
    bool work = !dev->rx_paused && xenring_arm(&n->rx, 1);
    uint32_t out = xenring_outstanding(&n->tx);
    if ((n->tx_refused || dev->tx_wanted) && out > 0) {
        work |= xenring_arm(&n->tx, (out + 1) / 2);
    }
    return work;
}

static bool netfront_link_up(netdev_t *dev) { return !dev->dead && netfront_of(dev)->up; }

static const netdev_ops_t netfront_ops = {
    .rx_take = netfront_rx_take,
    .rx_return = netfront_rx_return,
    .tx_provide = netfront_tx_provide,
    .tx_return = netfront_tx_return,
    .kick = netfront_kick,
    .arm = netfront_arm,
    .link_up = netfront_link_up,
};

// ---- coming and going ---------------------------------------------------------------------------

static void end_connection(netfront_t *n) {
    n->port = 0;
    n->up = n->tx_refused = false;
    n->first = NULL;
    n->rx_more = n->rx_extra = false;
    memset(n->posted, 0, sizeof(n->posted));
    n->tx_free = NULL;
    n->tx_free_count = n->tx_usable = n->tx_extras = 0;
    for (uint32_t i = 0; i < n->slots; i++) {
        txslot_t *s = &n->txslot[i];
        if (s->left > 0) {
            s->left = 0;
            s->next = n->tx_done;
            n->tx_done = s;
        }
        s->asked = false;
        xenring_page_revoke(&s->page);
        xenring_page_revoke(&n->rxbuf[i].page);
    }
    xenring_page_revoke(&n->tx.page);
    xenring_page_revoke(&n->rx.page);
}

void netfront_disconnect(netfront_t *n) {
    if (n->port != 0) {
        xen_evtchn_close(n->port);
        end_connection(n);
    }
}

void netfront_forget(netfront_t *n) {
    xenring_page_forget(&n->tx.page);
    xenring_page_forget(&n->rx.page);
    for (uint32_t i = 0; i < n->slots; i++) {
        xenring_page_forget(&n->txslot[i].page);
        xenring_page_forget(&n->rxbuf[i].page);
    }
    if (n->port != 0) {
        end_connection(n);
    }
}

// The stack looks at this once: a card that is not connected by then is taken for one with all its pages.
static uint16_t rx_share(netfront_t *n, uint32_t usable) {
    n->dev.rx_pieces = (uint16_t)usable;
    uint32_t pages = ((uint32_t)n->dev.mtu + ETH_HEADER + VLAN_TAG + PAGE - 1) / PAGE;
    return netdev_rx_share(usable, n->slots == SLOTS_LARGE ? PAGES_GSO : pages);
}

void netfront_identified(netfront_t *n) { n->dev.rx_buffers = rx_share(n, n->slots); }

// An empty ring, in another page where the backend that is gone holds the old one. False: no page, or no grant.
static bool ring_open(netfront_t *n, xenring_t *r) {
    uint8_t *fresh = NULL;
    xenring_page_revoke(&r->page);
    if (r->page.held && n->spare_rings > 0 && (fresh = hal_mem_dma(PAGE, PAGE)) != NULL) {
        r->page = (xenring_page_t){.base = fresh}; // the old one is left to whoever has it
        n->spare_rings--;
    }
    return xenring_open(r, n->bus->backend_dom);
}

int netfront_connect(netfront_t *n, const netfront_terms_t *terms, netfront_contact_t *out) {
    netfront_disconnect(n);
    uint16_t dom = n->bus->backend_dom;
    int r = xen_evtchn_alloc(dom, &n->port);
    if (r < 0) {
        n->port = 0;
        return xenbus_fail(n->bus, "no event channel", r);
    }
    bool rings = ring_open(n, &n->tx) && ring_open(n, &n->rx);
    uint32_t rx_usable = 0;
    for (uint32_t i = 0; rings && i < n->slots; i++) {
        txslot_t *s = &n->txslot[i];
        rxbuf_t *b = &n->rxbuf[i];
        n->tx_usable += xenring_page_grant(&s->page, dom, true);
        rx_usable += xenring_page_grant(&b->page, dom, false);
        if (s->cookie == NULL) { // else it is in tx_done
            netfront_tx_free(n, s);
        }
        if (!b->lent) {
            netfront_rx_post(n, b);
        }
    }
    if (rx_usable < SLOTS_MIN || n->tx_usable < SLOTS_MIN) {
        netfront_disconnect(n);
        return xenbus_fail(n->bus, "too few pages can be granted", -ENOSPC);
    }
    n->terms = *terms;
    n->rx_gso = n->slots == SLOTS_LARGE && rx_usable >= 2 * SLOTS_MIN;
    n->dev.rx_buffers = rx_share(n, rx_usable);
    n->dev.features = NETDEV_F_TX_CSUM | NETDEV_F_RX_CSUM; // what the backend does not sum, we do
    n->dev.features |= terms->sg && terms->csum4 && terms->gso4 ? NETDEV_F_TX_TSO4 : 0;
    n->dev.features |= terms->sg && terms->csum6 && terms->gso6 ? NETDEV_F_TX_TSO6 : 0;
    *out = (netfront_contact_t){n->tx.page.ref, n->rx.page.ref, n->port, n->rx_gso};
    return 0;
}

bool netfront_connected(const netfront_t *n) { return n->port != 0; }

void netfront_start(netfront_t *n) {
    if (n->port == 0 || n->up) {
        return;
    }
    n->up = true;
    xen_evtchn_unmask(n->port);
    netfront_kick(&n->dev);
}

netdev_t *netfront_netdev(netfront_t *n) { return &n->dev; }

netfront_t *netfront_new(const xenbus_dev_t *bus) {
    bool large = hal_mem_total() >= LARGE_FROM && hal_mem_free() >= LARGE_FROM / 2;
    netfront_t *n = hal_mem_dma(sizeof(netfront_t), _Alignof(netfront_t));
    if (n == NULL) {
        return NULL;
    }
    n->bus = bus;
    n->spare_rings = SPARE_RINGS;
    n->slots = large ? SLOTS_LARGE : SLOTS_SMALL;
    n->dev.ops = &netfront_ops;
    n->dev.driver = "xen-netfront";
    n->dev.features = NETDEV_F_TX_CSUM | NETDEV_F_RX_CSUM;
    n->txslot = hal_mem_dma(n->slots * sizeof(txslot_t), _Alignof(txslot_t));
    n->rxbuf = hal_mem_dma(n->slots * sizeof(rxbuf_t), _Alignof(rxbuf_t));
    uint8_t *pages = hal_mem_dma((size_t)(2 + 2 * n->slots) * PAGE, PAGE);
    if (n->txslot == NULL || n->rxbuf == NULL || pages == NULL) {
        return NULL;
    }
    n->tx.page.base = pages;
    n->rx.page.base = pages + PAGE;
    for (uint32_t i = 0; i < n->slots; i++) {
        n->txslot[i].page.base = pages + (size_t)(2 + 2 * i) * PAGE;
        n->rxbuf[i].page.base = pages + (size_t)(3 + 2 * i) * PAGE;
    }
    return n;
}
