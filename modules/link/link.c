// SPDX-License-Identifier: MIT
// Frames that a router answers in Python: see link.h. Each received frame is looked at in the driver's buffer, and
// copied if it is of a kind that somebody listens to. Its lengths may lie; what is in it is Python's to check.
// Owns the rings. Not here: sockets (modules/lwip), forwarding (modules/packet). Context: main loop.

#include "link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "lwip/pbuf.h"
#include "netevent.h"
#include "netglue.h"
#include "netstack.h"

enum { ETH_LEN = 14, TYPE_AT = 12, IP4_LEN = 20, IP6_LEN = 40, HEAD_MAX = ETH_LEN + 60 + 4 };
enum { TYPE_IP4 = 0x0800, TYPE_ARP = 0x0806, TYPE_IP6 = 0x86dd, UDP = 17, ICMP6 = 58, SERVER_PORT = 67 };
enum { ARP_LEN = 28, ARP_REPLY = 2, HOP_LIMIT = 255, SOLICITATION = 133, ADVERTISEMENT = 136, ROUTER_FLAG = 0x80 };
enum { FRAGMENT_MASK = 0x3fff }; // more fragments, or not the first one

typedef struct {
    uint16_t len[LINK_WAITING_MAX];
    uint8_t frame[LINK_WAITING_MAX][LINK_FRAME_MAX];
} ring_t;

typedef struct {
    ring_t *ring;
    unsigned kinds, head, count;
    uint32_t lost;
} listener_t;

static listener_t listeners[NETDEV_MAX];
static netglue_fate_t (*next)(netglue_t *g, netdev_frame_t *f, uint64_t now_ns);

static inline unsigned get16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }

// ---- what a frame is ------------------------------------------------------------------------------

static bool for_this_machine(const uint8_t *address) {
    ip4_addr_t a;
    memcpy(&a.addr, address, sizeof a.addr);
    for (unsigned i = 0; i < netglue_count(); i++) {
        struct netif *n = &netglue_get(i)->netif;
        if (a.addr == IPADDR_BROADCAST || (ip4_addr_eq(&a, netif_ip4_addr(n)) && !ip4_addr_isany_val(a)) ||
            (!ip4_addr_isany_val(a) && ip4_addr_isbroadcast(&a, n))) {
            return true;
        }
    }
    return false;
}

// h: the first len bytes of a frame.
static unsigned kind_of(const netglue_t *g, const uint8_t *h, size_t len) {
    const uint8_t *ip = h + ETH_LEN;
    unsigned type = len >= ETH_LEN + ARP_LEN ? get16(h + TYPE_AT) : 0;
    if (type == TYPE_ARP) {
        return get16(ip + 6) == ARP_REPLY && memcmp(h, g->netif.hwaddr, NETDEV_MAC_LEN) == 0 ? LINK_ARP : 0;
    }
    if (type == TYPE_IP6) {
        bool icmp = len > ETH_LEN + IP6_LEN && ip[6] == ICMP6 && ip[7] == HOP_LIMIT;
        return icmp && ip[IP6_LEN] == SOLICITATION ? LINK_SOLICIT : 0;
    }
    if (type != TYPE_IP4) {
        return 0;
    }
    size_t head = (ip[0] & 15u) * 4u;
    if (ip[0] >> 4 != 4 || head < IP4_LEN || ip[9] != UDP || len < ETH_LEN + head + 4) {
        return 0;
    }
    bool whole = (get16(ip + 6) & FRAGMENT_MASK) == 0;
    return whole && get16(ip + head + 2) == SERVER_PORT && for_this_machine(ip + 16) ? LINK_DHCP : 0;
}

// ---- receiving ------------------------------------------------------------------------------------

static size_t copy_out(const netdev_frame_t *f, uint8_t *out, size_t most) {
    size_t done = 0;
    for (unsigned i = 0; i < f->nsegs && done < most; i++) {
        size_t n = f->seg[i].len < most - done ? f->seg[i].len : most - done;
        memcpy(out + done, f->seg[i].base, n);
        done += n;
    }
    return done;
}

static void keep(listener_t *l, const netdev_frame_t *f) {
    size_t total = 0;
    for (unsigned i = 0; i < f->nsegs; i++) {
        total += f->seg[i].len;
    }
    if (l->count == LINK_WAITING_MAX || total > LINK_FRAME_MAX) {
        l->lost++;
        return;
    }
    unsigned at = (l->head + l->count++) % LINK_WAITING_MAX;
    l->ring->len[at] = (uint16_t)copy_out(f, l->ring->frame[at], LINK_FRAME_MAX);
    netevent_raise();
}

static netglue_fate_t intercept(netglue_t *g, netdev_frame_t *f, uint64_t now_ns) {
    listener_t *l = &listeners[g - netglue_get(0)];
    if (l->kinds != 0) {
        uint8_t copy[HEAD_MAX];
        const uint8_t *head = f->seg[0].base;
        size_t len = f->seg[0].len;
        if (len < HEAD_MAX && f->nsegs > 1) {
            head = copy;
            len = copy_out(f, copy, sizeof copy);
        }
        unsigned kind = kind_of(g, head, len) & l->kinds;
        if (kind != 0) {
            keep(l, f);
        }
        if (kind == LINK_DHCP) {
            return NETGLUE_DROPPED;
        }
    }
    return next != NULL ? next(g, f, now_ns) : NETGLUE_PASSED;
}

int link_listen(unsigned card, unsigned kinds) {
    netstack_start();
    if (card >= netglue_count()) {
        return -ENODEV;
    }
    listener_t *l = &listeners[card];
    if (l->ring == NULL && (l->ring = malloc(sizeof *l->ring)) == NULL) {
        return -ENOMEM;
    }
    l->kinds = kinds;
    if (netglue_intercept != intercept) {
        next = netglue_intercept;
        netglue_intercept = intercept;
        netglue_forwarder = &next;
    }
    return 0;
}

int link_waiting(unsigned card) {
    const listener_t *l = &listeners[card];
    return l->count > 0 ? l->ring->len[l->head] : -EAGAIN;
}

int link_take(unsigned card, void *out, size_t size) {
    listener_t *l = &listeners[card];
    if (l->count == 0) {
        return -EAGAIN;
    }
    size_t len = l->ring->len[l->head] < size ? l->ring->len[l->head] : size;
    memcpy(out, l->ring->frame[l->head], len);
    l->head = (l->head + 1) % LINK_WAITING_MAX;
    l->count--;
    return (int)len;
}

uint32_t link_lost(unsigned card) { return listeners[card].lost; }

// ---- sending --------------------------------------------------------------------------------------

int link_send(unsigned card, const void *frame, size_t len) {
    netstack_start();
    if (card >= netglue_count()) {
        return -ENODEV;
    }
    if (len < ETH_LEN || len > LINK_FRAME_MAX) {
        return -EMSGSIZE;
    }
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
    if (p == NULL) {
        return -EAGAIN;
    }
    memcpy(p->payload, frame, len);
    err_t err = nettx_push(&netglue_get(card)->netif, p);
    pbuf_free(p);
    return err == ERR_OK ? 0 : -EAGAIN;
}

// lwIP, which is no router, leaves the R flag out. The checksum is in the frame already: no card fills in ICMPv6's.
static err_t output_as_router(struct netif *n, struct pbuf *p) {
    uint8_t *h = p->payload, *icmp = h + ETH_LEN + IP6_LEN;
    if (p->len >= ETH_LEN + IP6_LEN + 24 && get16(h + TYPE_AT) == TYPE_IP6 && h[ETH_LEN + 6] == ICMP6 &&
        icmp[0] == ADVERTISEMENT && (icmp[4] & ROUTER_FLAG) == 0) {
        uint32_t sum = (~get16(icmp + 2) & 0xffffu) + (uint32_t)ROUTER_FLAG * 0x100u;
        sum = ~((sum & 0xffffu) + (sum >> 16));
        icmp[4] |= ROUTER_FLAG;
        icmp[2] = (uint8_t)(sum >> 8);
        icmp[3] = (uint8_t)sum;
    }
    return nettx_push(n, p);
}

int link_router(unsigned card, bool on) {
    netstack_start();
    if (card >= netglue_count()) {
        return -ENODEV;
    }
    netglue_get(card)->netif.linkoutput = on ? output_as_router : nettx_push;
    return 0;
}
