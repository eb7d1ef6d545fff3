// SPDX-License-Identifier: MIT
// The joint between netdev.h and lwIP: interfaces, and the way in. A received frame is never copied: lwIP
// gets custom pbufs that point into the driver's buffers, and the last one freed returns them.
// Owns the interfaces and the pbuf headers. Not here: the way out (nettx.c). Context: main loop.

#include "netglue.h"

#include <errno.h>
#include <string.h>

#include "hal.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "netsum.h"

enum {
    RX_HELD_DEFAULT = 32, // where the driver does not tell how many buffers it has
    KEEP_COPY_MAX = 512,  // a packet up to this size is not worth a whole buffer
    FIRST_MIN = 54,       // lwIP looks at Ethernet, ARP, IPv4 and IPv6 headers before it looks at lengths
    ETH_MIN = 60,         // shortest frame on a wire
};

#define GEN_ALL \
    (NETIF_CHECKSUM_GEN_IP | NETIF_CHECKSUM_GEN_UDP | NETIF_CHECKSUM_GEN_TCP | NETIF_CHECKSUM_GEN_ICMP | \
     NETIF_CHECKSUM_GEN_ICMP6)
#define CHECK_TRANSPORT (NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_TCP)
#define CHECK_ALL (NETIF_CHECKSUM_CHECK_IP | CHECK_TRANSPORT | NETIF_CHECKSUM_CHECK_ICMP | NETIF_CHECKSUM_CHECK_ICMP6)

// One segment of a received frame. The first one of a frame also stands for the frame.
typedef struct rxbuf {
    struct pbuf_custom pc; // first: lwIP's pbuf pointer is ours
    struct rxbuf *frame;
    netglue_t *glue;
    void *cookie;   // frame only
    uint16_t parts; // frame only: pbufs that lwIP still has
    struct rxbuf *next_free;
} rxbuf_t;

const uint8_t *netglue_sender;
netglue_fate_t (*netglue_intercept)(netglue_t *g, netdev_frame_t *f, uint64_t now_ns);
netglue_fate_t (**netglue_forwarder)(netglue_t *g, netdev_frame_t *f, uint64_t now_ns) = &netglue_intercept;
static netglue_t glues[NETDEV_MAX];
static unsigned glue_count;
static rxbuf_t *free_list; // grows to the most that was ever in use

static rxbuf_t *rxbuf_get(void) {
    rxbuf_t *b = free_list;
    if (b != NULL) {
        free_list = b->next_free;
        return b;
    }
    return mem_malloc(sizeof *b);
}

static void rxbuf_put(rxbuf_t *b) {
    b->next_free = free_list;
    free_list = b;
}

// lwIP freed one pbuf of a frame.
static void rxbuf_freed(struct pbuf *p) {
    rxbuf_t *b = (rxbuf_t *)(void *)p;
    rxbuf_t *frame = b->frame;
    if (b != frame) {
        rxbuf_put(b);
    }
    if (--frame->parts > 0) {
        return;
    }
    netglue_t *g = frame->glue;
    g->rx_held--;
    g->kick = true;
    g->dev->ops->rx_return(g->dev, frame->cookie);
    rxbuf_put(frame);
}

// Wrap a frame. NULL: no memory, the caller still owns the frame.
static struct pbuf *rx_wrap(netglue_t *g, const netdev_frame_t *f) {
    struct pbuf *head = NULL;
    uint32_t total = 0;
    rxbuf_t *parts[NETDEV_MAX_SEGS];
    hal_assert(f->nsegs > 0 && f->nsegs <= NETDEV_MAX_SEGS);
    for (unsigned i = 0; i < f->nsegs; i++) {
        total += f->seg[i].len;
        parts[i] = rxbuf_get();
        if (parts[i] == NULL || total > UINT16_MAX) {
            for (unsigned j = 0; j <= i; j++) {
                if (parts[j] != NULL) {
                    rxbuf_put(parts[j]);
                }
            }
            return NULL;
        }
    }
    for (unsigned i = f->nsegs; i-- > 0;) {
        rxbuf_t *b = parts[i];
        b->frame = parts[0];
        b->pc.custom_free_function = rxbuf_freed;
        uint16_t len = (uint16_t)f->seg[i].len;
        struct pbuf *p = pbuf_alloced_custom(PBUF_RAW, len, PBUF_REF, &b->pc, f->seg[i].base, len);
        if (head != NULL) {
            p->next = head;
            p->tot_len = (u16_t)(p->tot_len + head->tot_len);
        }
        head = p;
    }
    parts[0]->glue = g;
    parts[0]->cookie = f->cookie;
    parts[0]->parts = f->nsegs;
    g->rx_held++;
    return head;
}

// Copy the frame and return its buffer at once: for when too many are held, and for headers in pieces or cut
// short. Padded with zeros to the length that a wire would have given it.
static struct pbuf *rx_copy(netglue_t *g, const netdev_frame_t *f) {
    uint32_t total = 0;
    for (unsigned i = 0; i < f->nsegs; i++) {
        total += f->seg[i].len;
    }
    if (total > UINT16_MAX) {
        return NULL;
    }
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)LWIP_MAX(total, (uint32_t)ETH_MIN), PBUF_RAM);
    if (p == NULL) {
        return NULL;
    }
    uint8_t *at = p->payload;
    for (unsigned i = 0; i < f->nsegs; i++) {
        memcpy(at, f->seg[i].base, f->seg[i].len);
        at += f->seg[i].len;
    }
    if (total < ETH_MIN) {
        memset(at, 0, ETH_MIN - total);
    }
    g->dev->ops->rx_return(g->dev, f->cookie);
    return p;
}

// Three quarters of the buffers, so that the card goes on receiving; they are in a card's ring, or come back soon.
static unsigned kept_max(const netglue_t *g) {
    unsigned all = g->dev->rx_pieces != 0 ? g->dev->rx_pieces : RX_HELD_DEFAULT;
    return all - all / 4;
}

// Whether frames that are on their way are to leave before more are taken: what waits in the card's ring, and before it
// on the host, costs nothing, and is not lost before there is no room there either.
static bool is_full(netglue_t *g, uint64_t now) {
    netglue_t *each;
    unsigned most = kept_max(g);
    bool full = g->rx_kept > 0 && g->rx_kept + (unsigned)NETDEV_MAX_SEGS > most; // of a frame to come nothing is known
    for (unsigned i = 0; full && (each = netglue_get(i)) != NULL; i++) {
        nettx_reclaim(each);
    }
    full = full && g->rx_kept + (unsigned)NETDEV_MAX_SEGS > most;
    g->rx_full_since = !full ? 0 : g->rx_full_since == 0 ? now : g->rx_full_since;
    g->rx_full = full && now - g->rx_full_since < NETGLUE_STUCK_NS;
    return g->rx_full;
}

bool netglue_rx(netglue_t *g, unsigned budget) {
    netdev_frame_t f;
    uint64_t now = netglue_intercept != NULL ? hal_clock_ns() : 0; // of the batch
    for (; budget > 0; budget--) {
        if (g->dev->dead || is_full(g, now) || g->dev->ops->rx_take(g->dev, &f) != 0) {
            return false;
        }
        g->kick = true;
        netglue_fate_t fate = netglue_intercept != NULL ? netglue_intercept(g, &f, now) : NETGLUE_PASSED;
        if (fate != NETGLUE_PASSED) {
            if (fate == NETGLUE_DROPPED) {
                g->dev->ops->rx_return(g->dev, f.cookie);
            }
            continue;
        }
        bool wrap = g->rx_held < g->rx_held_max && f.seg[0].len >= FIRST_MIN;
        struct pbuf *p = wrap ? rx_wrap(g, &f) : rx_copy(g, &f);
        if (p == NULL) {
            g->dev->stats.rx_dropped++;
            g->dev->ops->rx_return(g->dev, f.cookie);
            continue;
        }
        g->netif.chksum_flags = g->gen_flags | (f.csum_good ? CHECK_ALL & ~CHECK_TRANSPORT : CHECK_ALL);
        netglue_sender = (const uint8_t *)p->payload + NETDEV_MAC_LEN;
        if (g->netif.input(p, &g->netif) != ERR_OK) {
            pbuf_free(p);
        }
        netglue_sender = NULL;
    }
    return true;
}

bool netglue_keep_frame(netglue_t *g, unsigned pieces) {
    bool ok = g->rx_kept == 0 || g->rx_kept + pieces <= kept_max(g); // one frame may always be
    g->rx_kept += ok ? (uint16_t)pieces : 0;
    return ok;
}

void netglue_give_back(netglue_t *g, void *cookie, unsigned pieces) {
    hal_assert(g->rx_kept >= pieces);
    g->rx_kept -= (uint16_t)pieces;
    g->kick = true;
    g->dev->ops->rx_return(g->dev, cookie);
}

struct pbuf *netglue_keep(struct pbuf *p) {
    if ((p->flags & PBUF_FLAG_IS_CUSTOM) == 0) {
        return p;
    }
    netglue_t *g = ((rxbuf_t *)(void *)p)->frame->glue;
    if (p->tot_len > KEEP_COPY_MAX && g->rx_held < g->rx_held_max) {
        return p;
    }
    struct pbuf *copy = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
    if (copy == NULL) {
        return p;
    }
    pbuf_free(p);
    return copy;
}

bool netglue_check_link(netglue_t *g) {
    bool up = !g->dev->dead && (g->dev->ops->link_up == NULL || g->dev->ops->link_up(g->dev));
    if (up == (netif_is_link_up(&g->netif) != 0)) {
        return false;
    }
    if (up) {
        netif_set_link_up(&g->netif);
    } else {
        netif_set_link_down(&g->netif);
    }
    return true;
}

static err_t netif_start(struct netif *n) {
    netglue_t *g = n->state;
    n->name[0] = 'e';
    n->name[1] = 'n';
    n->mtu = g->dev->mtu;
    n->hwaddr_len = NETDEV_MAC_LEN;
    memcpy(n->hwaddr, g->dev->mac, NETDEV_MAC_LEN);
    n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    n->output = etharp_output;
    n->output_ip6 = ethip6_output;
    n->linkoutput = nettx_push;
    n->chksum_flags = g->gen_flags | CHECK_ALL;
    return ERR_OK;
}

// In line: an image without VLANs has one of the two calls.
static inline __attribute__((always_inline)) netglue_t *attach(netdev_t *dev) {
    netglue_t *g = &glues[glue_count++];
    dev->stack = g;
    g->dev = dev;
    g->rx_held_max = dev->rx_buffers != 0 ? dev->rx_buffers / 2 : RX_HELD_DEFAULT;
    g->gen_flags = GEN_ALL;
    if (dev->features & NETDEV_F_TX_CSUM) {
        g->gen_flags &= (uint16_t)~NETIF_CHECKSUM_GEN_TCP;
    } else {
        netsum_offloaded = false;
    }
    hal_assert(netif_add_noaddr(&g->netif, g, netif_start, netif_input) != NULL);
    netif_create_ip6_linklocal_address(&g->netif, 1);
    netglue_check_link(g);
    return g;
}

void netglue_init(void) {
    struct netif *lo;
    NETIF_FOREACH(lo) { // only loopback exists yet: what never leaves the machine needs no checksums
        NETIF_SET_CHECKSUM_CTRL(lo, NETIF_CHECKSUM_DISABLE_ALL);
    }
    netsum_offloaded = true;
    netdev_t *dev;
    while ((dev = netdev_get(glue_count)) != NULL) {
        attach(dev);
    }
}

netglue_t *netglue_attach(netdev_t *dev) {
    hal_assert(netdev_register(dev) == 0);
    return attach(dev);
}

unsigned netglue_count(void) { return glue_count; }

netglue_t *netglue_get(unsigned index) { return index < glue_count ? &glues[index] : NULL; }
