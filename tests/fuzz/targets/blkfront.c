// SPDX-License-Identifier: MIT
// A Xen disk whose backend lies in its ring and in XenStore, while blkdev.c waits for it. modules/xen/blkfront*.c,
// xenbus.c, xenring.c, modules/blkdev

#include <string.h>

#include "backend.h"
#include "blkdev.h"

extern const hal_driver_t xen_blkfront_driver;

enum { RING = 32, HEAD = 64, ENTRY = 112, MOST = 50000 };

static const backend_t vbd = {"vbd", 51712};
static const char *const names[] = {"state",
                                    "sectors",
                                    "sector-size",
                                    "info",
                                    "mode",
                                    "feature-flush-cache",
                                    "feature-barrier",
                                    "feature-discard",
                                    "feature-persistent",
                                    "online",
                                    "backend-id",
                                    "physical-sector-size",
                                    "discard-granularity",
                                    "backend"};

static void backend_works(void) {
    uint8_t *page = backend_ring(&vbd, "ring-ref");
    if (page == NULL) {
        return;
    }
    uint32_t asked, prod;
    memcpy(&asked, page, 4);
    memcpy(&prod, page + 8, 4);
    uint8_t how = in_u8(), *entry = page + HEAD + prod % RING * ENTRY, response[16] = {0};
    if (asked == prod && (how & 1)) {
        return; // an honest one has nothing to answer
    }
    memcpy(response, entry + 8, 8); // the request's id, operation, status
    response[8] = entry[0];
    if ((how & 0x0e) == 0x0e) {
        response[in_below(16)] = in_u8();
    }
    if ((how & 0x70) == 0x70) {
        response[10] = response[11] = in_u8();
    }
    memcpy(entry, response, sizeof response);
    prod = how & 0x80 && in_one_of(8) ? in_u32() : prod + 1;
    memcpy(page + 8, &prod, 4);
    unsigned port = backend_number(&vbd, "event-channel");
    if (port != 0 && port < FAKE_PORTS && fake_xen.port[port].used) {
        fake_port_raise(port);
    }
}

static void meanwhile(void) {
    if (in_left() == 0) {
        fake_hal.now += 1000000000; // it says nothing more: the driver gives up
    } else if (in_one_of(16)) {
        backend_lies(&vbd, names, sizeof names / sizeof names[0]);
    } else {
        backend_works();
    }
}

void fuzz_one(void) {
    backend_new(&vbd);
    uint8_t features = in_u8();
    backend_set(&vbd, false, "sectors", "2048");
    backend_set(&vbd, false, "sector-size", features & 1 ? "4096" : "512");
    backend_set(&vbd, false, "info", "0");
    backend_set(&vbd, false, "mode", features & 2 ? "r" : "w");
    backend_set(&vbd, false, "feature-persistent", features & 4 ? "0" : "1");
    backend_set(&vbd, false, features & 8 ? "feature-barrier" : "feature-flush-cache", "1");
    backend_set(&vbd, false, "feature-discard", features & 16 ? "0" : "1");
    for (unsigned n = features >> 6; n > 0; n--) {
        backend_lies(&vbd, names, sizeof names / sizeof names[0]);
    }
    if (xen_blkfront_driver.probe() < 1) {
        return;
    }
    blkdev_t *b = blkdev_get(0);
    uint32_t unit = b->sector_size;
    FUZZ_CHECK(unit >= BLKDEV_SECTOR && unit <= BLKDEV_SECTOR_MAX && (unit & (unit - 1)) == 0);
    FUZZ_CHECK(b->max_bytes >= unit && b->max_bytes % unit == 0 && b->depth >= 1);
    fake_hal.on_clock = meanwhile;
    while (in_left() > 0) {
        unsigned what = in_below(7);
        uint64_t at = in_one_of(8) ? in_u64() >> 8 : in_u16();
        uint32_t len = in_u16() % MOST;
        uint8_t *buf = in_space(len);
        if (what < 3) {
            blkdev_transfer(b, BLKDEV_READ, at, buf, len);
        } else if (what < 5) {
            blkdev_transfer(b, BLKDEV_WRITE, at, buf, len);
        } else if (what == 5) {
            blkdev_flush(b);
        } else {
            blkdev_discard(b, at, len);
        }
        hal_event_run();
    }
}
