// SPDX-License-Identifier: MIT
// A disk whose device lies, while blkdev.c waits for it. modules/virtio/virtio_blk.c, modules/blkdev

#include "blkdev.h"
#include "device.h"
#include "world.h"

extern const hal_driver_t virtio_blk_driver;

enum { MOST = 20000 };

static fake_device_t *dev;

static void meanwhile(void) {
    if (in_left() == 0) {
        fake_hal.now += 1000000000; // it says nothing more: the driver gives up
    } else {
        device_works(dev, 0);
    }
}

void fuzz_one(void) {
    dev = device_new(VIRTIO_ID_BLOCK);
    dev->config[6] = dev->config[7] = 0; // no disk has 2^57 bytes
    if (virtio_blk_driver.probe() != 1) {
        return;
    }
    blkdev_t *b = blkdev_get(0);
    uint32_t unit = b->sector_size;
    FUZZ_CHECK(unit >= BLKDEV_SECTOR && unit <= BLKDEV_SECTOR_MAX && (unit & (unit - 1)) == 0);
    FUZZ_CHECK(b->max_bytes >= unit && b->max_bytes % unit == 0 && b->depth >= 1);
    fake_hal.on_clock = meanwhile;
    while (in_left() > 0) {
        unsigned what = in_below(8);
        uint64_t at = in_one_of(4) ? in_u64() >> 8 : in_u16();
        uint32_t len = in_u16() % MOST;
        uint8_t *buf = in_space(len);
        if (what < 3) {
            blkdev_transfer(b, BLKDEV_READ, at, buf, len);
        } else if (what < 5) {
            blkdev_transfer(b, BLKDEV_WRITE, at, buf, len);
        } else if (what == 5) {
            blkdev_flush(b);
        } else if (what == 6) {
            blkdev_discard(b, at, len);
        } else {
            blkdev_write_ordered(b, at, buf, len);
        }
    }
}
