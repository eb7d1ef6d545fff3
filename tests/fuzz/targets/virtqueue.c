// SPDX-License-Identifier: MIT
// A split ring whose device writes what it likes: used index, ids, lengths. modules/virtio/virtqueue.c

#include "fake_device.h"
#include "world.h"

enum { COOKIES = 64, HELD = 64 };

static uint8_t memory[COOKIES];
static virtq_t q;
static fake_queue_t dev;
static uint32_t given[COOKIES + 1]; // what the device may write there, plus one; 0: the driver has it

static void provide(void) {
    virtq_buf_t bufs[4];
    uint32_t n = 1 + in_below(4), readable = in_below(n + 1), writable = 0;
    uintptr_t cookie = 1 + in_below(COOKIES);
    for (unsigned i = 0; i < n; i++) {
        bufs[i] = (virtq_buf_t){memory, in_below(COOKIES)};
        writable += i >= readable ? bufs[i].len : 0;
    }
    if (given[cookie] == 0 && virtq_provide(&q, bufs, readable, n - readable, (void *)cookie) == 0) {
        given[cookie] = writable + 1;
    }
}

static void take(void) {
    void *cookie = NULL;
    uint32_t len = 0;
    int r = virtq_take(&q, &cookie, &len);
    FUZZ_CHECK(r == 0 || r == -EAGAIN || (r == -EIO && q.why != NULL));
    if (r == 0) {
        FUZZ_CHECK((uintptr_t)cookie >= 1 && (uintptr_t)cookie <= COOKIES);
        FUZZ_CHECK(given[(uintptr_t)cookie] > len);
        given[(uintptr_t)cookie] = 0;
    }
}

static void device(unsigned what) {
    static fake_chain_t held[HELD];
    static unsigned holds;
    if (what == 0 && holds < HELD && fake_next_chain(&dev, &held[holds])) {
        holds++;
    } else if (what == 1 && holds > 0) {
        unsigned k = in_below(holds);
        fake_used(&dev, held[k].head, in_below((uint32_t)fake_chain_writable(&held[k]) + 1));
        held[k] = held[--holds];
    } else if (what == 2) {
        uint32_t id = in_one_of(2) ? in_u32() : in_u8();
        fake_used(&dev, id, in_one_of(2) ? in_u32() : in_u8());
    } else if (what == 3) {
        fake_set_used_idx(&dev, in_u16());
    }
}

void fuzz_one(void) {
    uint32_t size = 1u << in_below(7);
    FUZZ_CHECK(virtq_init(&q, 0, size, in_u8() & 1) == 0);
    dev =
        (fake_queue_t){.size = size, .desc = (uintptr_t)q.desc, .avail = (uintptr_t)q.avail, .used = (uintptr_t)q.used};
    while (in_left() > 0) {
        unsigned what = in_below(12);
        if (what < 3) {
            provide();
        } else if (what < 6) {
            take();
        } else if (what == 6) {
            virtq_arm(&q, (uint16_t)(1 + in_below(3)));
        } else if (what == 7) {
            virtq_kick_needed(&q);
        } else {
            device(what - 8);
        }
        unsigned out = 0;
        for (unsigned i = 1; i <= COOKIES; i++) {
            out += given[i] != 0;
        }
        FUZZ_CHECK(q.outstanding == out && q.free_count <= size);
    }
}
