// SPDX-License-Identifier: MIT
// The disk behind virtio_blk.c: an honest one over fake_device.c, with one fault at a chosen request; commands to work
// it (harness.py), and random lives of it. It answers while the driver waits, from fake_hal.on_clock. What it was asked
// is logged: "R8+512 W16+1024 F D0+4096", places and lengths in bytes.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_user.h"
#include "fake_device.h"
#include "fake_hal.h"
#include "fuzz.h"
#include "virtio.h"

bool disk_command(char **word, unsigned words);

extern const hal_driver_t virtio_blk_driver;

enum { LOG_MAX = 1 << 16, HELD = 32 };
enum { IN = 0, OUT = 1, FLUSH = 4, DISCARD = 11 };

static const char *const faults[] = {
    "none",    "ioerr",   "unsupp", "status_unset", "status_wild", "short_read",  "length_zero", "length_long",
    "id_wild", "id_free", "twice",  "index_jump",   "silent",      "needs_reset", "late",
};

static struct {
    fake_device_t *dev;
    uint8_t bytes[DISK_BYTES_MAX];
    char log[LOG_MAX];
    size_t logged;
    unsigned long done;     // requests answered
    unsigned long fault_at; // the request that gets the fault, counted from 0
    unsigned fault;         // index in faults[]
    bool lied;
    bool reverse; // answers what is there in the opposite order
    uint64_t latency, due;
    fake_chain_t held[HELD];
    unsigned holds;
} disk;

static void note(char what, uint64_t at, uint64_t len) {
    if (disk.logged < LOG_MAX - 64) {
        disk.logged += (size_t)(what == 'F' ? sprintf(disk.log + disk.logged, "F ")
                                            : sprintf(disk.log + disk.logged, "%c%llu+%llu ", what,
                                                      (unsigned long long)at, (unsigned long long)len));
    }
}

static void wrong(const char *what) { // the driver's fault
    printf("STRAY disk request: %s\n", what);
    fflush(stdout);
    _Exit(3);
}

// Carry a request out. Bytes written, the status byte included.
static uint32_t carry_out(const fake_chain_t *c) {
    uint32_t type;
    uint64_t sector;
    if (c->count < 2 || c->seg[0].writable || c->seg[0].len != 16 || !c->seg[c->count - 1].writable ||
        c->seg[c->count - 1].len != 1) {
        wrong("header or status");
    }
    memcpy(&type, c->seg[0].base, 4);
    memcpy(&sector, c->seg[0].base + 8, 8);
    const fake_seg_t *data = &c->seg[1];
    uint64_t at = sector * 512, size;
    memcpy(&size, disk.dev->config, 8);
    if ((type == IN || type == OUT) &&
        (c->count != 3 || data->writable != (type == IN) || data->len % 512 != 0 || at + data->len > size * 512)) {
        wrong("range");
    }
    *c->seg[c->count - 1].base = 0;
    switch (type) {
        case IN:
            note('R', at, data->len);
            memcpy(data->base, disk.bytes + at, data->len);
            return data->len + 1;
        case OUT:
            note('W', at, data->len);
            memcpy(disk.bytes + at, data->base, data->len);
            return 1;
        case FLUSH:
            note('F', 0, 0);
            return 1;
        case DISCARD: {
            uint64_t first;
            uint32_t count;
            memcpy(&first, data->base, 8);
            memcpy(&count, data->base + 8, 4);
            if (data->len != 16 || (first + count) * 512 > size * 512) {
                wrong("discard");
            }
            note('D', first * 512, (uint64_t)count * 512);
            memset(disk.bytes + first * 512, 0, (size_t)count * 512);
            return 1;
        }
        default:
            wrong("type");
            return 0;
    }
}

static void answer(const fake_chain_t *c) {
    fake_queue_t *q = &disk.dev->queue[0];
    const char *fault = disk.done++ == disk.fault_at ? faults[disk.fault] : "none";
    uint8_t *status = c->seg[c->count - 1].base;
    uint32_t len = carry_out(c), id = c->head;
    disk.lied |= strcmp(fault, "none") != 0;
    if (strcmp(fault, "ioerr") == 0) {
        *status = 1;
    } else if (strcmp(fault, "unsupp") == 0) {
        *status = 2;
    } else if (strcmp(fault, "status_unset") == 0) {
        *status = 0xff;
    } else if (strcmp(fault, "status_wild") == 0) {
        *status = 7;
    } else if (strcmp(fault, "short_read") == 0) {
        len = len > 1 ? len - 2 : 0;
    } else if (strcmp(fault, "length_zero") == 0) {
        len = 0;
    } else if (strcmp(fault, "length_long") == 0) {
        len++;
    } else if (strcmp(fault, "id_wild") == 0) {
        id = 0xffff0000;
    } else if (strcmp(fault, "id_free") == 0) {
        id = (id + 3) % (uint32_t)q->size;
    } else if (strcmp(fault, "twice") == 0) {
        fake_used(q, id, len);
    } else if (strcmp(fault, "index_jump") == 0) {
        fake_set_used_idx(q, (uint16_t)(q->used_idx + 1000));
        return;
    } else if (strcmp(fault, "silent") == 0) {
        return;
    } else if (strcmp(fault, "needs_reset") == 0) {
        disk.dev->status |= 0x40;
        disk.dev->irq_status |= 2;
        fake_hal.pending |= 0xff;
        return;
    } else if (strcmp(fault, "late") == 0) {
        disk.holds = 0;
        disk.due = fake_hal.now + 29000000000ull; // in time, barely
        disk.held[disk.holds++] = *c;
        disk.fault_at = ~0ul;
        disk.lied = false;
        return;
    }
    fake_used(q, id, len);
}

// The device's own time: called at each look at the clock.
static void work(void) {
    fake_queue_t *q = &disk.dev->queue[0];
    if (!q->ready || (disk.dev->status & 4) == 0) {
        return;
    }
    bool fresh = disk.holds == 0;
    while (disk.holds < HELD && q->notified > 0 && fake_next_chain(q, &disk.held[disk.holds])) {
        disk.holds++;
    }
    if (fresh && disk.holds > 0) {
        disk.due = fake_hal.now + disk.latency;
    }
    if (disk.holds == 0 || fake_hal.now < disk.due) {
        return;
    }
    fake_chain_t batch[HELD];
    unsigned n = disk.holds;
    memcpy(batch, disk.held, n * sizeof(batch[0]));
    disk.holds = 0;
    for (unsigned i = 0; i < n; i++) {
        answer(&batch[disk.reverse ? n - 1 - i : i]);
    }
}

static void attach(fake_device_t *d, uint64_t sectors) {
    disk.dev = d;
    disk.fault_at = ~0ul;
    memcpy(d->config, &sectors, 8);
    fake_hal.on_clock = work;
}

// ---- commands --------------------------------------------------------------------------------------

static long long num(char **word, unsigned i) { return strtoll(word[i], NULL, 0); }

bool disk_command(char **word, unsigned words) {
    (void)words;
    if (strcmp(word[0], "disk") == 0) { // DEVICE SECTORS
        attach(&fake_device[num(word, 1)], (uint64_t)num(word, 2));
    } else if (strcmp(word[0], "disk_fault") == 0) { // NAME AT
        for (unsigned i = 0; i < HAL_ARRAY_LEN(faults); i++) {
            disk.fault = strcmp(faults[i], word[1]) == 0 ? i : disk.fault;
        }
        disk.fault_at = disk.done + (unsigned long)num(word, 2);
    } else if (strcmp(word[0], "disk_latency") == 0) {
        disk.latency = (uint64_t)num(word, 1);
    } else if (strcmp(word[0], "disk_reverse") == 0) {
        disk.reverse = true;
    } else if (strcmp(word[0], "disk_log") == 0) {
        printf("%s\n", disk.log);
        disk.logged = 0;
        disk.log[0] = '\0';
    } else {
        return disk_user_command(word);
    }
    return true;
}

// ---- random lives ----------------------------------------------------------------------------------

void fuzz_disk_life(void) {
    fake_hal.cmdline = "virtio_mmio.device=512@0xfeb00000:5";
    fake_device_t *d = fake_mmio_new(0xfeb00000, VIRTIO_ID_BLOCK);
    uint32_t unit = 512u << fuzz_pick(4), discard_max = fuzz_pick(2) ? 1u << 20 : 8, size_max = unit << fuzz_pick(6);
    d->features |= BIT64(9) * fuzz_pick(2) | BIT64(13) * fuzz_pick(2) | BIT64(6) | BIT64(1) * fuzz_pick(2) |
                   BIT64(29) * fuzz_pick(2);
    d->queue[0].max = 4u << fuzz_pick(5);
    attach(d, 64 + fuzz_pick(1500));
    memcpy(d->config + 8, &size_max, 4);
    memcpy(d->config + 20, &unit, 4);
    memcpy(d->config + 36, &discard_max, 4);
    disk.reverse = fuzz_pick(2);
    disk.latency = fuzz_pick(3) == 0 ? fuzz_pick(5000000) : 0;
    if (fuzz_pick(2)) {
        disk.fault = 1 + fuzz_pick(HAL_ARRAY_LEN(faults) - 1);
        disk.fault_at = fuzz_pick(200);
    }
    FUZZ_CHECK(virtio_blk_driver.probe() == 1);
    blkdev_t *b = blkdev_get(0);
    for (int step = 0; step < DISK_STEPS && !b->dead; step++) {
        disk_user_step(b, disk.bytes, &disk.lied);
    }
}
