// SPDX-License-Identifier: MIT
// The server's disk: what it answers with, and what of it is on the medium. A write that came back is in the cache; a
// flush puts on the medium what had come back when it was asked for; requests on their way are done in any order. When
// the power goes, whatever was not flushed is there or is not, down to single sectors (SIM_SECTOR bytes are whole).
// Owns both contents. Not here: the device (device.c). Context: any.

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

enum { SLOTS = 64, WRITES = 4096 };

typedef struct {
    uint64_t at;
    uint32_t len;
    uint8_t *data;
} write_t;

static struct {
    bool used;
    unsigned op;
    uint64_t at;
    uint8_t *base;
    uint32_t len;
    unsigned before; // a flush: so many of unflushed[] had come back
} requests[SLOTS];

static uint8_t cached[SIM_DISK_BYTES], medium[SIM_DISK_BYTES];
static write_t unflushed[WRITES];
static unsigned writes;

static void forget(void) {
    for (unsigned i = 0; i < writes; i++) {
        free(unflushed[i].data);
    }
    writes = 0;
    memset(requests, 0, sizeof requests);
}

void medium_reset(void) {
    forget();
    memset(cached, 0, sizeof cached);
    memset(medium, 0, sizeof medium);
}

uint64_t medium_request(unsigned slot, unsigned op, uint64_t at, void *base, uint32_t len) {
    assert(slot < SLOTS && !requests[slot].used);
    requests[slot].used = true;
    requests[slot].op = op;
    requests[slot].at = at;
    requests[slot].base = base;
    requests[slot].len = len;
    requests[slot].before = writes;
    uint64_t takes = world.plan.disk_latency;
    return 1000 + takes / 4 + below((uint32_t)takes) + (op == SIM_FLUSH ? takes : 0);
}

static void flushed(unsigned upto) {
    for (unsigned i = 0; i < upto; i++) {
        memcpy(medium + unflushed[i].at, unflushed[i].data, unflushed[i].len);
        free(unflushed[i].data);
    }
    writes -= upto;
    memmove(unflushed, unflushed + upto, writes * sizeof unflushed[0]);
    for (unsigned i = 0; i < SLOTS; i++) {
        requests[i].before -= requests[i].before < upto ? requests[i].before : upto;
    }
}

bool medium_is_flush(unsigned slot) { return requests[slot].op == SIM_FLUSH; }

void medium_done(unsigned slot) {
    unsigned op = requests[slot].op;
    uint64_t at = requests[slot].at;
    uint32_t len = requests[slot].len;
    uint8_t *base = requests[slot].base;
    requests[slot].used = false;
    if (op == SIM_READ) {
        memcpy(base, cached + at, len);
    } else if (op == SIM_WRITE) {
        memcpy(cached + at, base, len);
        if (world.plan.write_through) {
            memcpy(medium + at, base, len);
        } else {
            assert(writes < WRITES);
            write_t *w = &unflushed[writes++];
            *w = (write_t){at, len, malloc(len)};
            memcpy(w->data, base, len);
        }
    } else {
        flushed(requests[slot].before);
    }
    static const char *const names[] = {[SIM_READ] = "read", [SIM_WRITE] = "write", [SIM_FLUSH] = "flush"};
    trace(0, names[op], at, op == SIM_FLUSH ? 0 : hash_bytes(base, len));
}

static void survive(const write_t *w, unsigned how) {
    bool all = how == MEDIUM_KEEPS || (how == MEDIUM_MIXES && below(2) == 0);
    for (uint32_t off = 0; off < w->len; off += SIM_SECTOR) {
        if (all || (how == MEDIUM_TEARS && below(2) == 0)) {
            memcpy(medium + w->at + off, w->data + off, SIM_SECTOR);
        }
    }
}

void medium_cut(unsigned how) {
    for (unsigned i = 0; i < writes; i++) {
        survive(&unflushed[i], how);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (requests[i].used && requests[i].op == SIM_WRITE) {
            survive(&(write_t){requests[i].at, requests[i].len, requests[i].base}, how);
        }
    }
    forget();
    memcpy(cached, medium, sizeof cached);
}
