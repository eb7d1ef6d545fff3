// SPDX-License-Identifier: MIT
// The list of disks, and waiting for them: bytes at any place over the verbs of blkdev.h.
// Owns the list, and one sector-sized bounce buffer for what is no whole sector or not aligned. Not here: devices.
// Context: main loop; waits for a request at most TIMEOUT_NS, then the device is dead.

#include "blkdev.h"

#include <errno.h>
#include <string.h>

#include "blkcache.h"
#include "blkorder.h"
#include "hal.h"

enum { IN_FLIGHT = 8 };
#define TIMEOUT_NS 30000000000ull // a host that syncs a slow disk takes seconds
#define SPIN_NS 30000ull          // most answers come sooner than a halt and its wake-up would take

static blkdev_t *blkdev_list[BLKDEV_MAX];
static unsigned blkdev_count;
static uint8_t bounce[BLKDEV_SECTOR_MAX] __attribute__((aligned(BLKDEV_SECTOR_MAX)));

int blkdev_register(blkdev_t *b) {
    if (blkdev_count == BLKDEV_MAX) {
        return -ENOSPC;
    }
    blkdev_list[blkdev_count++] = b;
    return 0;
}

blkdev_t *blkdev_get(unsigned index) { return index < blkdev_count ? blkdev_list[index] : NULL; }

// Wait for the next request to come back. NULL: the device is dead.
static blkdev_req_t *await(blkdev_t *b) {
    uint64_t start = hal_clock_ns();
    for (;;) {
        uint64_t now = hal_clock_ns(); // before the look: in a VM that was paused in between the answer counts
        blkdev_req_t *r = b->ops->reap(b);
        if (r != NULL || b->dead) {
            return r;
        }
        if (now - start > TIMEOUT_NS) {
            b->ops->abandon(b, "no answer within 30 s");
            return NULL;
        }
        if (now - start > SPIN_NS) {
            hal_event_wait(start + TIMEOUT_NS);
        }
    }
}

// Carry out one span as requests of at most max_bytes, several in flight. All are back when it returns.
static int run(blkdev_t *b, blkdev_op_t op, uint64_t at, uint8_t *base, uint64_t len) {
    blkdev_req_t req[IN_FLIGHT], *idle[IN_FLIGHT];
    unsigned free_count = 0, out = 0;
    int err = 0;
    for (unsigned i = 0; i < IN_FLIGHT && i < b->depth; i++) {
        idle[free_count++] = &req[i];
    }
    bool more = true;
    while (more || out > 0) {
        while (more && err == 0 && free_count > 0) {
            uint32_t n = len < b->max_bytes ? (uint32_t)len : b->max_bytes;
            blkdev_req_t *r = idle[free_count - 1];
            *r = (blkdev_req_t){.op = (uint8_t)op, .sector = at / BLKDEV_SECTOR, .len = n, .base = base};
            int e = b->ops->submit(b, r);
            if (e == -EAGAIN && out > 0) {
                break;
            }
            if (e < 0) {
                err = e == -EAGAIN ? -EIO : e;
                break;
            }
            free_count--;
            out++;
            at += n;
            base = base != NULL ? base + n : NULL;
            len -= n;
            more = len > 0;
        }
        more = more && err == 0;
        if (out > 0) {
            b->ops->kick(b);
            blkdev_req_t *r = await(b);
            if (r == NULL) {
                return -EIO;
            }
            err = err == 0 ? r->status : err;
            idle[free_count++] = r;
            out--;
            more = more && err == 0;
        }
    }
    b->stats.errors += err != 0;
    return err;
}

// Part of a sector, or a buffer the device cannot take: by way of the bounce buffer.
static int bounced(blkdev_t *b, blkdev_op_t op, uint64_t at, uint8_t *buf, uint32_t len) {
    uint64_t sector = at & ~(uint64_t)(b->sector_size - 1);
    uint32_t skip = (uint32_t)(at - sector);
    if (op == BLKDEV_READ || len < b->sector_size) {
        int r = run(b, BLKDEV_READ, sector, bounce, b->sector_size);
        if (r < 0) {
            return r;
        }
    }
    if (op == BLKDEV_READ) {
        memcpy(buf, bounce + skip, len);
        return 0;
    }
    memcpy(bounce + skip, buf, len);
    return run(b, BLKDEV_WRITE, sector, bounce, b->sector_size);
}

// Whole sectors straight from or into the buffer as far as they go, and what is left by bouncing.
static int through(blkdev_t *b, blkdev_op_t op, uint64_t at, uint8_t *p, size_t len) {
    int r = 0;
    while (r == 0 && len > 0) {
        uint32_t in_sector = (uint32_t)(at & (b->sector_size - 1));
        bool direct = in_sector == 0 && len >= b->sector_size && ((uintptr_t)p & (b->align - 1u)) == 0;
        size_t n = direct ? len & ~(size_t)(b->sector_size - 1) : b->sector_size - in_sector;
        n = n < len ? n : len;
        r = direct ? run(b, op, at, p, n) : bounced(b, op, at, p, (uint32_t)n);
        at += n;
        p += n;
        len -= n;
    }
    return r;
}

// A read inside one line: the line is read as a whole, and kept.
static int read_line(blkdev_t *b, uint64_t at, void *buf, size_t len) {
    uint64_t start = at & ~(uint64_t)(BLKDEV_LINE - 1);
    if (blkdev_cache_get(b, at, buf, len)) {
        return 0;
    }
    uint8_t *line = start + BLKDEV_LINE <= b->sectors * BLKDEV_SECTOR ? blkdev_cache_claim(b, at) : NULL;
    if (line == NULL) {
        return through(b, BLKDEV_READ, at, buf, len);
    }
    int r = through(b, BLKDEV_READ, start, line, BLKDEV_LINE);
    if (r == 0) {
        memcpy(buf, line + (at - start), len);
        blkdev_cache_keep(b, at);
    }
    return r;
}

int blkdev_check(const blkdev_t *b, uint64_t at, uint64_t len, bool writing) {
    uint64_t size = b->sectors * BLKDEV_SECTOR;
    return b->dead ? -EIO : at > size || len > size - at ? -EINVAL : writing && b->readonly ? -EROFS : 0;
}

int blkdev_transfer(blkdev_t *b, blkdev_op_t op, uint64_t at, void *buf, size_t len) {
    int r = blkdev_check(b, at, len, op == BLKDEV_WRITE);
    b->stats.reads += op == BLKDEV_READ;
    b->stats.writes += op == BLKDEV_WRITE;
    *(op == BLKDEV_READ ? &b->stats.read_bytes : &b->stats.written_bytes) += len;
    if (r < 0 || len == 0) {
        return r;
    }
    if (b->memory) {
        return through(b, op, at, buf, len);
    }
    if (op == BLKDEV_READ) {
        r = at % BLKDEV_LINE + len <= BLKDEV_LINE ? read_line(b, at, buf, len) : through(b, op, at, buf, len);
        blkdev_order_overlay(b, at, buf, len);
        return r;
    }
    r = blkdev_order_release(b);
    b->unflushed = true;
    r = r < 0 ? r : through(b, op, at, buf, len);
    blkdev_cache_update(b, at, r == 0 ? buf : NULL, len);
    return r;
}

static int flush_device(blkdev_t *b) {
    b->stats.flushes++;
    b->unflushed = false;
    return b->volatile_cache ? run(b, BLKDEV_FLUSH, 0, NULL, 0) : 0;
}

int blkdev_flush(blkdev_t *b) {
    int r = b->dead ? -EIO : 0;
    if (r == 0 && b->held != NULL && b->held->len > 0) {
        r = b->unflushed ? flush_device(b) : 0;
        r = r < 0 ? r : blkdev_order_release(b);
    }
    return r < 0 ? r : flush_device(b);
}

int blkdev_discard(blkdev_t *b, uint64_t at, uint64_t len) {
    int r = blkdev_check(b, at, len, true);
    r = r < 0 ? r : blkdev_order_release(b);
    if (r < 0 || !b->can_discard) {
        return r;
    }
    uint64_t mask = b->sector_size - 1, first = (at + mask) & ~mask, end = (at + len) & ~mask;
    blkdev_cache_update(b, at, NULL, len);
    return end > first ? run(b, BLKDEV_DISCARD, first, NULL, end - first) : 0;
}
