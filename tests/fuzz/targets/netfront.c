// SPDX-License-Identifier: MIT
// A Xen network card whose backend lies in both rings and in XenStore. modules/xen/netfront*.c, xenbus.c, xenring.c

#include <string.h>

#include "backend.h"
#include "netdev.h"

extern const hal_driver_t xen_netfront_driver;
bool fake_event_arm(void);

enum { RING = 256, HEAD = 64, FRAMES = 64, SENT = 256, TX = 12, RX = 8 };

static const backend_t vif = {"vif", 0};
static const char *const names[] = {"state",
                                    "mac",
                                    "mtu",
                                    "feature-sg",
                                    "feature-rx-copy",
                                    "feature-gso-tcpv4",
                                    "feature-gso-tcpv6",
                                    "hotplug-status",
                                    "online",
                                    "backend-id",
                                    "backend",
                                    "feature-ipv6-csum-offload",
                                    "feature-no-csum-offload"};
static netdev_t *nic;
static void *lent[FRAMES];
static unsigned lents;
static bool queued[SENT + 1];
static uint8_t outgoing[70000];
static volatile uint8_t seen;

static uint32_t index_of(const uint8_t *page, unsigned i) {
    uint32_t v;
    memcpy(&v, page + 4 * i, 4);
    return v;
}

// One response: to the request that stands there, or made of the input; and how far the ring is said to be filled.
static void backend_works(bool rx) {
    uint8_t *page = backend_ring(&vif, rx ? "rx-ring-ref" : "tx-ring-ref");
    if (page == NULL) {
        return;
    }
    uint32_t prod = index_of(page, 2);
    uint8_t *entry = page + HEAD + prod % RING * (rx ? RX : TX);
    uint8_t how = in_u8();
    uint16_t response[4] = {0};
    if (rx) {
        memcpy(response, entry, 2); // the request's id
        response[1] = how & 1 ? in_u16() % 64 : 0;
        response[2] = how & 2 ? in_u8() : 0;
        response[3] = how & 4 ? in_u16() : 60;
    } else {
        memcpy(response, entry + 8, 2);
        response[1] = how & 1 ? (uint16_t)(int8_t)in_u8() : 0;
    }
    if ((how & 0x70) == 0x70) {
        response[0] = in_u16();
    }
    if ((how & 0x78) == 0x08) { // anything at all, an extra info perhaps
        for (unsigned i = 0; i < 8; i++) {
            ((uint8_t *)response)[i] = in_u8();
        }
    }
    uint32_t ref;
    memcpy(&ref, entry + 4, 4);
    uint8_t *data = rx ? fake_grant_page(ref, 0, true) : NULL;
    if (data != NULL) {
        memset(data, how, 64);
    }
    memcpy(entry, response, rx ? 8 : 4);
    prod = how & 0x80 && in_one_of(4) ? in_u32() : prod + 1;
    memcpy(page + 8, &prod, 4);
    unsigned port = backend_number(&vif, "event-channel");
    if (port != 0 && port < FAKE_PORTS && fake_xen.port[port].used) {
        fake_port_raise(port);
    }
}

static void stack_takes(void) {
    netdev_frame_t f;
    if (lents == FRAMES || nic->ops->rx_take(nic, &f) != 0) {
        return;
    }
    FUZZ_CHECK(f.nsegs > 0 && f.nsegs <= NETDEV_MAX_SEGS);
    uint32_t total = 0;
    for (unsigned i = 0; i < f.nsegs; i++) {
        const uint8_t *p = f.seg[i].base;
        FUZZ_CHECK(f.seg[i].len > 0 && (uintptr_t)p % HAL_PAGE_SIZE + f.seg[i].len <= HAL_PAGE_SIZE); // no other's page
        seen = (uint8_t)(p[0] + p[f.seg[i].len - 1]);
        total += f.seg[i].len;
    }
    FUZZ_CHECK(total >= 14 && total <= 65535);
    FUZZ_CHECK(!f.csum_needed || f.csum_start == 0 || (uint32_t)f.csum_start + f.csum_offset + 2 <= total);
    lent[lents++] = f.cookie;
}

static void stack_sends(void) {
    uint32_t cookie = 1 + in_below(SENT), at = 0;
    if (queued[cookie]) {
        return;
    }
    netdev_frame_t f = {.nsegs = (uint16_t)(1 + in_below(4)), .cookie = (void *)(uintptr_t)cookie};
    for (unsigned i = 0; i < f.nsegs; i++) {
        f.seg[i] = (netdev_seg_t){outgoing + at, 1 + in_u16() % 9000};
        at += f.seg[i].len;
    }
    queued[cookie] = nic->ops->tx_provide(nic, &f) == 0;
}

static void stack_works(unsigned what) {
    uintptr_t cookie;
    if (what == 0) {
        stack_takes();
    } else if (what == 1 && lents > 0) {
        nic->ops->rx_return(nic, lent[--lents]);
    } else if (what == 2) {
        stack_sends();
    } else if (what == 3 && (cookie = (uintptr_t)nic->ops->tx_return(nic)) != 0) {
        FUZZ_CHECK(cookie <= SENT && queued[cookie]);
        queued[cookie] = false;
    } else if (what == 4) {
        nic->ops->arm(nic);
        nic->ops->kick(nic);
        nic->ops->link_up(nic);
    }
}

void fuzz_one(void) {
    backend_new(&vif);
    backend_set(&vif, true, "mac", "00:16:3e:12:34:56");
    uint8_t features = in_u8();
    backend_set(&vif, false, "feature-rx-copy", "1");
    backend_set(&vif, false, "feature-sg", features & 1 ? "1" : "0");
    backend_set(&vif, false, "feature-gso-tcpv4", features & 2 ? "1" : "0");
    backend_set(&vif, false, "feature-gso-tcpv6", features & 4 ? "1" : "0");
    fake_hal.mem_total = features & 8 ? 8u << 20 : 64u << 20;
    for (unsigned n = features >> 6; n > 0; n--) {
        backend_lies(&vif, names, sizeof names / sizeof names[0]);
    }
    fake_hal.seeded = true;
    if (xen_netfront_driver.probe() < 1 || (nic = netdev_get(0)) == NULL) {
        return;
    }
    while (in_left() > 0) {
        unsigned what = in_below(16);
        if (what < 6) {
            backend_works(what % 2 == 0);
        } else if (what < 12) {
            stack_works(what - 6);
        } else if (what == 12) {
            backend_lies(&vif, names, sizeof names / sizeof names[0]);
        } else if (what == 13) {
            hal_event_run();
        } else if (what == 14) {
            fake_hal.now += (uint64_t)in_u8() << 24;
        } else {
            fake_event_arm();
        }
    }
}
