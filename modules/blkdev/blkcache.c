// SPDX-License-Identifier: MIT
// What was read from disks lately, in lines of 4 KiB: file systems read the same few places again and again, and each
// request costs the host two changes of thread. Write-through: nothing lies here that is not on the device, so that
// flush and order of writes are not its business. Owns the lines, in the C heap. Context: main loop; never waits.

#include "blkcache.h"

#include <stdlib.h>
#include <string.h>

#include "hal.h"

enum { LINES_MAX = 64, LINES_MIN = 8, RAM_PER_LINE = 1 << 20 };

static struct {
    blkdev_t *dev; // NULL: empty
    uint64_t line;
    uint8_t *data;
} cache[LINES_MAX];
static unsigned lines; // 0 before first use

static unsigned place(uint64_t line) { return (unsigned)((line * 0x9e3779b97f4a7c15ull >> 40) % lines); }

static void equip(void) {
    size_t n = hal_mem_total() / RAM_PER_LINE;
    lines = n < LINES_MIN ? LINES_MIN : n > LINES_MAX ? LINES_MAX : (unsigned)n;
}

bool blkdev_cache_get(blkdev_t *b, uint64_t at, void *buf, size_t len) {
    uint64_t line = at / BLKDEV_LINE;
    size_t skip = at % BLKDEV_LINE;
    hal_assert(skip + len <= BLKDEV_LINE);
    if (lines == 0 || cache[place(line)].dev != b || cache[place(line)].line != line) {
        return false;
    }
    memcpy(buf, cache[place(line)].data + skip, len);
    return true;
}

uint8_t *blkdev_cache_claim(blkdev_t *b, uint64_t at) {
    if (lines == 0) {
        equip();
    }
    unsigned i = place(at / BLKDEV_LINE);
    cache[i].dev = NULL; // until blkdev_cache_keep()
    if (cache[i].data == NULL) {
        cache[i].data = malloc(BLKDEV_LINE);
    }
    (void)b;
    return cache[i].data;
}

void blkdev_cache_keep(blkdev_t *b, uint64_t at) {
    unsigned i = place(at / BLKDEV_LINE);
    cache[i].dev = b;
    cache[i].line = at / BLKDEV_LINE;
}

void blkdev_cache_update(blkdev_t *b, uint64_t at, const void *buf, size_t len) {
    for (unsigned i = 0; i < lines; i++) {
        uint64_t start = cache[i].line * BLKDEV_LINE;
        if (cache[i].dev != b || at >= start + BLKDEV_LINE || start >= at + len) {
            continue;
        }
        if (buf == NULL) {
            cache[i].dev = NULL;
            continue;
        }
        uint64_t from = at > start ? at : start;
        uint64_t end = at + len < start + BLKDEV_LINE ? at + len : start + BLKDEV_LINE;
        memcpy(cache[i].data + (from - start), (const uint8_t *)buf + (from - at), end - from);
    }
}
