// SPDX-License-Identifier: MIT
// The way out: frames wait in a queue until the batch ends, then go to the device without a copy. Where the
// device completes TCP checksums it gets the pseudo-header sum; where it cuts large TCP frames itself (TSO),
// neighbouring segments of one connection are joined into one frame.
// Owns the queue and one reference to every pbuf in it or in the device. Not here: the kick (netstack.c).
// Context: main loop, and inside lwIP (nettx_push).

#include <errno.h>
#include <string.h>

#include "hal.h"
#include "lwip/inet_chksum.h"
#include "lwip/mem.h"
#include "lwip/nd6.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"
#include "netglue.h"
#include "nethooks.h"
#include "netsum.h"

enum { IP4_PROTO_AT = 9, IP4_ADDRS_AT = 12, IP6_NEXT_AT = 6, IP6_ADDRS_AT = 8, TCP_CSUM_AT = 16 };
u16_t nettx_path_mtu(const ip6_addr_t *to, struct netif *n); // nethooks.h
enum { PATH_MIN = 1280 };                                    // every IPv6 path takes that (RFC 8200, section 5)

void (*nettx_forwarded)(void *cookie);
void (*nettx_heard)(netglue_t *g, const struct pbuf *p);

// pbufs that went out as one frame; the device's cookie points to it with bit 0 set.
typedef struct nettx_batch {
    struct pbuf *p[NETDEV_MAX_SEGS];
    uint16_t n;
    struct nettx_batch *next_free;
} nettx_batch_t;

// A frame's TCP segment, found in its first pbuf.
typedef struct {
    uint8_t *ip, *tcp;
    uint16_t hdr_len; // Ethernet, IP and TCP headers
    uint16_t payload;
    bool v6;
} nettx_view_t;

static nettx_batch_t *free_batches;

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static inline void put16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static bool view_tcp(const struct pbuf *p, nettx_view_t *v) {
    uint8_t *eth = p->payload;
    unsigned l3 = SIZEOF_ETH_HDR;
    if (p->len < l3 + IP6_HLEN) { // shorter than any TCP frame of either kind
        return false;
    }
    uint16_t type = get16(eth + 12);
    v->ip = eth + l3;
    unsigned ip_len;
    if (type == ETHTYPE_IP && v->ip[IP4_PROTO_AT] == IP_PROTO_TCP && (get16(v->ip + 6) & 0x3fff) == 0) {
        v->v6 = false;
        ip_len = (v->ip[0] & 15u) * 4;
    } else if (type == ETHTYPE_IPV6 && v->ip[IP6_NEXT_AT] == IP_PROTO_TCP) {
        v->v6 = true;
        ip_len = IP6_HLEN;
    } else {
        return false;
    }
    v->tcp = v->ip + ip_len;
    if (p->len < l3 + ip_len + TCP_HLEN) {
        return false;
    }
    v->hdr_len = (uint16_t)(l3 + ip_len + (v->tcp[12] >> 4) * 4u);
    if (p->len < v->hdr_len) {
        return false;
    }
    v->payload = (uint16_t)(p->tot_len - v->hdr_len);
    return true;
}

// Same connection and same header but for sequence number and PSH.
static bool same_flow(const nettx_view_t *a, const nettx_view_t *b) {
    if (a->v6 != b->v6 || a->hdr_len != b->hdr_len || a->tcp[12] >> 4 != TCP_HLEN / 4) {
        return false;
    }
    bool ip = a->v6 ? memcmp(a->ip, b->ip, 4) == 0 && memcmp(a->ip + 6, b->ip + 6, IP6_HLEN - 6) == 0
                    : memcmp(a->ip, b->ip, 2) == 0 && memcmp(a->ip + 6, b->ip + 6, 4) == 0 &&
                          memcmp(a->ip + IP4_ADDRS_AT, b->ip + IP4_ADDRS_AT, 8) == 0;
    return ip && memcmp(a->ip - SIZEOF_ETH_HDR, b->ip - SIZEOF_ETH_HDR, SIZEOF_ETH_HDR) == 0 &&
           memcmp(a->tcp, b->tcp, 4) == 0 && memcmp(a->tcp + 8, b->tcp + 8, 4) == 0 &&
           (a->tcp[13] | TCP_PSH) == (b->tcp[13] | TCP_PSH) && memcmp(a->tcp + 14, b->tcp + 14, 2) == 0;
}

// Append the bytes of p past skip to the frame. False: too many segments, the frame is as before.
static bool add_segs(netdev_frame_t *f, const struct pbuf *p, unsigned skip) {
    uint16_t nsegs = f->nsegs;
    for (; p != NULL; p = p->next) {
        if (p->len <= skip) {
            skip -= p->len;
            continue;
        }
        if (nsegs == NETDEV_MAX_SEGS) {
            return false;
        }
        f->seg[nsegs++] = (netdev_seg_t){(uint8_t *)p->payload + skip, p->len - skip};
        skip = 0;
    }
    f->nsegs = nsegs;
    return true;
}

static inline struct pbuf *queued(const nettx_t *t, unsigned i) { return t->queue[(t->head + i) % NETTX_QUEUE]; }

// How many queued frames after the first join it in one; adds their payload to f.
static unsigned join(const nettx_t *t, netdev_frame_t *f, const nettx_view_t *first, uint32_t *payload) {
    unsigned n = 1;
    uint16_t last = first->payload;
    nettx_view_t v;
    while (n < t->count && n < NETDEV_MAX_SEGS && last == first->payload && last > 0) {
        struct pbuf *p = queued(t, n);
        if (!view_tcp(p, &v) || v.payload == 0 || v.payload > first->payload || !same_flow(first, &v) ||
            get32(v.tcp + 4) != get32(first->tcp + 4) + *payload ||
            first->hdr_len + *payload + v.payload > UINT16_MAX - 256 || !add_segs(f, p, v.hdr_len)) {
            break;
        }
        first->tcp[13] |= v.tcp[13] & TCP_PSH;
        *payload += v.payload;
        last = v.payload;
        n++;
    }
    return n;
}

// Lengths for the whole of a joined frame; the device makes those of the pieces.
static void set_ip_length(const nettx_view_t *v, uint32_t payload) {
    uint32_t total = v->hdr_len - SIZEOF_ETH_HDR + payload;
    if (v->v6) {
        put16(v->ip + 4, (uint16_t)(total - IP6_HLEN));
        return;
    }
    put16(v->ip + 2, (uint16_t)total);
    memset(v->ip + 10, 0, 2);
    uint16_t sum = (uint16_t)~netsum_sum(v->ip, (int)(v->tcp - v->ip));
    memcpy(v->ip + 10, &sum, sizeof sum);
}

static void ask_checksum(netdev_frame_t *f, const nettx_view_t *v, uint32_t payload) {
    uint32_t tcp_len = (uint32_t)(v->ip - SIZEOF_ETH_HDR + v->hdr_len - v->tcp) + payload;
    uint32_t sum = v->v6 ? netsum_sum(v->ip + IP6_ADDRS_AT, 32) : netsum_sum(v->ip + IP4_ADDRS_AT, 8);
    sum += (uint32_t)IP_PROTO_TCP << 8; // network byte order
    sum += (tcp_len & 0xff) << 8 | tcp_len >> 8;
    sum = (sum & 0xffff) + (sum >> 16);
    uint16_t folded = (uint16_t)((sum & 0xffff) + (sum >> 16));
    memcpy(v->tcp + TCP_CSUM_AT, &folded, sizeof folded);
    f->csum_needed = true;
    f->csum_start = (uint16_t)(v->tcp - (v->ip - SIZEOF_ETH_HDR));
    f->csum_offset = TCP_CSUM_AT;
}

// Fill in what the device shall do for us. Returns how many queued frames f now stands for.
static unsigned offload(netglue_t *g, netdev_frame_t *f) {
    nettx_view_t v;
    if ((g->dev->features & NETDEV_F_TX_CSUM) == 0 || !view_tcp(queued(&g->tx, 0), &v)) {
        return 1;
    }
    unsigned n = 1;
    uint32_t payload = v.payload;
    if (g->dev->features & (v.v6 ? NETDEV_F_TX_TSO6 : NETDEV_F_TX_TSO4)) {
        n = join(&g->tx, f, &v, &payload);
    }
    if (n > 1) {
        set_ip_length(&v, payload);
        f->gso = v.v6 ? NETDEV_GSO_TCP6 : NETDEV_GSO_TCP4;
        f->gso_size = v.payload;
        f->hdr_len = v.hdr_len;
    }
    ask_checksum(f, &v, payload);
    return n;
}

static nettx_batch_t *batch_get(void) {
    nettx_batch_t *b = free_batches;
    if (b == NULL) {
        return mem_malloc(sizeof *b);
    }
    free_batches = b->next_free;
    return b;
}

static void pop(nettx_t *t, unsigned n) {
    t->head = (uint16_t)((t->head + n) % NETTX_QUEUE);
    t->count = (uint16_t)(t->count - n);
}

static void drop_first(netglue_t *g) {
    pbuf_free(queued(&g->tx, 0));
    pop(&g->tx, 1);
}

// Send the first of the queue, with what joins it. 0 or -errno of tx_provide; -ENOMEM: no batch header.
static int send_one(netglue_t *g) {
    nettx_t *t = &g->tx;
    netdev_frame_t f;
    f.nsegs = 0;
    f.csum_start = f.csum_offset = f.gso_size = f.hdr_len = f.headroom = 0;
    f.gso = NETDEV_GSO_NONE;
    f.csum_needed = f.csum_good = false;
    if (!add_segs(&f, queued(t, 0), 0)) {
        struct pbuf *flat = pbuf_clone(PBUF_RAW, PBUF_RAM, queued(t, 0));
        if (flat == NULL) {
            return -ENOMEM;
        }
        pbuf_free(queued(t, 0));
        t->queue[t->head] = flat;
        add_segs(&f, flat, 0);
    }
    unsigned n = offload(g, &f);
    nettx_batch_t *b = NULL;
    f.cookie = queued(t, 0);
    if (n > 1) {
        b = batch_get();
        if (b == NULL) {
            return -ENOMEM;
        }
        for (unsigned i = 0; i < n; i++) {
            b->p[i] = queued(t, i);
        }
        b->n = (uint16_t)n;
        f.cookie = (void *)((uintptr_t)b | 1);
    }
    int r = g->dev->ops->tx_provide(g->dev, &f);
    if (r == 0) {
        pop(t, n);
        t->in_flight++;
        g->kick = true;
    } else if (b != NULL) {
        b->next_free = free_batches;
        free_batches = b;
    }
    return r;
}

void nettx_flush(netglue_t *g) {
    while (g->tx.count > 0) {
        int r = g->dev->dead ? -EIO : send_one(g);
        if (r == -EAGAIN) {
            return;
        }
        if (r != 0) {
            drop_first(g);
        }
    }
}

void nettx_reclaim(netglue_t *g) {
    void *cookie;
    while (g->tx.in_flight > 0 && (cookie = g->dev->ops->tx_return(g->dev)) != NULL) {
        g->tx.in_flight--;
        if (((uintptr_t)cookie & NETTX_FORWARDED) != 0) {
            nettx_forwarded(cookie);
            continue;
        }
        if (((uintptr_t)cookie & 1) == 0) {
            pbuf_free(cookie);
            continue;
        }
        nettx_batch_t *b = (nettx_batch_t *)((uintptr_t)cookie & ~(uintptr_t)1);
        for (unsigned i = 0; i < b->n; i++) {
            pbuf_free(b->p[i]);
        }
        b->next_free = free_batches;
        free_batches = b;
    }
}

int nettx_forward(netglue_t *g, const netdev_frame_t *f) {
    hal_assert(((uintptr_t)f->cookie & 3) == NETTX_FORWARDED);
    int r = g->dev->dead ? -EIO : g->dev->ops->tx_provide(g->dev, f);
    if (r == -EAGAIN) { // what has left meanwhile makes room
        nettx_reclaim(g);
        r = g->dev->ops->tx_provide(g->dev, f);
    }
    if (r == 0) {
        g->tx.in_flight++;
        g->kick = true;
    }
    return r;
}

u16_t nettx_path_mtu(const ip6_addr_t *to, struct netif *n) {
    u16_t mtu = nd6_get_destination_mtu(to, n), least = n != NULL && n->mtu < PATH_MIN ? n->mtu : PATH_MIN;
    return mtu < least ? least : mtu;
}

uint32_t *nettx_segment(struct pbuf *p, struct tcp_hdr *hdr, const struct tcp_pcb *pcb, uint32_t *opts) {
    if (p->tot_len <= PATH_MIN - IP6_HLEN || pcb == NULL || !IP_IS_V6(&pcb->remote_ip)) {
        return opts;
    }
    struct netif *n = ip_route(&pcb->local_ip, &pcb->remote_ip);
    uint16_t mtu = n != NULL ? nettx_path_mtu(ip_2_ip6(&pcb->remote_ip), n) : UINT16_MAX;
    if (p->tot_len + IP6_HLEN > mtu) {
        hdr->chksum = ip_chksum_pseudo(p, IP_PROTO_TCP, p->tot_len, &pcb->local_ip, &pcb->remote_ip);
        ((struct tcp_pcb *)(uintptr_t)pcb)->mss = (u16_t)(mtu - IP6_HLEN - TCP_HLEN); // of what is written from now on
    }
    return opts;
}

err_t nettx_push(struct netif *netif, struct pbuf *p) {
    netglue_t *g = netif->state;
    nettx_t *t = &g->tx;
    if (t->count == NETTX_QUEUE) {
        nettx_reclaim(g);
        nettx_flush(g);
        if (t->count == NETTX_QUEUE) {
            t->refused = true;
            return ERR_MEM;
        }
    }
    if (nettx_heard != NULL) {
        nettx_heard(g, p);
    }
    pbuf_ref(p);
    t->queue[(t->head + t->count) % NETTX_QUEUE] = p;
    t->count++;
    return ERR_OK;
}
