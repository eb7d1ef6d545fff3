// SPDX-License-Identifier: MIT
// virtio over MMIO, virtio 1.2 clause 4.2: register layout version 2, and version 1 (4.2.4), which libvirt and plain
// QEMU give a microvm. There a queue is one piece of memory, in units of a page whose size we choose.
// Owns: nothing but the registers named on the command line as virtio_mmio.device=SIZE@BASE:IRQ[:ID] (Linux's words;
// QEMU's microvm and Firecracker write them) or, where it names none, by ACPI's tables. Not here: the dance (virtio.c).
// Context: main loop only. A register access costs an exit, so none is made twice.

#include <string.h>

#include "virtio.h"

enum { // 4.2.2
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_GUEST_PAGE_SIZE = 0x028, // version 1
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_ALIGN = 0x03c, // version 1
    REG_QUEUE_PFN = 0x040,   // version 1
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080,
    REG_QUEUE_DRIVER = 0x090,
    REG_QUEUE_DEVICE = 0x0a0,
    REG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};
enum { MAGIC = 0x74726976, LAYOUT_LEGACY = 1, LAYOUT_VERSION = 2, INTERRUPT_CONFIG = 2, WORD_MAX = 64 };

static uint32_t get(virtio_dev_t *v, unsigned reg) { return hal_mmio_read32(v->bus.mmio.base + reg); }
static void set(virtio_dev_t *v, unsigned reg, uint32_t value) { hal_mmio_write32(v->bus.mmio.base + reg, value); }

static void set64(virtio_dev_t *v, unsigned reg, const void *address) {
    uint64_t a = hal_physical(address);
    set(v, reg, (uint32_t)a);
    set(v, reg + 4, (uint32_t)(a >> 32));
}

static uint8_t mmio_get_status(virtio_dev_t *v) { return (uint8_t)get(v, REG_STATUS); }
static void mmio_set_status(virtio_dev_t *v, uint8_t status) { set(v, REG_STATUS, status); }
static uint32_t mmio_get_generation(virtio_dev_t *v) { return v->legacy ? 0 : get(v, REG_GENERATION); }
static void mmio_notify(virtio_dev_t *v, unsigned index) { set(v, REG_QUEUE_NOTIFY, index); }

static uint64_t mmio_get_features(virtio_dev_t *v) {
    set(v, REG_DEVICE_FEATURES_SEL, 1);
    uint64_t high = get(v, REG_DEVICE_FEATURES);
    set(v, REG_DEVICE_FEATURES_SEL, 0);
    return high << 32 | get(v, REG_DEVICE_FEATURES);
}

static void mmio_set_features(virtio_dev_t *v, uint64_t features) {
    if (!v->legacy) {
        set(v, REG_DRIVER_FEATURES_SEL, 1);
        set(v, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
    }
    set(v, REG_DRIVER_FEATURES_SEL, 0);
    set(v, REG_DRIVER_FEATURES, (uint32_t)features);
}

static uint32_t mmio_get_config(virtio_dev_t *v, unsigned offset, unsigned width) {
    const volatile uint8_t *at = v->bus.mmio.base + REG_CONFIG + offset;
    return width == 1 ? hal_mmio_read8(at) : width == 2 ? hal_mmio_read16(at) : hal_mmio_read32(at);
}

static uint32_t mmio_queue_select(virtio_dev_t *v, unsigned index) {
    set(v, REG_QUEUE_SEL, index);
    return get(v, REG_QUEUE_NUM_MAX);
}

static int mmio_queue_enable(virtio_dev_t *v, const virtq_t *q) {
    set(v, REG_QUEUE_NUM, q->size);
    if (v->legacy) {
        set(v, REG_GUEST_PAGE_SIZE, VIRTQ_ALIGN);
        set(v, REG_QUEUE_ALIGN, VIRTQ_ALIGN);
        set(v, REG_QUEUE_PFN, (uint32_t)(hal_physical(q->desc) / VIRTQ_ALIGN));
        return 0;
    }
    set64(v, REG_QUEUE_DESC, q->desc);
    set64(v, REG_QUEUE_DRIVER, q->avail);
    set64(v, REG_QUEUE_DEVICE, q->used);
    set(v, REG_QUEUE_READY, 1);
    return 0;
}

static int mmio_irq_attach(virtio_dev_t *v) {
    v->irq_config = -1;
    v->irq = hal_irq_gsi(v->bus.mmio.gsi);
    return v->irq < 0 ? v->irq : 0;
}

// The line stays high, and an edge-triggered input silent, until every cause is acknowledged.
static bool mmio_irq_take(virtio_dev_t *v) {
    if (!hal_irq_take(v->irq)) {
        return false;
    }
    uint32_t cause = get(v, REG_INTERRUPT_STATUS);
    set(v, REG_INTERRUPT_ACK, cause);
    return (cause & INTERRUPT_CONFIG) != 0;
}

static const virtio_ops_t mmio_ops = {
    .get_status = mmio_get_status,
    .set_status = mmio_set_status,
    .get_features = mmio_get_features,
    .set_features = mmio_set_features,
    .get_generation = mmio_get_generation,
    .get_config = mmio_get_config,
    .queue_select = mmio_queue_select,
    .queue_enable = mmio_queue_enable,
    .notify = mmio_notify,
    .irq_attach = mmio_irq_attach,
    .irq_take = mmio_irq_take,
};

// Decimal or 0x number, at most 32 bits, from *s on. False: none, or too large.
static bool number(const char **s, uint64_t *out) {
    const char *p = *s;
    unsigned base = 10, digits = 0;
    if (p[0] == '0' && (p[1] | 32) == 'x') {
        base = 16;
        p += 2;
    }
    for (*out = 0;; p++, digits++) {
        unsigned char c = (unsigned char)*p;
        unsigned digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 99;
        if (digit >= base) {
            break;
        }
        *out = *out * base + digit;
        if (*out > UINT32_MAX) {
            return false;
        }
    }
    *s = p;
    return digits > 0;
}

static bool fits(uint64_t size, uint64_t base) {
    return size > REG_CONFIG && base != 0 && base % 4 == 0 && base + size <= BIT64(32);
}

// SIZE[K|M]@BASE:IRQ[:ID]
static bool parse(const char *s, uint64_t *size, uint64_t *base, uint64_t *gsi) {
    if (!number(&s, size)) {
        return false;
    }
    if ((*s | 32) == 'k' || (*s | 32) == 'm') {
        *size <<= (*s | 32) == 'k' ? 10 : 20;
        s++;
    }
    if (*s++ != '@' || !number(&s, base) || *s++ != ':' || !number(&s, gsi) || (*s != '\0' && *s != ':')) {
        return false;
    }
    return fits(*size, *base);
}

static void complain(const char *word, const char *why) {
    hal_console_log(word, strlen(word));
    hal_console_log(why, strlen(why));
}

static void examine(uint64_t size, uint64_t base, uint64_t gsi) {
    virtio_dev_t v = {.ops = &mmio_ops, .config_size = size - REG_CONFIG, .irq = -1, .irq_config = -1};
    v.bus.mmio.base = (volatile uint8_t *)(uintptr_t)base;
    v.bus.mmio.gsi = (unsigned)gsi;
    virtio_name(&v, "virtio-mmio", (uint32_t)base);
    if (get(&v, REG_MAGIC) != MAGIC) {
        complain(v.name, ": no virtio device there\n");
        return;
    }
    v.type = get(&v, REG_DEVICE_ID);
    if (v.type == 0) { // 4.2.2: a placeholder
        return;
    }
    uint32_t version = get(&v, REG_VERSION);
    v.legacy = version == LAYOUT_LEGACY;
    if (!v.legacy && version != LAYOUT_VERSION) {
        v.why = "register layout is neither version 1 nor 2";
        virtio_log(&v, v.why);
    }
    virtio_add(&v);
}

void virtio_mmio_discover(void) {
    char word[WORD_MAX];
    size_t pos = 0;
    uint64_t size, base, gsi;
    int len;
    bool named = false;
    while ((len = hal_cmdline_next("virtio_mmio.device", &pos, word, sizeof word)) >= 0) {
        named = true;
        if ((size_t)len < sizeof word && parse(word, &size, &base, &gsi)) {
            examine(size, base, gsi);
        } else {
            complain(word, ": virtio_mmio.device is SIZE@BASE:IRQ\n");
        }
    }
    for (unsigned n = 0; !named && hal_virtio_mmio(n, &base, &size, &gsi); n++) {
        if (fits(size, base)) {
            examine(size, base, gsi);
        }
    }
}
