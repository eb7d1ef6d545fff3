// SPDX-License-Identifier: MIT
// A disk in RAM, sparse: a page exists from the first byte written into it. Implements blkdev.h with requests that
// are done when they are submitted. Owns the pages, in the C heap: they outlive a soft reset. Context: main loop.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blkdev.h"

enum { PAGE = 4096 };

static struct {
    blkdev_t dev; // first: the verbs get its address
    uint8_t **page;
    blkdev_req_t *done;
} ram;

// The piece of a request that lies in one page.
static int carry_out(blkdev_op_t op, uint64_t at, uint8_t *base, uint32_t n) {
    uint8_t **page = &ram.page[at / PAGE];
    if (op == BLKDEV_DISCARD) {
        if (n == PAGE) {
            free(*page);
            *page = NULL;
        }
        return 0;
    }
    if (op == BLKDEV_READ) {
        *page == NULL ? (void)memset(base, 0, n) : (void)memcpy(base, *page + at % PAGE, n);
        return 0;
    }
    if (*page == NULL) {
        *page = calloc(1, PAGE);
        if (*page == NULL) {
            return -ENOSPC;
        }
    }
    memcpy(*page + at % PAGE, base, n);
    return 0;
}

static int ram_submit(blkdev_t *b, blkdev_req_t *r) {
    uint64_t at = r->sector * BLKDEV_SECTOR;
    uint8_t *base = r->base;
    if (ram.done != NULL) {
        return -EAGAIN;
    }
    r->status = 0;
    for (uint32_t left = r->len; left > 0 && r->status == 0;) {
        uint32_t n = PAGE - (uint32_t)(at % PAGE);
        n = n < left ? n : left;
        r->status = carry_out((blkdev_op_t)r->op, at, base, n);
        at += n;
        base = base != NULL ? base + n : NULL;
        left -= n;
    }
    ram.done = r;
    return 0;
}

static void ram_kick(blkdev_t *b) {}

static blkdev_req_t *ram_reap(blkdev_t *b) {
    blkdev_req_t *r = ram.done;
    ram.done = NULL;
    return r;
}

static void ram_abandon(blkdev_t *b, const char *why) { b->dead = true; }

static const blkdev_ops_t ram_ops = {
    .submit = ram_submit,
    .kick = ram_kick,
    .reap = ram_reap,
    .abandon = ram_abandon,
};

blkdev_t *blkdev_ram(uint64_t bytes) {
    if (ram.page == NULL) {
        ram.page = calloc(bytes / PAGE, sizeof(ram.page[0]));
        if (ram.page == NULL) {
            return NULL;
        }
        ram.dev = (blkdev_t){
            .ops = &ram_ops,
            .driver = "ram",
            .sectors = bytes / PAGE * (PAGE / BLKDEV_SECTOR),
            .sector_size = BLKDEV_SECTOR,
            .max_bytes = 1u << 30,
            .align = 1,
            .depth = 1,
            .can_discard = true,
            .memory = true,
        };
    }
    return &ram.dev;
}
