// SPDX-License-Identifier: MIT
// The read cache between blkdev_transfer() and the drivers (blkcache.c).

#ifndef FLOE_BLKCACHE_H
#define FLOE_BLKCACHE_H

#include "blkdev.h"

enum { BLKDEV_LINE = 4096 };

// Bytes inside one line. False: they are not here.
bool blkdev_cache_get(blkdev_t *b, uint64_t at, void *buf, size_t len);
// Room for the line that holds `at`, empty until blkdev_cache_keep() says it was filled. NULL: no memory.
uint8_t *blkdev_cache_claim(blkdev_t *b, uint64_t at);
void blkdev_cache_keep(blkdev_t *b, uint64_t at);
// These bytes were written: buf NULL: with what is unknown.
void blkdev_cache_update(blkdev_t *b, uint64_t at, const void *buf, size_t len);

#endif
