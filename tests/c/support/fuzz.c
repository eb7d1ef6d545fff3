// SPDX-License-Identifier: MIT
// Random lives of a queue and of a network card: a device that is honest
// most of the time and lies now and then, and a stack that takes, holds and returns as it likes.
// Checked besides the sanitizers: while no lie was told every byte arrives and no buffer is lost; after a
// lie that must be seen the queue is dead.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_device.h"
#include "fake_hal.h"
#include "fuzz.h"
#include "netdev.h"
#include "virtio.h"

extern const hal_driver_t virtio_net_driver;

enum { STEPS = 400 };
#define CHECK(e) FUZZ_CHECK(e)

static uint32_t pick(uint32_t below) { return fuzz_pick(below); }

// ---- a queue ---------------------------------------------------------------------------------------

enum { QUEUE_MAX = 64 };

static void queue_life(void) {
    static uint8_t memory[QUEUE_MAX];
    virtq_t q;
    uint32_t size = 1u << pick(7);
    bool event_idx = pick(2), lied = false;
    CHECK(virtq_init(&q, 0, size, event_idx) == 0);
    fake_queue_t dev = {
        .size = size, .desc = (uintptr_t)q.desc, .avail = (uintptr_t)q.avail, .used = (uintptr_t)q.used};
    fake_chain_t held[QUEUE_MAX];
    unsigned holds = 0, out = 0;
    bool with_driver[QUEUE_MAX + 1];
    memset(with_driver, 1, sizeof with_driver);
    for (int step = 0; step < STEPS; step++) {
        unsigned what = pick(10);
        uintptr_t cookie = 1 + pick(QUEUE_MAX);
        if (what < 4 && with_driver[cookie]) {
            virtq_buf_t bufs[4];
            unsigned n = 1 + pick(4), readable = pick(n + 1);
            for (unsigned i = 0; i < n; i++) {
                bufs[i] = (virtq_buf_t){memory, pick(QUEUE_MAX)};
            }
            int r = virtq_provide(&q, bufs, readable, n - readable, (void *)cookie);
            CHECK(lied || r == 0 || (r == -EAGAIN && out > 0) || (r == -EMSGSIZE && n > size));
            with_driver[cookie] = r != 0;
            out += r == 0;
        } else if (what < 6 && !lied && fake_next_chain(&dev, &held[holds])) {
            holds++;
        } else if (what < 8 && holds > 0 && !lied) {
            unsigned k = pick(holds);
            fake_used(&dev, held[k].head, pick((uint32_t)fake_chain_writable(&held[k]) + 1));
            held[k] = held[--holds];
        } else if (what == 8 && pick(8) == 0) {
            lied = true;
            if (pick(2)) {
                fake_used(&dev, pick(2) ? pick(2 * size) : (uint32_t)rand(), pick(2) ? pick(100) : UINT32_MAX);
            } else {
                fake_set_used_idx(&dev, (uint16_t)pick(65536));
            }
        } else {
            void *taken = NULL;
            uint32_t len = 0;
            int r = virtq_take(&q, &taken, &len);
            CHECK(lied || r == 0 || r == -EAGAIN);
            if (r == 0) {
                CHECK((uintptr_t)taken >= 1 && (uintptr_t)taken <= QUEUE_MAX && !with_driver[(uintptr_t)taken]);
                with_driver[(uintptr_t)taken] = true;
                out--;
            }
            CHECK(q.why == NULL || r == -EIO);
        }
        CHECK(q.outstanding == out && q.free_count <= size);
        pick(3) == 0 ? (void)virtq_arm(&q, (uint16_t)(1 + pick(3))) : (void)virtq_kick_needed(&q);
    }
}

int fuzz_virtqueue(unsigned long seed, unsigned long count) { return fuzz_lives(queue_life, seed, count); }

// ---- a network card --------------------------------------------------------------------------------

enum { FRAMES = 256, FRAME_BUFFERS = 20 };

typedef struct {
    fake_queue_t *rx, *tx;
    netdev_t *nic;
    bool lied;
    uint32_t sum_sent[FRAMES], len_sent[FRAMES]; // frames on their way to the driver, in order
    unsigned first, last;
    void *lent[FRAMES];
    unsigned lents;
    uintptr_t tx_next;
    unsigned tx_out;
} world_t;

// Deliver a frame of 1..k buffers as an honest device does; with a lie in header, id or length now and then.
static void device_receive(world_t *w) {
    fake_chain_t c[FRAME_BUFFERS];
    unsigned n = 1 + (pick(4) == 0 ? pick(FRAME_BUFFERS) : 0), got = 0;
    while (got < n && fake_next_chain(w->rx, &c[got])) {
        got++;
    }
    if (got == 0) {
        return;
    }
    uint8_t data[65536];
    uint32_t s = 0, total = 0;
    bool lie = pick(60) == 0;
    w->lied |= lie;
    for (unsigned i = 0; i < got; i++) {
        uint32_t room = (uint32_t)fake_chain_writable(&c[i]);
        uint32_t len = i + 1 < got ? room : 12 + 14 + pick(room - 25);
        memset(data, (int)pick(256), len);
        if (i == 0) {
            uint16_t buffers = (uint16_t)(lie && pick(2) ? pick(65536) : got);
            memset(data, 0, 12);
            data[0] = lie ? (uint8_t)pick(256) : 0;
            memcpy(data + 10, &buffers, 2);
        }
        fake_chain_write(&c[i], data, len);
        s = fuzz_sum(s, data + (i == 0 ? 12 : 0), len - (i == 0 ? 12 : 0));
        total += len - (i == 0 ? 12 : 0);
        uint32_t id = c[i].head, said = len;
        if (lie) {
            id = pick(3) == 0 ? pick(512) : id;
            said = pick(3) == 0 ? pick(1u << pick(31)) : said;
        }
        fake_used(w->rx, id, said);
    }
    if (total <= 65535) {
        w->sum_sent[w->last % FRAMES] = s;
        w->len_sent[w->last++ % FRAMES] = total;
    }
}

static void stack_take(world_t *w) {
    netdev_frame_t f;
    int r = w->nic->ops->rx_take(w->nic, &f);
    CHECK(r == 0 || r == -EAGAIN || r == -EIO);
    CHECK(r != -EIO || (w->lied && w->nic->dead));
    if (r != 0) {
        CHECK(w->lied || w->first == w->last);
        return;
    }
    uint32_t s = 0, total = 0;
    for (unsigned i = 0; i < f.nsegs; i++) {
        s = fuzz_sum(s, f.seg[i].base, f.seg[i].len); // touches every byte: ASan checks the bounds
        total += f.seg[i].len;
    }
    CHECK(w->lied ||
          (w->first != w->last && s == w->sum_sent[w->first % FRAMES] && total == w->len_sent[w->first % FRAMES]));
    w->first++;
    w->lent[w->lents++] = f.cookie;
}

static void stack_send(world_t *w) {
    static uint8_t memory[4096];
    netdev_frame_t f = {.nsegs = (uint16_t)(1 + pick(NETDEV_MAX_SEGS)), .cookie = (void *)++w->tx_next};
    for (unsigned i = 0; i < f.nsegs; i++) {
        f.seg[i] = (netdev_seg_t){memory, 14 + pick(50)};
    }
    int r = w->nic->ops->tx_provide(w->nic, &f);
    CHECK(r == 0 || r == -EAGAIN || (r == -EIO && w->lied));
    w->tx_out += r == 0;
    while (pick(3) == 0 && w->nic->ops->tx_return(w->nic) != NULL) {
        CHECK(w->tx_out-- > 0);
    }
}

static void device_send(world_t *w) {
    fake_chain_t c;
    for (unsigned n = pick(6); n > 0 && fake_next_chain(w->tx, &c); n--) {
        bool lie = pick(200) == 0;
        w->lied |= lie;
        fake_used(w->tx, lie ? pick(1000) : c.head, lie && pick(2) ? 1 : 0);
    }
}

static void net_life(void) {
    fake_hal.cmdline = "virtio_mmio.device=512@0xfeb00000:5";
    fake_hal.mem_total = pick(2) ? 8u << 20 : 64u << 20;
    fake_device_t *d = fake_mmio_new(0xfeb00000, VIRTIO_ID_NET);
    d->version = 1 + pick(2);
    d->features |= BIT64(15) | BIT64(5) | (pick(2) ? BIT64(29) : 0);
    d->config[0] = 2;
    d->queue[0].max = 32u << pick(4);
    CHECK(virtio_net_driver.probe() == 1);
    world_t w = {.rx = &d->queue[0], .tx = &d->queue[1], .nic = netdev_get(0)};
    for (int step = 0; step < STEPS; step++) {
        switch (pick(8)) {
            case 0:
            case 1:
                if (!w.lied && w.last - w.first < FRAMES - 1) {
                    device_receive(&w);
                }
                break;
            case 2:
            case 3:
                if (w.lents < FRAMES) {
                    stack_take(&w);
                }
                break;
            case 4:
                if (w.lents > 0) {
                    unsigned k = pick(w.lents);
                    w.nic->ops->rx_return(w.nic, w.lent[k]);
                    w.lent[k] = w.lent[--w.lents];
                }
                break;
            case 5:
                stack_send(&w);
                break;
            case 6:
                if (!w.lied) {
                    device_send(&w);
                }
                break;
            default:
                w.nic->ops->arm(w.nic), w.nic->ops->kick(w.nic);
        }
    }
    if (!w.lied) { // everything back: the device must have every buffer again
        while (w.first != w.last) {
            w.lents < FRAMES ? stack_take(&w) : w.nic->ops->rx_return(w.nic, w.lent[--w.lents]);
        }
        while (w.lents > 0) {
            w.nic->ops->rx_return(w.nic, w.lent[--w.lents]);
        }
        netdev_frame_t none; // what is still there is too long for a frame, and dropped
        CHECK(w.nic->ops->rx_take(w.nic, &none) == -EAGAIN);
        uint16_t avail = ((uint16_t *)(uintptr_t)w.rx->avail)[1];
        CHECK((uint16_t)(avail - w.rx->used_idx) == w.rx->size);
    }
}

int fuzz_net(unsigned long seed, unsigned long count) { return fuzz_lives(net_life, seed, count); }

int fuzz_disk(unsigned long seed, unsigned long count) { return fuzz_lives(fuzz_disk_life, seed, count); }
