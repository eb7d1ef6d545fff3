// SPDX-License-Identifier: MIT
// A network card whose device lies anywhere: features, configuration, capabilities, ring, headers. What the driver
// says of a frame must be readable to the last byte. modules/virtio/virtio_net.c and the transports

#include "device.h"
#include "netdev.h"
#include "world.h"

extern const hal_driver_t virtio_net_driver;

enum { FRAMES = 64, SENT = 512 };

static netdev_t *nic;
static void *lent[FRAMES];
static unsigned lents;
static uint8_t outgoing[9000];
static bool queued[SENT + 1];
static volatile uint8_t seen;

static void stack_takes(void) {
    netdev_frame_t f;
    if (lents == FRAMES || nic->ops->rx_take(nic, &f) != 0) {
        return;
    }
    FUZZ_CHECK(f.nsegs > 0 && f.nsegs <= NETDEV_MAX_SEGS);
    uint32_t total = 0;
    for (unsigned i = 0; i < f.nsegs; i++) {
        const uint8_t *p = f.seg[i].base;
        FUZZ_CHECK(f.seg[i].len > 0);
        seen = (uint8_t)(p[0] + p[f.seg[i].len - 1]);
        total += f.seg[i].len;
    }
    seen = ((const uint8_t *)f.seg[0].base)[-(int)f.headroom];
    FUZZ_CHECK(total >= 14 && total <= 65535);
    FUZZ_CHECK(!f.csum_needed || (uint32_t)f.csum_start + f.csum_offset + 2 <= total);
    FUZZ_CHECK((f.gso != NETDEV_GSO_NONE) == (f.gso_size > 0));
    lent[lents++] = f.cookie;
}

static void stack_sends(void) {
    uint32_t cookie = 1 + in_below(SENT), at = 0;
    if (queued[cookie]) {
        return;
    }
    netdev_frame_t f = {.nsegs = (uint16_t)(1 + in_below(4)), .cookie = (void *)(uintptr_t)cookie};
    for (unsigned i = 0; i < f.nsegs; i++) {
        f.seg[i] = (netdev_seg_t){outgoing + at, in_below(2000)};
        at += f.seg[i].len;
    }
    queued[cookie] = nic->ops->tx_provide(nic, &f) == 0;
}

static void stack_frees(void) {
    uintptr_t cookie;
    while ((cookie = (uintptr_t)nic->ops->tx_return(nic)) != 0) {
        FUZZ_CHECK(cookie <= SENT && queued[cookie]);
        queued[cookie] = false;
    }
}

void fuzz_one(void) {
    fake_device_t *d = device_new(VIRTIO_ID_NET);
    if (virtio_net_driver.probe() != 1) {
        return;
    }
    nic = netdev_get(0);
    FUZZ_CHECK(nic->mtu >= 68 && (nic->mac[0] & 1) == 0);
    while (in_left() > 0) {
        unsigned what = in_below(8);
        if (what < 3) {
            device_works(d, what % 2);
        } else if (what == 3) {
            stack_takes();
        } else if (what == 4 && lents > 0) {
            nic->ops->rx_return(nic, lent[--lents]);
        } else if (what == 5) {
            stack_sends();
        } else if (what == 6) {
            stack_frees();
        } else {
            nic->ops->arm(nic);
            nic->ops->kick(nic);
            nic->ops->link_up(nic);
        }
    }
}
