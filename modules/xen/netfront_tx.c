// SPDX-License-Identifier: MIT
// Frames that a Xen guest sends (Xen public/io/netif.h): copied into pages of our own, so that the stack's memory is
// never another domain's to see; checksums that the backend does not make. Owns the slots, free and in flight. Not
// here: receiving (netfront_rx.c), grants (netfront.c). Context: main loop only; never waits.

#include <string.h>

#include "netfront_internal.h"

enum { TYPE_AT = 12 };

static netif_tx_entry_t *tx_entry(const netfront_t *n, uint32_t i) {
    return xenring_entry(&n->tx, i, NETIF_RING_SIZE, sizeof(netif_tx_entry_t));
}

void netfront_tx_free(netfront_t *n, txslot_t *s) {
    s->cookie = NULL;
    if (xenring_page_ready(&s->page)) {
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
        uint16_t more = s->next != NULL ? NETIF_TXF_MORE_DATA : 0;
        tx_entry(n, n->tx.req_prod++)->req = (netif_tx_request_t){
            .ref = s->page.ref,
            .flags = (uint16_t)(more | (s == first ? flags : 0)),
            .id = (uint16_t)(s - n->txslot),
            .size = (uint16_t)(s == first ? total : size),
        };
        if (s == first && gso) {
            tx_entry(n, n->tx.req_prod++)->extra = (netif_extra_t){
                .type = NETIF_EXTRA_TYPE_GSO,
                .gso_size = f->gso_size,
                .gso_type = f->gso == NETDEV_GSO_TCP4 ? NETIF_GSO_TCPV4 : NETIF_GSO_TCPV6,
            };
            n->tx_extras++;
        }
        s->first = (uint16_t)(first - n->txslot);
        s->asked = true;
        left -= size;
    }
    xenring_publish(&n->tx);
}

int netfront_tx_provide(netdev_t *dev, const netdev_frame_t *f) {
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
    if (pages > n->tx_free_count || pages + gso > NETIF_RING_SIZE - xenring_outstanding(&n->tx)) {
        n->tx_refused = true;
        dev->stats.tx_full++;
        return -EAGAIN;
    }
    txslot_t *first = tx_copy(n, f, pages);
    uint16_t flags = gso ? NETIF_TXF_EXTRA_INFO : 0;
    if (f->csum_needed) {
        bool v6 = first->page.base[TYPE_AT] == 0x86 && first->page.base[TYPE_AT + 1] == 0xdd;
        if (gso || (v6 ? n->terms.csum6 : n->terms.csum4)) {
            flags |= NETIF_TXF_CSUM_BLANK | NETIF_TXF_DATA_VALIDATED;
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
    int r = xenring_look(&n->tx);
    if (r < 0) {
        return r == -EIO ? netfront_die(n, "sent: response index jumped") : r;
    }
    netif_tx_response_t rsp =
        (netif_tx_entry_t){.whole = *(const volatile uint32_t *)&tx_entry(n, n->tx.rsp_cons++)->whole}.rsp;
    if (rsp.status == NETIF_RSP_NULL) { // stands in the place of an extra info, and has no id
        return n->tx_extras-- > 0 ? 1 : netfront_die(n, "sent: more answers than requests");
    }
    if (rsp.status < NETIF_RSP_DROPPED || rsp.status > NETIF_RSP_OKAY) {
        return netfront_die(n, "sent: status is none");
    }
    if (rsp.id >= n->slots || !n->txslot[rsp.id].asked) {
        return netfront_die(n, "sent: id not outstanding");
    }
    txslot_t *s = &n->txslot[rsp.id], *first = &n->txslot[s->first];
    s->asked = false;
    if (--first->left > 0) {
        return 1;
    }
    *done = first;
    return 0;
}

void *netfront_tx_return(netdev_t *dev) {
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
        netfront_tx_free(n, first);
        first = next;
    }
    n->tx_refused = false;
    return cookie;
}
