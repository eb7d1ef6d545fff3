// SPDX-License-Identifier: MIT
// What blkdev.c and blkorder.c owe each other.

#ifndef FLOE_BLKORDER_H
#define FLOE_BLKORDER_H

#include "blkdev.h"

typedef struct blkdev_held {
    uint64_t at;
    size_t len; // 0: nothing is held
    uint8_t data[];
} blkdev_held_t;

// Whether these bytes are inside the disk and it may be written. 0 or -errno.
int blkdev_check(const blkdev_t *b, uint64_t at, uint64_t len, bool writing);
// Write what is held. 0 or -errno.
int blkdev_order_release(blkdev_t *b);
// What is held as if it were on the disk: into a buffer that was read from `at`.
void blkdev_order_overlay(const blkdev_t *b, uint64_t at, void *buf, size_t len);

#endif
