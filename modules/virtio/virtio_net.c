// SPDX-License-Identifier: MIT
// Network card, virtio 1.2 clause 5.1: bringing it up and the verbs of netdev.h. Zero copy both ways.
// Owns: the receive buffers (lent to device and stack in turn) and a header for each frame in flight.
// Not here: rings (virtqueue.c), control queue and multiqueue (not negotiated), protocols (the stack).
// Context: main loop only; no verb waits. The device lied: one log line, netdev.dead, -EIO from then on.

#include <string.h>

#include "netdev.h"
#include "virtio.h"

enum { // 5.1.3
    F_CSUM_BIT = 0,
    F_GUEST_CSUM_BIT = 1,
    F_MTU_BIT = 3,
    F_MAC_BIT = 5,
    F_GUEST_TSO4_BIT = 7,
    F_GUEST_TSO6_BIT = 8,
    F_HOST_TSO4_BIT = 11,
    F_HOST_TSO6_BIT = 12,
    F_MRG_RXBUF_BIT = 15,
    F_STATUS_BIT = 16,
};
#define WANTED \
    (BIT64(F_CSUM_BIT) | BIT64(F_GUEST_CSUM_BIT) | BIT64(F_MTU_BIT) | BIT64(F_MAC_BIT) | BIT64(F_HOST_TSO4_BIT) | \
     BIT64(F_HOST_TSO6_BIT) | BIT64(F_MRG_RXBUF_BIT) | BIT64(F_STATUS_BIT) | BIT64(VIRTIO_F_EVENT_IDX_BIT))
#define GUEST_TSO (BIT64(F_GUEST_TSO4_BIT) | BIT64(F_GUEST_TSO6_BIT))
#define HOST_TSO (BIT64(F_HOST_TSO4_BIT) | BIT64(F_HOST_TSO6_BIT))

enum { CONFIG_MAC = 0, CONFIG_STATUS = 6, CONFIG_MTU = 10, STATUS_LINK_UP = 1 }; // 5.1.4
enum { HDR_F_NEEDS_CSUM = 1, HDR_F_DATA_VALID = 2 };                             // 5.1.6
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_ECN = 0x80 };
enum { RX_QUEUE = 0, TX_QUEUE = 1, TX_SIZE = 256 };
enum { ETH_HEADER = 14, VLAN_TAG = 4, MTU_DEFAULT = 1500, MTU_MIN = 68, FRAME_MAX = 65535 };

// Receive buffers. With room to spare they are large enough that a 64 KiB frame (GUEST_TSO) fits
// in NETDEV_MAX_SEGS of them; else they hold one ordinary frame each.
enum { RX_SMALL = 2048, RX_SMALL_COUNT = 128, RX_LARGE = 4096, RX_LARGE_COUNT = 256 };
#define RX_LARGE_FROM (24u << 20) // RAM
_Static_assert((FRAME_MAX + ETH_HEADER + 12) / RX_LARGE < (int)NETDEV_MAX_SEGS, "a GUEST_TSO frame fits");

#define RX_PARTIAL_NS 1000000000ull // all buffers of a frame must have come by then

typedef struct { // 5.1.6
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
} vnet_hdr_t;
_Static_assert(sizeof(vnet_hdr_t) == 12, "virtio_net_hdr with VERSION_1");
enum { LEGACY_HDR = 10 }; // 5.1.6.1: without VERSION_1 and MRG_RXBUF the last field is not there

typedef struct vnet_rxbuf {
    uint8_t *base;
    uint32_t len;            // bytes the device wrote
    struct vnet_rxbuf *next; // the frame's next one
    bool lent;               // first of a frame the stack has
} vnet_rxbuf_t;

typedef struct vnet_txslot {
    vnet_hdr_t hdr; // read by the device
    void *cookie;
    struct vnet_txslot *next_free;
} vnet_txslot_t;

typedef struct {
    netdev_t dev; // first: the verbs get its address
    virtio_dev_t *v;
    virtq_t rxq, txq;
    vnet_rxbuf_t *rxbuf;
    uint32_t hdr_len, rx_size, rx_count;
    vnet_rxbuf_t *first, *last; // frame in assembly
    uint16_t have, need;
    uint64_t partial_since;
    vnet_txslot_t *tx_free;
    bool mergeable, link, tx_refused; // tx_refused: the stack met a full queue and waits for room
} vnet_t;

static vnet_t *vnet_of(netdev_t *dev) { return (vnet_t *)dev; }

static int vnet_die(vnet_t *n, const char *why) {
    n->dev.dead = true;
    return virtio_fail(n->v, why, -EIO);
}

static void rx_post(vnet_t *n, vnet_rxbuf_t *b) {
    b->next = NULL;
    virtq_buf_t seg = {b->base, n->rx_size};
    int r = virtq_provide(&n->rxq, &seg, 0, 1, b);
    hal_assert(r == 0 || r == -EIO); // there is a descriptor for each buffer
}

// Give back a whole chain.
static void rx_recycle(vnet_t *n, vnet_rxbuf_t *b) {
    while (b != NULL) {
        vnet_rxbuf_t *next = b->next;
        rx_post(n, b);
        b = next;
    }
}

// Move one buffer from the device into the frame in assembly. 0, -EAGAIN or -EIO.
static int rx_gather(vnet_t *n) {
    void *cookie;
    uint32_t len;
    int r = virtq_take(&n->rxq, &cookie, &len);
    if (r == -EAGAIN) {
        bool late = n->have < n->need && hal_clock_ns() - n->partial_since > RX_PARTIAL_NS;
        return late ? vnet_die(n, "received frame never completed") : r;
    }
    if (r < 0) {
        return vnet_die(n, n->rxq.why);
    }
    vnet_rxbuf_t *b = cookie;
    b->len = len;
    if (n->have < n->need) {
        n->last->next = b;
        n->last = b;
        n->have++;
        return 0;
    }
    if (len < n->hdr_len) {
        return vnet_die(n, "received frame shorter than its header");
    }
    const volatile vnet_hdr_t *hdr = (const volatile vnet_hdr_t *)b->base;
    n->need = n->mergeable ? hdr->num_buffers : 1; // not negotiated: QEMU leaves the field alone
    if (n->need == 0 || n->need > NETDEV_MAX_SEGS || n->need > n->rx_count) {
        n->need = 0;
        return vnet_die(n, "received frame in an impossible number of buffers");
    }
    n->first = n->last = b;
    n->have = 1;
    if (n->need > 1) {
        n->partial_since = hal_clock_ns();
    }
    return 0;
}

// What the header says of the frame (5.1.6.4) that is left to whoever sends it on: as far as it was negotiated.
static void rx_offloads(const vnet_t *n, const volatile vnet_hdr_t *hdr, uint32_t total, netdev_frame_t *out) {
    bool offered = (n->dev.features & NETDEV_F_RX_CSUM) != 0;
    uint8_t flags = hdr->flags, type = hdr->gso_type & (uint8_t)~GSO_ECN;
    uint16_t start = hdr->csum_start, offset = hdr->csum_offset, size = hdr->gso_size;
    out->csum_start = out->csum_offset = out->gso_size = out->hdr_len = 0;
    out->gso = NETDEV_GSO_NONE;
    out->csum_good = offered && (flags & (HDR_F_NEEDS_CSUM | HDR_F_DATA_VALID)) != 0;
    out->csum_needed = offered && (flags & HDR_F_NEEDS_CSUM) != 0 && (uint32_t)start + offset + 2 <= total;
    if (!out->csum_needed) {
        return;
    }
    out->csum_start = start;
    out->csum_offset = offset;
    bool tcp4 = type == GSO_TCPV4 && (n->v->features & BIT64(F_GUEST_TSO4_BIT)) != 0;
    bool tcp6 = type == GSO_TCPV6 && (n->v->features & BIT64(F_GUEST_TSO6_BIT)) != 0;
    if (size > 0 && (tcp4 || tcp6)) {
        out->gso = tcp4 ? NETDEV_GSO_TCP4 : NETDEV_GSO_TCP6;
        out->gso_size = size;
    }
}

// Describe the assembled frame. False: no frame at all (empty or too long), its buffers went back.
static bool rx_describe(vnet_t *n, netdev_frame_t *out) {
    vnet_rxbuf_t *b = n->first;
    const volatile vnet_hdr_t *hdr = (const volatile vnet_hdr_t *)b->base;
    uint32_t total = 0;
    out->nsegs = 0;
    out->headroom = b->len > n->hdr_len ? (uint16_t)n->hdr_len : 0; // where the header was
    for (uint32_t skip = n->hdr_len; b != NULL; b = b->next, skip = 0) {
        if (b->len > skip) {
            out->seg[out->nsegs++] = (netdev_seg_t){b->base + skip, b->len - skip};
            total += b->len - skip;
        }
    }
    if (total < ETH_HEADER || total > FRAME_MAX) {
        n->dev.stats.rx_dropped++;
        rx_recycle(n, n->first);
        return false;
    }
    rx_offloads(n, hdr, total, out);
    out->cookie = n->first;
    n->first->lent = true;
    n->dev.stats.rx_frames++;
    n->dev.stats.rx_bytes += total;
    return true;
}

static int vnet_rx_take(netdev_t *dev, netdev_frame_t *out) {
    vnet_t *n = vnet_of(dev);
    if (dev->dead) {
        return -EIO;
    }
    for (unsigned budget = n->rx_count; budget > 0; budget--) { // dropped frames do not hold the loop
        int r = rx_gather(n);
        if (r < 0) {
            return r;
        }
        if (n->have == n->need && rx_describe(n, out)) {
            return 0;
        }
    }
    return -EAGAIN;
}

static void vnet_rx_return(netdev_t *dev, void *cookie) {
    vnet_t *n = vnet_of(dev);
    vnet_rxbuf_t *b = cookie;
    hal_assert(b >= n->rxbuf && b < n->rxbuf + n->rx_count && b->lent);
    b->lent = false;
    rx_recycle(n, b);
}

// 5.1.6.2: fill in the header. False: the frame cannot be sent as it is.
static bool tx_header(const vnet_t *n, const netdev_frame_t *f, uint32_t total, vnet_hdr_t *hdr) {
    static const struct {
        uint8_t type;
        uint32_t feature;
    } gso[] = {{GSO_NONE, 0}, {GSO_TCPV4, NETDEV_F_TX_TSO4}, {GSO_TCPV6, NETDEV_F_TX_TSO6}};
    hal_assert(f->gso < HAL_ARRAY_LEN(gso) && (n->dev.features & gso[f->gso].feature) == gso[f->gso].feature);
    hal_assert(!f->csum_needed || (n->dev.features & NETDEV_F_TX_CSUM) != 0);
    *hdr = (vnet_hdr_t){.gso_type = gso[f->gso].type};
    if (f->csum_needed) {
        hdr->flags = HDR_F_NEEDS_CSUM;
        hdr->csum_start = f->csum_start;
        hdr->csum_offset = f->csum_offset;
        if ((uint32_t)f->csum_start + f->csum_offset + 2 > total) {
            return false;
        }
    }
    if (f->gso == NETDEV_GSO_NONE) {
        return total >= ETH_HEADER && total <= (uint32_t)n->dev.mtu + ETH_HEADER + VLAN_TAG;
    }
    hdr->gso_size = f->gso_size;
    hdr->hdr_len = f->hdr_len;
    return f->csum_needed && f->gso_size > 0 && f->hdr_len < total && total <= FRAME_MAX + ETH_HEADER;
}

static int vnet_tx_provide(netdev_t *dev, const netdev_frame_t *f) {
    vnet_t *n = vnet_of(dev);
    if (dev->dead) {
        return -EIO;
    }
    if (f->nsegs == 0 || f->nsegs > NETDEV_MAX_SEGS) {
        return -EMSGSIZE;
    }
    hal_assert(f->cookie != NULL);
    virtq_buf_t buf[1 + NETDEV_MAX_SEGS];
    bool ahead = f->headroom >= n->hdr_len && !n->v->legacy; // one descriptor less; 2.7.4.3: not in a legacy one
    uint32_t total = 0;
    for (unsigned i = 0; i < f->nsegs; i++) {
        buf[1 + i] = (virtq_buf_t){f->seg[i].base, f->seg[i].len};
        total += f->seg[i].len;
    }
    vnet_hdr_t hdr;
    if (!tx_header(n, f, total, &hdr)) {
        return -EMSGSIZE;
    }
    vnet_txslot_t *slot = n->tx_free; // as many slots as descriptors, so there is one where there is room
    int r = -EAGAIN;
    if (slot != NULL) {
        if (ahead) {
            buf[1] = (virtq_buf_t){(uint8_t *)buf[1].base - n->hdr_len, buf[1].len + n->hdr_len};
            memcpy(buf[1].base, &hdr, n->hdr_len);
        } else {
            slot->hdr = hdr;
            buf[0] = (virtq_buf_t){&slot->hdr, n->hdr_len};
        }
        r = virtq_provide(&n->txq, buf + ahead, !ahead + (unsigned)f->nsegs, 0, slot);
    }
    if (r == -EAGAIN) {
        n->tx_refused = true;
        dev->stats.tx_full++;
    }
    if (r < 0) {
        return r;
    }
    n->tx_free = slot->next_free;
    slot->cookie = f->cookie;
    dev->stats.tx_frames++;
    dev->stats.tx_bytes += total;
    return 0;
}

static void *vnet_tx_return(netdev_t *dev) {
    vnet_t *n = vnet_of(dev);
    void *taken;
    uint32_t len;
    if (dev->dead) {
        return NULL;
    }
    int r = virtq_take(&n->txq, &taken, &len);
    if (r < 0) {
        if (r == -EIO) {
            vnet_die(n, n->txq.why);
        }
        return NULL;
    }
    vnet_txslot_t *slot = taken;
    slot->next_free = n->tx_free;
    n->tx_free = slot;
    n->tx_refused = false;
    return slot->cookie;
}

static void vnet_kick(netdev_t *dev) {
    vnet_t *n = vnet_of(dev);
    dev->stats.kicks += virtio_kick(n->v, &n->rxq);
    dev->stats.kicks += virtio_kick(n->v, &n->txq);
}

// Without STATUS the link is always up (5.1.4.2).
static int read_link(vnet_t *n) {
    uint16_t status = STATUS_LINK_UP;
    const virtio_field_t field = {CONFIG_STATUS, 2, 1, &status};
    int r = 0;
    if ((n->v->features & BIT64(F_STATUS_BIT)) != 0) {
        r = virtio_config_read(n->v, &field, 1);
    }
    n->link = r == 0 && (status & STATUS_LINK_UP) != 0;
    return r;
}

// Frames that have left interrupt only while the stack waits for room; otherwise it collects them when it runs next.
static bool vnet_arm(netdev_t *dev) {
    vnet_t *n = vnet_of(dev);
    int r = dev->dead ? -EIO : virtio_irq_service(n->v);
    if (r > 0) {
        r = read_link(n);
    }
    if (r < 0) {
        dev->dead = true;
        return false;
    }
    bool work = !dev->rx_paused && virtq_arm(&n->rxq, 1);
    if ((n->tx_refused || dev->tx_wanted) && n->txq.outstanding > 0) {
        work |= virtq_arm(&n->txq, (uint16_t)((n->txq.outstanding + 1) / 2));
    }
    return work;
}

static bool vnet_link_up(netdev_t *dev) { return !dev->dead && vnet_of(dev)->link; }

static const netdev_ops_t vnet_ops = {
    .rx_take = vnet_rx_take,
    .rx_return = vnet_rx_return,
    .tx_provide = vnet_tx_provide,
    .tx_return = vnet_tx_return,
    .kick = vnet_kick,
    .arm = vnet_arm,
    .link_up = vnet_link_up,
};

// Choose from what is offered, with the dependencies of 5.1.3.1.
static int negotiate(vnet_t *n) {
    uint64_t offered = 0;
    int r = virtio_reset(n->v, &offered);
    if (r < 0) {
        return r;
    }
    uint64_t f = offered & (WANTED | GUEST_TSO);
    bool large = hal_mem_total() >= RX_LARGE_FROM;
    n->mergeable = (f & BIT64(F_MRG_RXBUF_BIT)) != 0;
    n->hdr_len = n->v->legacy && !n->mergeable ? LEGACY_HDR : sizeof(vnet_hdr_t);
    n->rx_size = large ? RX_LARGE : RX_SMALL;
    n->rx_count = large ? RX_LARGE_COUNT : RX_SMALL_COUNT;
    if (!large || !n->mergeable || (f & BIT64(F_GUEST_CSUM_BIT)) == 0) {
        f &= ~GUEST_TSO;
    }
    if ((f & BIT64(F_CSUM_BIT)) == 0) {
        f &= ~HOST_TSO;
    }
    static const struct {
        uint8_t bit;
        uint8_t feature;
    } map[] = {{F_CSUM_BIT, NETDEV_F_TX_CSUM},
               {F_HOST_TSO4_BIT, NETDEV_F_TX_TSO4},
               {F_HOST_TSO6_BIT, NETDEV_F_TX_TSO6},
               {F_GUEST_CSUM_BIT, NETDEV_F_RX_CSUM}};
    for (unsigned i = 0; i < HAL_ARRAY_LEN(map); i++) {
        n->dev.features |= (f & BIT64(map[i].bit)) != 0 ? map[i].feature : 0;
    }
    return virtio_negotiate(n->v, f);
}

// MAC address, MTU and link from the configuration space.
static int identify(vnet_t *n) {
    virtio_field_t field[2];
    unsigned count = 0;
    n->dev.mtu = MTU_DEFAULT;
    if ((n->v->features & BIT64(F_MAC_BIT)) != 0) {
        field[count++] = (virtio_field_t){CONFIG_MAC, 1, NETDEV_MAC_LEN, n->dev.mac};
    } else {
        hal_entropy_get(n->dev.mac, NETDEV_MAC_LEN);
        n->dev.mac[0] = (uint8_t)((n->dev.mac[0] & ~1) | 2); // individual, locally administered
    }
    if ((n->v->features & BIT64(F_MTU_BIT)) != 0) {
        field[count++] = (virtio_field_t){CONFIG_MTU, 2, 1, &n->dev.mtu};
    }
    int r = count > 0 ? virtio_config_read(n->v, field, count) : 0;
    if (r < 0) {
        return r;
    }
    static const uint8_t zero[NETDEV_MAC_LEN];
    if ((n->dev.mac[0] & 1) != 0 || memcmp(n->dev.mac, zero, NETDEV_MAC_LEN) == 0) {
        return virtio_fail(n->v, "MAC address is a group's or zero", -EINVAL);
    }
    if (n->dev.mtu < MTU_MIN) {
        return virtio_fail(n->v, "MTU below 68", -EINVAL);
    }
    uint32_t room = n->rx_size * (n->mergeable ? NETDEV_MAX_SEGS : 1);
    room = (room < FRAME_MAX ? room : FRAME_MAX) - n->hdr_len - ETH_HEADER - VLAN_TAG;
    n->dev.mtu = n->dev.mtu < room ? n->dev.mtu : (uint16_t)room;
    return read_link(n);
}

// Buffers that the largest frame takes.
static uint32_t rx_each(const vnet_t *n) {
    bool tso = (n->v->features & GUEST_TSO) != 0;
    uint32_t frame = n->hdr_len + (tso ? FRAME_MAX : (uint32_t)n->dev.mtu + ETH_HEADER + VLAN_TAG);
    return (frame + n->rx_size - 1) / n->rx_size;
}

// Queues and buffers. Memory is asked for once and stays for the life of the VM.
static int equip(vnet_t *n) {
    int r = virtio_queue_open(n->v, RX_QUEUE, (uint16_t)n->rx_count, &n->rxq);
    if (r < 0 || (r = virtio_queue_open(n->v, TX_QUEUE, TX_SIZE, &n->txq)) < 0) {
        return r;
    }
    n->rx_count = n->rxq.size;
    n->dev.rx_pieces = (uint16_t)n->rx_count;
    n->dev.rx_buffers = netdev_rx_share(n->rx_count, rx_each(n));
    n->rxbuf = hal_mem_dma(n->rx_count * sizeof(vnet_rxbuf_t), _Alignof(vnet_rxbuf_t));
    uint8_t *bytes = hal_mem_dma((size_t)n->rx_count * n->rx_size, HAL_PAGE_SIZE);
    vnet_txslot_t *slots = hal_mem_dma(n->txq.size * sizeof(vnet_txslot_t), _Alignof(vnet_txslot_t));
    if (n->rxbuf == NULL || bytes == NULL || slots == NULL) {
        return virtio_fail(n->v, "no memory for packet buffers", -ENOMEM);
    }
    for (uint32_t i = 0; i < n->rx_count; i++) {
        n->rxbuf[i].base = bytes + (size_t)i * n->rx_size;
        rx_post(n, &n->rxbuf[i]);
    }
    for (uint32_t i = 0; i < n->txq.size; i++) {
        slots[i].next_free = n->tx_free;
        n->tx_free = &slots[i];
    }
    return 0;
}

static int vnet_open(virtio_dev_t *v) {
    vnet_t *n = hal_mem_dma(sizeof(vnet_t), _Alignof(vnet_t));
    if (n == NULL) {
        return -ENOMEM;
    }
    n->v = v;
    n->dev.ops = &vnet_ops;
    n->dev.driver = "virtio-net";
    int r = negotiate(n);
    if (r < 0 || (r = identify(n)) < 0 || (r = equip(n)) < 0) {
        return r;
    }
    virtio_start(v);
    vnet_kick(&n->dev);
    r = netdev_register(&n->dev);
    return r < 0 ? virtio_fail(v, "too many network devices", r) : 0;
}

static int vnet_probe(void) {
    int up = 0, err = 0;
    for (virtio_dev_t *v = NULL; (v = virtio_next(VIRTIO_ID_NET, v)) != NULL;) {
        int r = vnet_open(v);
        up += r == 0;
        err = err == 0 ? r : err;
    }
    return err < 0 ? err : up;
}

const hal_driver_t virtio_net_driver = {"virtio-net", vnet_probe};
