// SPDX-License-Identifier: MIT
// Writes in order for littlefs, which ends each commit of metadata with a flush but relies on it that what it wrote
// before that commit (the data of a file) is not overtaken by it; littlefs asks for that only from 2.9 on. So the last
// write is held back: at a flush, all before it goes to the medium first, then that one, whose checksum makes the
// commit valid. Owns one held write a disk, in the C heap. Context: main loop; waits as blkdev.c does.

#include <stdlib.h>
#include <string.h>

#include "blkdev.h"
#include "blkorder.h"

enum { HELD_MAX = 16 << 10 };

int blkdev_order_release(blkdev_t *b) {
    blkdev_held_t *h = b->held;
    if (h == NULL || h->len == 0) {
        return 0;
    }
    size_t len = h->len;
    h->len = 0;
    return blkdev_transfer(b, BLKDEV_WRITE, h->at, h->data, len);
}

void blkdev_order_overlay(const blkdev_t *b, uint64_t at, void *buf, size_t len) {
    const blkdev_held_t *h = b->held;
    if (h != NULL && h->len > 0 && at < h->at + h->len && h->at < at + len) {
        uint64_t from = at > h->at ? at : h->at;
        uint64_t end = at + len < h->at + h->len ? at + len : h->at + h->len;
        memcpy((uint8_t *)buf + (from - at), h->data + (from - h->at), end - from);
    }
}

int blkdev_write_ordered(blkdev_t *b, uint64_t at, const void *buf, size_t len) {
    int r = blkdev_check(b, at, len, true);
    if (r < 0 || len == 0) {
        return r;
    }
    if (!b->volatile_cache) { // what came back is on the medium: the order is the caller's
        return blkdev_transfer(b, BLKDEV_WRITE, at, (void *)buf, len);
    }
    if (b->held == NULL) {
        b->held = malloc(sizeof(blkdev_held_t) + HELD_MAX);
        if (b->held != NULL) {
            b->held->len = 0;
        }
    }
    if (b->held == NULL || len > HELD_MAX) { // no room to hold it: all before it goes first
        r = blkdev_flush(b);
        return r < 0 ? r : blkdev_transfer(b, BLKDEV_WRITE, at, (void *)buf, len);
    }
    r = blkdev_order_release(b);
    b->held->at = at;
    b->held->len = len;
    memcpy(b->held->data, buf, len);
    return r;
}
