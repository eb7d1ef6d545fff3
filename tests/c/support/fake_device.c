// SPDX-License-Identifier: MIT
// The device side of virtio 1.2: mmio registers (4.2), PCI structures (4.1), split rings (2.7). Written from
// the specification, not from the drivers: the layouts are spelled out here a second time on purpose.
// An access to an address that no device has, or of a wrong width, ends the process with STRAY and status 3.

#include "fake_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"

fake_device_t fake_device[FAKE_DEVICES];
unsigned fake_device_count;

static void stray(const char *what, uint64_t at, unsigned width) {
    printf("STRAY %s %#llx width %u\n", what, (unsigned long long)at, width);
    fflush(stdout);
    _Exit(3);
}

// ---- registers common to both transports ---------------------------------------------------------

static void write_status(fake_device_t *d, uint32_t v) {
    d->resets += v == 0;
    if (v == 0) {
        d->driver_features = 0;
        for (unsigned i = 0; i < FAKE_QUEUES; i++) {
            d->queue[i].ready = 0;
            d->queue[i].avail_seen = d->queue[i].used_idx = 0;
        }
        if (d->reset_stuck) {
            return;
        }
    }
    d->status = d->features_refused ? v & ~8u : v;
}

static uint32_t read_features(fake_device_t *d) {
    d->features ^= d->features_toggle;
    return d->feature_sel > 1 ? 0 : (uint32_t)(d->features >> (32 * d->feature_sel));
}

static void write_features(fake_device_t *d, uint32_t v) {
    unsigned shift = 32 * (d->driver_sel & 1);
    d->driver_features = (d->driver_features & ~(0xffffffffull << shift)) | (uint64_t)v << shift;
}

static uint32_t read_generation(fake_device_t *d) {
    d->generation += d->generation_moves;
    return (uint32_t)d->generation;
}

static void set_half(uint64_t *reg, bool high, uint32_t v) {
    *reg = high ? (*reg & 0xffffffff) | (uint64_t)v << 32 : (*reg & ~0xffffffffull) | v;
}

static fake_queue_t *selected(fake_device_t *d) { return d->queue_sel < FAKE_QUEUES ? &d->queue[d->queue_sel] : NULL; }

static void notify(fake_device_t *d, uint32_t index) {
    if (index >= FAKE_QUEUES || !d->queue[index].ready || (d->status & 4) == 0) {
        stray("notify of a queue that is not live", index, 4);
    }
    d->queue[index].notified++;
}

static uint32_t config_read(fake_device_t *d, uint64_t off, unsigned width) {
    uint32_t v = 0;
    if (off + width > sizeof d->config || off % width != 0) {
        stray("device configuration", off, width);
    }
    memcpy(&v, d->config + off, width);
    return v;
}

// ---- mmio, 4.2.2 -----------------------------------------------------------------------------------

static bool legacy(const fake_device_t *d) { return d->version == 1; }

static uint32_t mmio_read(fake_device_t *d, uint64_t off, unsigned width) {
    fake_queue_t *q = selected(d);
    if (off >= 0x100) {
        return config_read(d, off - 0x100, width);
    }
    if (width != 4 || off % 4 != 0 || (legacy(d) && (off == 0x044 || off == 0x0fc))) {
        stray("mmio read", off, width);
    }
    switch (off) {
        case 0x000:
            return (uint32_t)d->magic;
        case 0x004:
            return (uint32_t)d->version;
        case 0x008:
            return (uint32_t)d->type;
        case 0x010:
            return read_features(d);
        case 0x034:
            return q == NULL ? 0 : (uint32_t)q->max;
        case 0x044:
            return q == NULL ? 0 : (uint32_t)q->ready;
        case 0x060:
            return (uint32_t)d->irq_status;
        case 0x070:
            return (uint32_t)d->status;
        case 0x0fc:
            return read_generation(d);
        default:
            stray("mmio read", off, width);
            return 0;
    }
}

// 4.2.4 and 2.7.2: a queue is one piece, descriptors and available ring, then the used ring at the next boundary.
static void place_queue(fake_device_t *d, fake_queue_t *q, uint64_t page) {
    // In a VM memory is near enough to address 0 for a page number of 32 bits; here it is not.
    q->desc = fake_hal_dma_find(page * d->page_size, (d->page_size << 32) - 1);
    q->avail = q->desc + 16 * q->size;
    q->used = q->avail + 2 * (3 + q->size);
    q->used = (q->used + q->align - 1) & ~(q->align - 1);
    q->ready = page != 0;
}

static void legacy_queue_write(fake_device_t *d, fake_queue_t *q, uint64_t off, uint32_t v) {
    switch (off) {
        case 0x038:
            q->size = v;
            return;
        case 0x03c:
            q->align = v;
            return;
        case 0x040:
            if (d->page_size == 0 || q->size == 0 || q->align == 0 || (d->page_size & (d->page_size - 1)) != 0) {
                stray("address of a queue that was not described", off, 4);
            }
            place_queue(d, q, v);
            return;
        default:
            stray("mmio write", off, 4);
    }
}

static void mmio_write(fake_device_t *d, uint64_t off, unsigned width, uint32_t v) {
    fake_queue_t *q = selected(d);
    if (width != 4 || off % 4 != 0 || off >= 0x100) {
        stray("mmio write", off, width);
    }
    switch (off) {
        case 0x014:
            d->feature_sel = v;
            return;
        case 0x020:
            write_features(d, v);
            return;
        case 0x024:
            d->driver_sel = v;
            return;
        case 0x028:
            if (legacy(d)) {
                d->page_size = v;
                return;
            }
            break;
        case 0x030:
            d->queue_sel = v;
            return;
        case 0x050:
            notify(d, v);
            return;
        case 0x064:
            d->irq_status &= ~(uint64_t)v;
            return;
        case 0x070:
            write_status(d, v);
            return;
        default:
            break;
    }
    if (q == NULL) {
        stray("mmio write without a queue", off, width);
        return;
    }
    if (legacy(d)) {
        legacy_queue_write(d, q, off, v);
        return;
    }
    switch (off) {
        case 0x038:
            q->size = v;
            return;
        case 0x044:
            q->ready = v;
            return;
        case 0x080:
        case 0x084:
            set_half(&q->desc, off & 4, v);
            return;
        case 0x090:
        case 0x094:
            set_half(&q->avail, off & 4, v);
            return;
        case 0x0a0:
        case 0x0a4:
            set_half(&q->used, off & 4, v);
            return;
        default:
            stray("mmio write", off, width);
    }
}

fake_device_t *fake_mmio_new(uint64_t base, uint32_t type) {
    fake_device_t *d = &fake_device[fake_device_count++];
    *d = (fake_device_t){.base = base, .magic = 0x74726976, .version = 2, .type = type, .features = BIT64(32)};
    d->queue[0].max = d->queue[1].max = 256;
    return d;
}

// ---- PCI, 4.1.4 ------------------------------------------------------------------------------------
// BAR 4: common at 0, device at 0x2000, notify at 0x3000. BAR 1: MSI-X table at 0.

enum { BAR4_SIZE = 0x4000, BAR1_AT = 0x8000, BAR1_SIZE = 0x1000 };

static uint32_t common_read(fake_device_t *d, uint64_t off, unsigned width) {
    fake_queue_t *q = selected(d);
    switch (off << 4 | width) {
        case 0x044:
            return read_features(d);
        case 0x102:
            return d->refuse_config_vector ? 0xffff : (uint32_t)d->config_vector;
        case 0x122:
            return FAKE_QUEUES;
        case 0x141:
            return (uint32_t)d->status;
        case 0x151:
            return read_generation(d) & 0xff;
        case 0x182:
            return q == NULL ? 0 : (uint32_t)q->max;
        case 0x1a2:
            return q == NULL || q->refuse_vector ? 0xffff : (uint32_t)q->vector;
        case 0x1c2:
            return q == NULL ? 0 : (uint32_t)q->ready;
        case 0x1e2:
            return q == NULL ? 0 : (uint32_t)q->notify_off;
        default:
            stray("common configuration read", off, width);
            return 0;
    }
}

static void common_write(fake_device_t *d, uint64_t off, unsigned width, uint32_t v) {
    fake_queue_t *q = selected(d);
    switch (off << 4 | width) {
        case 0x004:
            d->feature_sel = v;
            return;
        case 0x084:
            d->driver_sel = v;
            return;
        case 0x0c4:
            write_features(d, v);
            return;
        case 0x102:
            d->config_vector = v;
            return;
        case 0x141:
            write_status(d, v);
            return;
        case 0x162:
            d->queue_sel = v;
            return;
        default:
            break;
    }
    if (q == NULL) {
        stray("common configuration write without a queue", off, width);
        return;
    }
    switch (off << 4 | width) {
        case 0x182:
            q->size = v;
            return;
        case 0x1a2:
            q->vector = v;
            return;
        case 0x1c2:
            q->ready = v;
            return;
        case 0x204:
        case 0x244:
            set_half(&q->desc, off & 4, v);
            return;
        case 0x284:
        case 0x2c4:
            set_half(&q->avail, off & 4, v);
            return;
        case 0x304:
        case 0x344:
            set_half(&q->used, off & 4, v);
            return;
        default:
            stray("common configuration write", off, width);
    }
}

static uint32_t bar_read(fake_device_t *d, uint64_t off, unsigned width) {
    if (off < 0x38) {
        return common_read(d, off, width);
    }
    if (off >= 0x2000 && off < 0x3000) {
        return config_read(d, off - 0x2000, width);
    }
    stray("BAR read", off, width);
    return 0;
}

static void bar_write(fake_device_t *d, uint64_t off, unsigned width, uint32_t v) {
    if (off < 0x38) {
        common_write(d, off, width, v);
    } else if (off >= 0x3000 && off < BAR4_SIZE && width == 2) {
        notify(d, v);
    } else if (off >= BAR1_AT && off + width <= BAR1_AT + sizeof d->msix && width == 4) {
        memcpy(d->msix + (off - BAR1_AT), &v, 4);
    } else {
        stray("BAR write", off, width);
    }
}

static void poke(fake_device_t *d, unsigned at, uint32_t v, unsigned width) { memcpy(d->space + at, &v, width); }

static void vendor_cap(fake_device_t *d, unsigned at, unsigned next, unsigned kind, uint32_t offset, uint32_t length) {
    unsigned size = kind == 2 ? 20 : 16;
    poke(d, at, 0x09u | next << 8 | size << 16 | kind << 24, 4);
    poke(d, at + 4, 4, 4); // BAR 4
    poke(d, at + 8, offset, 4);
    poke(d, at + 12, length, 4);
}

void fake_pci_layout(fake_device_t *d) {
    poke(d, 0x00, 0x1af4u | (0x1040u + (uint32_t)d->type) << 16, 4);
    poke(d, 0x06, 0x10, 2); // it has a capability list
    poke(d, 0x34, 0x40, 1);
    poke(d, 0x40, 0x11u | 0x50u << 8 | 2u << 16, 4); // MSI-X, three vectors
    poke(d, 0x44, 1, 4);                             // in BAR 1 at 0
    vendor_cap(d, 0x50, 0x60, 1, 0, 0x38);
    vendor_cap(d, 0x60, 0x70, 3, 0x1000, 4);
    vendor_cap(d, 0x70, 0x80, 4, 0x2000, sizeof d->config);
    vendor_cap(d, 0x80, 0, 2, 0x3000, 0x1000);
    poke(d, 0x90, (uint32_t)d->multiplier, 4);
}

fake_device_t *fake_pci_new(uint32_t type) {
    fake_device_t *d = fake_mmio_new(0xe0000000u + 0x10000u * fake_device_count, type);
    d->pci = true;
    d->multiplier = 4;
    d->bar_size[4] = BAR4_SIZE;
    d->bar_size[1] = BAR1_SIZE;
    for (unsigned i = 0; i < FAKE_QUEUES; i++) {
        d->queue[i].notify_off = i;
    }
    fake_pci_layout(d);
    return d;
}

static fake_device_t *pci_device(const hal_pci_t *fn) {
    if (fn->dev >= fake_device_count || !fake_device[fn->dev].pci) {
        stray("PCI function", fn->dev, 0);
    }
    return &fake_device[fn->dev];
}

uint32_t hal_pci_read32(const hal_pci_t *fn, unsigned offset) {
    uint32_t v = 0;
    if (offset > 0xff) {
        stray("PCI configuration read", offset, 4);
    }
    pci_device(fn)->space_reads++;
    memcpy(&v, pci_device(fn)->space + (offset & 0xfc), 4);
    return v;
}

uint16_t hal_pci_read16(const hal_pci_t *fn, unsigned offset) {
    return (uint16_t)(hal_pci_read32(fn, offset) >> (8 * (offset & 2)));
}

uint8_t hal_pci_read8(const hal_pci_t *fn, unsigned offset) {
    return (uint8_t)(hal_pci_read32(fn, offset) >> (8 * (offset & 3)));
}

void hal_pci_write32(const hal_pci_t *fn, unsigned offset, uint32_t v) {
    if (offset > 0xfc) {
        stray("PCI configuration write", offset, 4);
    }
    poke(pci_device(fn), offset & 0xfc, v, 4);
}

bool hal_pci_scan(bool (*visit)(const hal_pci_t *fn, void *arg), void *arg) {
    for (unsigned i = 0; i < fake_device_count; i++) {
        hal_pci_t fn = {.dev = (uint8_t)i};
        if (!fake_device[i].pci) {
            continue;
        }
        fn.vendor = hal_pci_read16(&fn, 0);
        fn.device = hal_pci_read16(&fn, 2);
        if (visit(&fn, arg)) {
            return true;
        }
    }
    return false;
}

volatile void *hal_pci_bar(const hal_pci_t *fn, unsigned bar, size_t *size) {
    fake_device_t *d = pci_device(fn);
    *size = d->bar_size[bar];
    uint64_t at = d->base + (bar == 1 ? BAR1_AT : 0);
    return *size == 0 ? NULL : (volatile void *)(uintptr_t)at;
}

// ---- dispatch --------------------------------------------------------------------------------------

static fake_device_t *at_address(uint64_t p, unsigned width) {
    for (unsigned i = 0; i < fake_device_count; i++) {
        fake_device_t *d = &fake_device[i];
        if (p >= d->base && p + width <= d->base + (d->pci ? 0x10000u : 0x200u)) {
            d->accesses++;
            return d;
        }
    }
    stray("address", p, width);
    return NULL;
}

uint32_t fake_mmio_read(const volatile void *p, unsigned width) {
    fake_device_t *d = at_address((uintptr_t)p, width);
    uint64_t off = (uintptr_t)p - d->base;
    return d->pci ? bar_read(d, off, width) : mmio_read(d, off, width);
}

void fake_mmio_write(volatile void *p, unsigned width, uint32_t value) {
    fake_device_t *d = at_address((uintptr_t)p, width);
    uint64_t off = (uintptr_t)p - d->base;
    d->pci ? bar_write(d, off, width, value) : mmio_write(d, off, width, value);
}

// ---- rings, 2.7 ------------------------------------------------------------------------------------

static uint16_t *avail_word(const fake_queue_t *q, unsigned i) { return (uint16_t *)(uintptr_t)q->avail + i; }
static uint8_t *used_at(const fake_queue_t *q, size_t off) { return (uint8_t *)(uintptr_t)q->used + off; }

bool fake_next_chain(fake_queue_t *q, fake_chain_t *out) {
    if (q->avail_seen == *avail_word(q, 1)) {
        return false;
    }
    out->head = *avail_word(q, 2 + q->avail_seen % (unsigned)q->size);
    out->count = 0;
    q->avail_seen++;
    for (uint32_t i = out->head;;) {
        const uint8_t *desc = (const uint8_t *)(uintptr_t)q->desc + 16 * i;
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
        memcpy(&addr, desc, 8);
        memcpy(&len, desc + 8, 4);
        memcpy(&flags, desc + 12, 2);
        memcpy(&next, desc + 14, 2);
        if (out->count == FAKE_SEGS || i >= q->size) {
            stray("descriptor chain", i, 0); // the driver's fault
        }
        out->seg[out->count++] = (fake_seg_t){(uint8_t *)(uintptr_t)addr, len, (flags & 2) != 0};
        if ((flags & 1) == 0) {
            return true;
        }
        i = next;
    }
}

size_t fake_chain_writable(const fake_chain_t *c) {
    size_t n = 0;
    for (unsigned i = 0; i < c->count; i++) {
        n += c->seg[i].writable ? c->seg[i].len : 0;
    }
    return n;
}

void fake_chain_write(const fake_chain_t *c, const uint8_t *data, size_t len) {
    for (unsigned i = 0; i < c->count && len > 0; i++) {
        if (c->seg[i].writable) {
            size_t n = len < c->seg[i].len ? len : c->seg[i].len;
            memcpy(c->seg[i].base, data, n);
            data += n;
            len -= n;
        }
    }
}

void fake_set_used_idx(fake_queue_t *q, uint16_t idx) {
    q->used_idx = idx;
    memcpy(used_at(q, 2), &idx, 2);
}

void fake_used(fake_queue_t *q, uint32_t id, uint32_t len) {
    size_t at = 4 + 8 * (q->used_idx % q->size);
    memcpy(used_at(q, at), &id, 4);
    memcpy(used_at(q, at + 4), &len, 4);
    fake_set_used_idx(q, (uint16_t)(q->used_idx + 1));
}

bool fake_wants_irq(const fake_queue_t *q, bool event_idx, uint16_t before) {
    if (!event_idx) {
        return (*avail_word(q, 0) & 1) == 0 && before != q->used_idx;
    }
    uint16_t event = *avail_word(q, 2 + (unsigned)q->size);
    return (uint16_t)(q->used_idx - event - 1) < (uint16_t)(q->used_idx - before); // 2.7.10
}

void fake_avail_event(fake_queue_t *q, uint16_t at) { memcpy(used_at(q, 4 + 8 * q->size), &at, 2); }
