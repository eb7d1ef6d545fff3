// SPDX-License-Identifier: MIT
// Network card of a Xen guest: rings and the verbs of netdev.h (Xen public/io/netif.h, public/io/ring.h). A frame to send
// is copied into pages of our own, so that the stack's memory is never another domain's to see; a received one is not.
// Owns: rings, pages and their grants; a page that a backend still has mapped is not touched until it lets go.
// Not here: XenStore (netfront_xs.c), several queues. Context: main loop only; no verb waits. The backend lied: one log
// line, netdev.dead, -EIO from then on.

#include "netfront.h"

#include <string.h>

#include "netfront_ring.h"

enum { PAGE = HAL_PAGE_SIZE };
enum { ETH_HEADER = 14, VLAN_TAG = 4, TYPE_AT = 12, FRAME_MAX = 65535 };

// Pages each way. A backend gets by with 18 for its longest frame (XEN_NETIF_NR_SLOTS_MIN).
enum { SLOTS_LARGE = 256, SLOTS_SMALL = 64, SLOTS_MIN = 18 };
enum { PAGES_GSO = 17 };       // that a large TCP frame takes
#define LARGE_FROM (24u << 20) // RAM
_Static_assert(SLOTS_MIN *HAL_PAGE_SIZE > FRAME_MAX + 1 && (int)SLOTS_MIN <= (int)NETDEV_MAX_SEGS,
               "the largest frame fits");

enum { SPARE_RINGS = 4 };           // pages for rings, beyond the first two, where a dead backend keeps one
#define RX_PARTIAL_NS 1000000000ull // all pieces of a frame must have come by then

typedef struct txslot {
    page_t page;
    struct txslot *next; // of the frame; or in a list
    void *cookie;        // first of a frame that the stack has not got back
    uint16_t first;      // of its frame
    uint16_t left;       // first of a frame: answers to come
    bool asked;          // the backend has the request
} txslot_t;

typedef struct rxbuf {
    page_t page;
    struct rxbuf *next; // of the frame
    uint16_t offset, len;
    bool lent; // the stack has it
} rxbuf_t;

struct netfront {
    netdev_t dev; // first: the verbs get its address
    const xenbus_dev_t *bus;
    netfront_terms_t terms;
    xen_port_t port;             // 0: not connected
    bool up, rx_gso, tx_refused; // tx_refused: the stack met a full queue and waits for room
    unsigned spare_rings;
    ring_t tx, rx;
    uint32_t slots; // of each kind
    txslot_t *txslot, *tx_free, *tx_done;
    uint32_t tx_free_count, tx_usable, tx_extras; // tx_extras: extra infos to be answered
    rxbuf_t *rxbuf, *posted[RING_SIZE];
    rxbuf_t *first, *last; // frame in assembly
    uint64_t partial_since;
    uint32_t rx_total, rx_pieces;
    uint16_t rx_flags;                           // of the frame's first piece
    bool rx_more, rx_extra, rx_gso_seen, rx_bad; // what comes next; what came
};

static netfront_t *netfront_of(netdev_t *dev) { return (netfront_t *)dev; }

static int die(netfront_t *n, const char *why) {
    n->dev.dead = true;
    return xenbus_say(n->bus, why, -EIO); // also while something else is tried again
}

static tx_entry_t *tx_entry(netfront_t *n, uint32_t i) { return ring_entry(&n->tx, i, sizeof(tx_entry_t)); }
static rx_entry_t *rx_entry(netfront_t *n, uint32_t i) { return ring_entry(&n->rx, i, sizeof(rx_entry_t)); }

// ---- receive ------------------------------------------------------------------------------------

// Let the backend fill a buffer; not connected, or the page is held: it stays where it is until we connect again.
static void rx_post(netfront_t *n, rxbuf_t *b) {
    b->next = NULL;
    if (n->port == 0 || !page_ready(&b->page)) {
        return;
    }
    uint32_t i = n->rx.req_prod++;
    rxbuf_t **at = &n->posted[i % RING_SIZE];
    hal_assert(*at == NULL); // no more buffers than entries
    *at = b;
    rx_entry(n, i)->req = (rx_request_t){.id = (uint16_t)(b - n->rxbuf), .ref = b->page.ref};
    netfront_ring_publish(&n->rx);
}

static void rx_recycle(netfront_t *n, rxbuf_t *b) {
    while (b != NULL) {
        rxbuf_t *next = b->next;
        rx_post(n, b);
        b = next;
    }
}

// An extra info in a response's place. 0, or -EIO.
static int rx_extra(netfront_t *n, const extra_t *e) {
    if (e->type != EXTRA_TYPE_GSO || n->rx_gso_seen) {
        return die(n, "received extra info that nobody asked for");
    }
    if (!n->rx_gso || e->gso_size == 0 || (e->gso_type != GSO_TCPV4 && e->gso_type != GSO_TCPV6)) {
        return die(n, "received frame of a segmentation that nobody asked for");
    }
    n->rx_gso_seen = true;
    n->rx_extra = (e->flags & EXTRA_FLAG_MORE) != 0;
    return 0;
}

// A piece of a frame. 0, or -EIO.
static int rx_piece(netfront_t *n, rxbuf_t *b, const rx_response_t *rsp) {
    bool begins = n->first == NULL;
    if (rsp->id != b - n->rxbuf) {
        return die(n, "received id is not that of the request");
    }
    if (rsp->status > 0 && rsp->offset + rsp->status > PAGE) {
        return die(n, "received length beyond the page");
    }
    if ((rsp->flags & RXF_GSO_PREFIX) != 0 || (!begins && (rsp->flags & RXF_EXTRA_INFO) != 0)) {
        return die(n, "received flags out of place");
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
    n->rx_bad |=
        rsp->status < 0; // it could not be copied to us: an error of netif.h's, or of the copy itself (GNTST_*)
    n->rx_more = (rsp->flags & RXF_MORE_DATA) != 0;
    n->rx_extra = (rsp->flags & RXF_EXTRA_INFO) != 0;
    return ++n->rx_pieces <= NETDEV_MAX_SEGS ? 0 : die(n, "received frame in too many pieces");
}

// Move one response into the frame in assembly. 0: that is whole now; 1: not yet; -EAGAIN; -EIO.
static int rx_gather(netfront_t *n) {
    int r = netfront_ring_look(&n->rx);
    if (r < 0) {
        if (r == -EIO) {
            return die(n, "received: response index jumped");
        }
        bool late = n->first != NULL && hal_clock_ns() - n->partial_since > RX_PARTIAL_NS;
        return late ? die(n, "received frame never completed") : r;
    }
    uint32_t i = n->rx.rsp_cons++;
    rx_entry_t e = {.whole = *(const volatile uint64_t *)&rx_entry(n, i)->whole};
    rxbuf_t *b = n->posted[i % RING_SIZE];
    n->posted[i % RING_SIZE] = NULL;
    if (n->rx_extra) {
        rx_post(n, b); // its request made room for this, its page is untouched
        r = rx_extra(n, &e.extra);
    } else {
        r = rx_piece(n, b, &e.rsp);
    }
    return r < 0 ? r : n->rx_extra || n->rx_more;
}

// Describe the assembled frame. False: no frame at all (too short, too long, or not all of it came), its buffers went back.
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
    out->csum_start = out->csum_offset = out->gso_size = out->hdr_len = 0;
    out->gso = NETDEV_GSO_NONE;
    out->csum_needed = false;
    // Blank: it never was on a wire, and what stands there is not a checksum yet.
    out->csum_good = (n->rx_flags & (RXF_DATA_VALIDATED | RXF_CSUM_BLANK)) != 0;
    n->dev.stats.rx_frames++;
    n->dev.stats.rx_bytes += n->rx_total;
    return true;
}

static int netfront_rx_take(netdev_t *dev, netdev_frame_t *out) {
    netfront_t *n = netfront_of(dev);
    bool dropped = false;
    int r = dev->dead ? -EIO : -EAGAIN;
    unsigned budget = n->up ? RING_SIZE : 0; // dropped frames do not hold the loop
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
    if (dropped && r == -EAGAIN && netfront_ring_kick_needed(&n->rx)) { // the stack, who got nothing, does not kick
        xen_evtchn_notify(n->port);
        dev->stats.kicks++;
    }
    return r;
}

static void netfront_rx_return(netdev_t *dev, void *cookie) {
    netfront_t *n = netfront_of(dev);
    rxbuf_t *b = cookie;
    hal_assert(b >= n->rxbuf && b < n->rxbuf + n->slots && b->lent);
    for (rxbuf_t *each = b; each != NULL; each = each->next) {
        each->lent = false;
    }
    rx_recycle(n, b);
}

// ---- send ---------------------------------------------------------------------------------------

static void tx_free(netfront_t *n, txslot_t *s) {
    s->cookie = NULL;
    if (page_ready(&s->page)) {
        s->next = n->tx_free;
        n->tx_free = s;
        n->tx_free_count++;
    }
}

// Whether the frame can be sent as it is.
static bool tx_fits(const netfront_t *n, const netdev_frame_t *f, uint32_t total) {
    static const uint32_t feature[] = {0, NETDEV_F_TX_TSO4, NETDEV_F_TX_TSO6};
    hal_assert(f->gso < HAL_ARRAY_LEN(feature) && (n->dev.features & feature[f->gso]) == feature[f->gso]);
    uint32_t sum_at = (uint32_t)f->csum_start + f->csum_offset;
    if (f->csum_needed && (sum_at + 2 > total || sum_at % 2 != 0)) {
        return false;
    }
    if (f->gso == NETDEV_GSO_NONE) {
        return total >= ETH_HEADER && total <= (uint32_t)n->dev.mtu + ETH_HEADER + VLAN_TAG;
    }
    return f->csum_needed && f->gso_size > 0 && f->hdr_len < total && total <= FRAME_MAX;
}

// Complete a checksum that the backend does not: all from csum_start on is summed, the pseudo header's sum with it.
static void tx_checksum(const txslot_t *first, const netdev_frame_t *f, uint32_t total) {
    const txslot_t *s = first;
    uint8_t *at = NULL;
    uint32_t sum = 0, where = (uint32_t)f->csum_start + f->csum_offset;
    for (uint32_t i = 0; i < total; i++) {
        if (i > 0 && i % PAGE == 0) {
            s = s->next;
        }
        uint8_t *p = s->page.base + i % PAGE;
        if (i >= f->csum_start) {
            sum += (i - f->csum_start) % 2 == 0 ? (uint32_t)*p << 8 : *p;
        }
        if (i == where) {
            at = p; // an even place (tx_fits): both bytes are in one page
        }
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
    at[0] = (uint8_t)(sum >> 8);
    at[1] = (uint8_t)sum;
}

// Take as many slots as the frame needs, and copy it in.
static txslot_t *tx_copy(netfront_t *n, const netdev_frame_t *f, uint32_t pages) {
    txslot_t *first = n->tx_free, *s = first;
    uint32_t room = PAGE;
    for (unsigned i = 0; i < f->nsegs; i++) {
        const uint8_t *from = f->seg[i].base;
        for (uint32_t left = f->seg[i].len; left > 0;) {
            if (room == 0) {
                s = s->next;
                room = PAGE;
            }
            uint32_t part = left < room ? left : room;
            memcpy(s->page.base + PAGE - room, from, part);
            from += part;
            left -= part;
            room -= part;
        }
    }
    n->tx_free = s->next;
    n->tx_free_count -= pages;
    s->next = NULL;
    first->left = (uint16_t)pages;
    first->cookie = f->cookie;
    return first;
}

// Requests for the frame in these slots: the first, the extra info that belongs to it, the others.
static void tx_request(netfront_t *n, const netdev_frame_t *f, txslot_t *first, uint32_t total, uint16_t flags) {
    bool gso = f->gso != NETDEV_GSO_NONE;
    uint32_t left = total;
    for (txslot_t *s = first; s != NULL; s = s->next) {
        uint32_t size = left < PAGE ? left : PAGE;
        uint16_t more = s->next != NULL ? TXF_MORE_DATA : 0;
        tx_entry(n, n->tx.req_prod++)->req = (tx_request_t){
            .ref = s->page.ref,
            .flags = (uint16_t)(more | (s == first ? flags : 0)),
            .id = (uint16_t)(s - n->txslot),
            .size = (uint16_t)(s == first ? total : size),
        };
        if (s == first && gso) {
            tx_entry(n, n->tx.req_prod++)->extra = (extra_t){
                .type = EXTRA_TYPE_GSO,
                .gso_size = f->gso_size,
                .gso_type = f->gso == NETDEV_GSO_TCP4 ? GSO_TCPV4 : GSO_TCPV6,
            };
            n->tx_extras++;
        }
        s->first = (uint16_t)(first - n->txslot);
        s->asked = true;
        left -= size;
    }
    netfront_ring_publish(&n->tx);
}

static int netfront_tx_provide(netdev_t *dev, const netdev_frame_t *f) {
    netfront_t *n = netfront_of(dev);
    if (dev->dead) {
        return -EIO;
    }
    uint32_t total = 0;
    for (unsigned i = 0; i < f->nsegs && i < NETDEV_MAX_SEGS; i++) {
        total += f->seg[i].len;
    }
    hal_assert(f->cookie != NULL);
    uint32_t pages = (total + PAGE - 1) / PAGE, gso = f->gso != NETDEV_GSO_NONE;
    if (f->nsegs == 0 || f->nsegs > NETDEV_MAX_SEGS || !tx_fits(n, f, total)) {
        return -EMSGSIZE;
    }
    if (!n->up || pages > n->tx_usable || (pages > 1 && !n->terms.sg)) {
        return -EMSGSIZE; // not connected: lost, as on a cable that nobody holds
    }
    if (pages > n->tx_free_count || pages + gso > RING_SIZE - ring_outstanding(&n->tx)) {
        n->tx_refused = true;
        dev->stats.tx_full++;
        return -EAGAIN;
    }
    txslot_t *first = tx_copy(n, f, pages);
    uint16_t flags = gso ? TXF_EXTRA_INFO : 0;
    if (f->csum_needed) {
        bool v6 = first->page.base[TYPE_AT] == 0x86 && first->page.base[TYPE_AT + 1] == 0xdd;
        if (gso || (v6 ? n->terms.csum6 : n->terms.csum4)) {
            flags |= TXF_CSUM_BLANK | TXF_DATA_VALIDATED;
        } else {
            tx_checksum(first, f, total);
        }
    }
    tx_request(n, f, first, total, flags);
    dev->stats.tx_frames++;
    dev->stats.tx_bytes += total;
    return 0;
}

// One answer: true when it was the last of its frame, which is in *done then.
static int tx_answer(netfront_t *n, txslot_t **done) {
    int r = netfront_ring_look(&n->tx);
    if (r < 0) {
        return r == -EIO ? die(n, "sent: response index jumped") : r;
    }
    tx_response_t rsp = (tx_entry_t){.whole = *(const volatile uint32_t *)&tx_entry(n, n->tx.rsp_cons++)->whole}.rsp;
    if (rsp.status == RSP_NULL) { // stands in the place of an extra info, and has no id
        return n->tx_extras-- > 0 ? 1 : die(n, "sent: more answers than requests");
    }
    if (rsp.status < RSP_DROPPED || rsp.status > RSP_OKAY) {
        return die(n, "sent: status is none");
    }
    if (rsp.id >= n->slots || !n->txslot[rsp.id].asked) {
        return die(n, "sent: id not outstanding");
    }
    txslot_t *s = &n->txslot[rsp.id], *first = &n->txslot[s->first];
    s->asked = false;
    if (--first->left > 0) {
        return 1;
    }
    *done = first;
    return 0;
}

static void *netfront_tx_return(netdev_t *dev) {
    netfront_t *n = netfront_of(dev);
    txslot_t *first = n->tx_done;
    int r = dev->dead ? -EIO : 1;
    if (r > 0 && first != NULL) { // was in flight when the backend went
        n->tx_done = first->next;
        first->next = NULL;
        r = 0;
    }
    while (r > 0) {
        r = n->up ? tx_answer(n, &first) : -EAGAIN;
    }
    if (r < 0) {
        return NULL;
    }
    void *cookie = first->cookie;
    while (first != NULL) {
        txslot_t *next = first->next;
        tx_free(n, first);
        first = next;
    }
    n->tx_refused = false;
    return cookie;
}

// ---- both ---------------------------------------------------------------------------------------

static void netfront_kick(netdev_t *dev) {
    netfront_t *n = netfront_of(dev);
    if (dev->dead || !n->up) {
        return;
    }
    bool tx = netfront_ring_kick_needed(&n->tx), rx = netfront_ring_kick_needed(&n->rx);
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
    bool work = netfront_ring_arm(&n->rx, 1);
    uint32_t out = ring_outstanding(&n->tx);
    if (n->tx_refused && out > 0) {
        work |= netfront_ring_arm(&n->tx, (out + 1) / 2);
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

void netfront_disconnect(netfront_t *n) {
    if (n->port == 0) {
        return;
    }
    xen_evtchn_close(n->port);
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
        netfront_page_revoke(&s->page);
        netfront_page_revoke(&n->rxbuf[i].page);
    }
    netfront_page_revoke(&n->tx.page);
    netfront_page_revoke(&n->rx.page);
}

// The stack looks at this once: a card that is not connected by then is taken for one with all its pages.
static uint16_t rx_told(const netfront_t *n, uint32_t usable) {
    uint32_t pages = ((uint32_t)n->dev.mtu + ETH_HEADER + VLAN_TAG + PAGE - 1) / PAGE;
    return netdev_rx_told(usable, n->slots == SLOTS_LARGE ? PAGES_GSO : pages);
}

void netfront_identified(netfront_t *n) { n->dev.rx_buffers = rx_told(n, n->slots); }

int netfront_connect(netfront_t *n, const netfront_terms_t *terms, netfront_contact_t *out) {
    netfront_disconnect(n);
    uint16_t dom = n->bus->backend_dom;
    int r = xen_evtchn_alloc(dom, &n->port);
    if (r < 0) {
        n->port = 0;
        return xenbus_fail(n->bus, "no event channel", r);
    }
    bool rings = netfront_ring_open(&n->tx, dom, &n->spare_rings) && netfront_ring_open(&n->rx, dom, &n->spare_rings);
    uint32_t rx_usable = 0;
    for (uint32_t i = 0; rings && i < n->slots; i++) {
        txslot_t *s = &n->txslot[i];
        rxbuf_t *b = &n->rxbuf[i];
        n->tx_usable += netfront_page_grant(&s->page, dom, true);
        rx_usable += netfront_page_grant(&b->page, dom, false);
        if (s->cookie == NULL) { // else it is in tx_done
            tx_free(n, s);
        }
        if (!b->lent) {
            rx_post(n, b);
        }
    }
    if (rx_usable < SLOTS_MIN || n->tx_usable < SLOTS_MIN) {
        netfront_disconnect(n);
        return xenbus_fail(n->bus, "too few pages can be granted", -ENOSPC);
    }
    n->terms = *terms;
    n->rx_gso = n->slots == SLOTS_LARGE && rx_usable >= 2 * SLOTS_MIN;
    n->dev.rx_buffers = rx_told(n, rx_usable);
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
