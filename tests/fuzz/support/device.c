// SPDX-License-Identifier: MIT
// device.h over the fakes of tests/c/support. Owns the chains that the device holds. Context: libFuzzer.

#include "device.h"

#include <string.h>

#include "world.h"

enum { HELD = 16, QUEUES = 6 };

static fake_chain_t held[QUEUES][HELD];
static uint8_t order[QUEUES][HELD]; // places in held: the first `holds` of them in use, oldest first
static unsigned holds[QUEUES];

// Capability lists that lie may lead the driver to registers that the fake has not: within the BARs that is fair.
static void lie_in_space(fake_device_t *d) {
    fuzz_may_stray = true;
    for (unsigned n = in_below(8); n > 0; n--) {
        unsigned at = 4 + in_below(0xfc);
        d->space[at] = in_u8();
    }
    d->bar_size[in_below(6)] = in_u16();
}

fake_device_t *device_new(uint32_t type) {
    unsigned kind = in_u8();
    fake_hal.mem_total = kind & 1 ? 8u << 20 : 64u << 20;
    fake_hal.seeded = true;
    fake_device_t *d;
    if (kind & 2) {
        d = fake_pci_new(type);
        if (kind & 4) {
            lie_in_space(d);
        }
    } else {
        fake_hal.cmdline = "virtio_mmio.device=512@0xfeb00000:5";
        d = fake_mmio_new(0xfeb00000, type);
        d->version = kind & 4 ? 1 : 2;
    }
    for (unsigned i = 0; i < QUEUES * HELD; i++) {
        order[i / HELD][i % HELD] = (uint8_t)(i % HELD);
    }
    d->features |= in_u64();
    unsigned size = kind >> 3;
    for (unsigned i = 0; i < FAKE_QUEUES; i++) {
        d->queue[i].max = size < 10 ? 1u << size : size == 10 ? 0 : 256;
    }
    for (unsigned i = 0; i < 32; i++) {
        d->config[i] = in_u8();
    }
    d->generation_moves = size == 11;
    d->features_refused = size == 12;
    return d;
}

static void give_back(fake_queue_t *q, const fake_chain_t *c) {
    size_t len, room = fake_chain_writable(c);
    uint8_t how = in_u8();
    uint8_t *data = in_bytes(how & 1 ? 40 : 2000, &len);
    len = len < room ? len : room;
    fake_chain_write(c, data, len);
    uint32_t said = (uint32_t)(how & 2 ? room : len);
    fake_used(q, (how & 0x70) == 0x70 ? in_u16() : c->head, (how & 0x0c) == 0x0c ? in_u32() : said);
}

// As an honest device that has nothing to say: all of it is zeros, a disk's status among them.
static void answer_zeros(fake_queue_t *q, const fake_chain_t *c) {
    enum { MOST = 4096 };
    size_t room = fake_chain_writable(c);
    for (unsigned i = 0; i < c->count; i++) {
        if (c->seg[i].writable && c->seg[i].len > 0) {
            memset(c->seg[i].base, 0, c->seg[i].len < MOST ? c->seg[i].len : MOST);
            memset(c->seg[i].base + c->seg[i].len - 1, 0, 1);
        }
    }
    fake_used(q, c->head, (uint32_t)room);
}

void device_works(fake_device_t *d, unsigned queue) {
    fake_queue_t *q = &d->queue[queue % QUEUES];
    fake_chain_t *mine = held[queue % QUEUES];
    uint8_t *place = order[queue % QUEUES];
    unsigned *count = &holds[queue % QUEUES];
    if (q->used == 0 || !q->ready) {
        return;
    }
    while (*count < HELD && fake_next_chain(q, &mine[place[*count]])) {
        ++*count;
    }
    unsigned what = in_below(16);
    if (what == 15) {
        fake_set_used_idx(q, in_u16());
    } else if (what == 14) {
        fake_hal.pending |= in_u8();
        d->irq_status = in_u8();
        d->config[in_below(32)] = in_u8();
    } else if (what == 13) {
        fake_hal.now += (uint64_t)in_u8() << 24; // up to four seconds
    } else if (*count > 0) {
        unsigned k = what < 8 ? 0 : in_below(*count);
        uint8_t free = place[k];
        what >= 4 ? give_back(q, &mine[free]) : answer_zeros(q, &mine[free]);
        --*count;
        memmove(&place[k], &place[k + 1], *count - k);
        place[*count] = free;
    }
}
