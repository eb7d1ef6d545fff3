// SPDX-License-Identifier: MIT
// virtio over PCI, virtio 1.2 clause 4.1, modern interface; interrupts by MSI-X (PCI Local Bus 3.0, 6.8.2).
// Owns: nothing. Not here: configuration cycles and BAR assignment (hal.h), the dance (virtio.c); INTx.
// Context: main loop only. Where a structure lies is the device's word: each is checked against its BAR.

#include "virtio.h"

enum { VENDOR_VIRTIO = 0x1af4, DEVICE_TRANSITIONAL = 0x1000, DEVICE_MODERN = 0x1040, DEVICE_LAST = 0x107f }; // 4.1.2
enum { PCI_STATUS = 0x06, PCI_SUBSYSTEM = 0x2e, PCI_CAP_POINTER = 0x34, PCI_STATUS_CAPS_BIT = 4 };
enum { CAP_VENDOR = 0x09, CAP_MSIX = 0x11, CAP_FIRST = 0x40, CAP_MOST = 48 }; // 48 fill the 192 bytes there are
enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_DEVICE = 4 };                      // 4.1.4
enum { CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_MULTIPLIER = 16, PCI_SPACE = 256 };
enum { MSIX_ENABLE_BIT = 31, MSIX_ENTRY = 16, MSIX_COUNT_SHIFT = 16, MSIX_COUNT_MASK = 0x7ff, NO_VECTOR = 0xffff };
enum { // 4.1.4.3
    COMMON_DEVICE_FEATURE_SEL = 0x00,
    COMMON_DEVICE_FEATURE = 0x04,
    COMMON_DRIVER_FEATURE_SEL = 0x08,
    COMMON_DRIVER_FEATURE = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10,
    COMMON_STATUS = 0x14,
    COMMON_GENERATION = 0x15,
    COMMON_QUEUE_SEL = 0x16,
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_QUEUE_NOTIFY_OFF = 0x1e,
    COMMON_QUEUE_DESC = 0x20,
    COMMON_QUEUE_DRIVER = 0x28,
    COMMON_QUEUE_DEVICE = 0x30,
    COMMON_SIZE = 0x38,
};

// The BARs of the device under examination: each is assigned and sized once.
typedef struct {
    const hal_pci_t *fn;
    volatile uint8_t *base[6];
    size_t size[6];
    uint8_t asked;
} bars_t;

static uint32_t get32(virtio_dev_t *v, unsigned reg) { return hal_mmio_read32(v->bus.pci.common + reg); }
static uint16_t get16(virtio_dev_t *v, unsigned reg) { return hal_mmio_read16(v->bus.pci.common + reg); }
static void set32(virtio_dev_t *v, unsigned reg, uint32_t x) { hal_mmio_write32(v->bus.pci.common + reg, x); }
static void set16(virtio_dev_t *v, unsigned reg, uint16_t x) { hal_mmio_write16(v->bus.pci.common + reg, x); }

static void set64(virtio_dev_t *v, unsigned reg, const void *address) { // 4.1.3.1: in two halves
    uint64_t a = hal_physical(address);
    set32(v, reg, (uint32_t)a);
    set32(v, reg + 4, (uint32_t)(a >> 32));
}

static uint8_t pci_get_status(virtio_dev_t *v) { return hal_mmio_read8(v->bus.pci.common + COMMON_STATUS); }
static void pci_set_status(virtio_dev_t *v, uint8_t s) { hal_mmio_write8(v->bus.pci.common + COMMON_STATUS, s); }
static uint32_t pci_get_generation(virtio_dev_t *v) { return hal_mmio_read8(v->bus.pci.common + COMMON_GENERATION); }

static uint64_t pci_get_features(virtio_dev_t *v) {
    set32(v, COMMON_DEVICE_FEATURE_SEL, 1);
    uint64_t high = get32(v, COMMON_DEVICE_FEATURE);
    set32(v, COMMON_DEVICE_FEATURE_SEL, 0);
    return high << 32 | get32(v, COMMON_DEVICE_FEATURE);
}

static void pci_set_features(virtio_dev_t *v, uint64_t features) {
    set32(v, COMMON_DRIVER_FEATURE_SEL, 1);
    set32(v, COMMON_DRIVER_FEATURE, (uint32_t)(features >> 32));
    set32(v, COMMON_DRIVER_FEATURE_SEL, 0);
    set32(v, COMMON_DRIVER_FEATURE, (uint32_t)features);
}

static uint32_t pci_get_config(virtio_dev_t *v, unsigned offset, unsigned width) {
    const volatile uint8_t *at = v->bus.pci.config + offset;
    return width == 1 ? hal_mmio_read8(at) : width == 2 ? hal_mmio_read16(at) : hal_mmio_read32(at);
}

static uint32_t pci_queue_select(virtio_dev_t *v, unsigned index) {
    set16(v, COMMON_QUEUE_SEL, (uint16_t)index);
    return get16(v, COMMON_QUEUE_SIZE);
}

static int pci_queue_enable(virtio_dev_t *v, const virtq_t *q) {
    virtio_pci_t *p = &v->bus.pci;
    uint64_t at = (uint64_t)get16(v, COMMON_QUEUE_NOTIFY_OFF) * p->notify_multiplier;
    if (at + sizeof(uint16_t) > p->notify_size || at % sizeof(uint16_t) != 0) {
        return virtio_fail(v, "notification address outside its structure", -EIO);
    }
    p->notify_at[q->index] = p->notify + at;
    set16(v, COMMON_QUEUE_SIZE, q->size);
    set16(v, COMMON_QUEUE_VECTOR, p->queue_vector);
    if (get16(v, COMMON_QUEUE_VECTOR) != p->queue_vector) { // 4.1.5.1.2.2
        return virtio_fail(v, "queue interrupt refused", -EIO);
    }
    set64(v, COMMON_QUEUE_DESC, q->desc);
    set64(v, COMMON_QUEUE_DRIVER, q->avail);
    set64(v, COMMON_QUEUE_DEVICE, q->used);
    set16(v, COMMON_QUEUE_ENABLE, 1);
    return 0;
}

static void pci_notify(virtio_dev_t *v, unsigned index) {
    hal_mmio_write16(v->bus.pci.notify_at[index], (uint16_t)index);
}

// Route one table entry to a fresh irq.
static int msix_route(virtio_dev_t *v, unsigned vector) {
    uint64_t addr;
    uint32_t data;
    int irq = hal_irq_msi(&addr, &data);
    if (irq >= 0) {
        volatile uint8_t *entry = v->bus.pci.msix + vector * MSIX_ENTRY;
        hal_mmio_write32(entry, (uint32_t)addr);
        hal_mmio_write32(entry + 4, (uint32_t)(addr >> 32));
        hal_mmio_write32(entry + 8, data);
        hal_mmio_write32(entry + 12, 0); // unmasked
    }
    return irq;
}

// One vector for configuration changes and one for all queues; a device with a single one shares it.
static int pci_irq_attach(virtio_dev_t *v) {
    virtio_pci_t *p = &v->bus.pci;
    p->queue_vector = p->msix_vectors > 1 ? 1 : 0;
    v->irq_config = msix_route(v, 0);
    v->irq = p->queue_vector == 0 ? v->irq_config : msix_route(v, p->queue_vector);
    if (v->irq_config < 0 || v->irq < 0) {
        return -ENOSPC;
    }
    uint32_t control = hal_pci_read32(&p->fn, p->msix_cap);
    hal_pci_write32(&p->fn, p->msix_cap, (control | 1u << MSIX_ENABLE_BIT) & ~(1u << (MSIX_ENABLE_BIT - 1)));
    set16(v, COMMON_CONFIG_VECTOR, 0);
    return get16(v, COMMON_CONFIG_VECTOR) == NO_VECTOR ? -EIO : 0;
}

static bool pci_irq_take(virtio_dev_t *v) {
    bool queues = hal_irq_take(v->irq); // nothing to acknowledge: a message, not a line
    return v->irq == v->irq_config ? queues : hal_irq_take(v->irq_config);
}

static const virtio_ops_t pci_ops = {
    .get_status = pci_get_status,
    .set_status = pci_set_status,
    .get_features = pci_get_features,
    .set_features = pci_set_features,
    .get_generation = pci_get_generation,
    .get_config = pci_get_config,
    .queue_select = pci_queue_select,
    .queue_enable = pci_queue_enable,
    .notify = pci_notify,
    .irq_attach = pci_irq_attach,
    .irq_take = pci_irq_take,
};

// Address of [offset, offset + length) in a BAR; NULL unless it lies inside and is aligned.
static volatile uint8_t *locate(bars_t *b, unsigned bar, uint32_t offset, uint64_t length, unsigned align) {
    if (bar > 5 || offset % align != 0) {
        return NULL;
    }
    if ((b->asked >> bar & 1) == 0) {
        b->asked |= (uint8_t)(1u << bar);
        b->base[bar] = hal_pci_bar(b->fn, bar, &b->size[bar]);
    }
    return b->base[bar] != NULL && offset + length <= b->size[bar] ? b->base[bar] + offset : NULL;
}

// 4.1.4: one vendor capability. The first of a kind counts.
static const char *take_structure(virtio_dev_t *v, bars_t *b, unsigned cap, unsigned kind) {
    virtio_pci_t *p = &v->bus.pci;
    if ((kind == CFG_COMMON && p->common != NULL) || (kind == CFG_NOTIFY && p->notify != NULL) ||
        (kind == CFG_DEVICE && p->config != NULL)) {
        return NULL;
    }
    if (cap + CAP_MULTIPLIER + (kind == CFG_NOTIFY ? 4 : 0) > PCI_SPACE) {
        return "capability beyond the configuration space";
    }
    unsigned bar = hal_pci_read8(&p->fn, cap + CAP_BAR);
    uint32_t offset = hal_pci_read32(&p->fn, cap + CAP_OFFSET), length = hal_pci_read32(&p->fn, cap + CAP_LENGTH);
    volatile uint8_t *at = locate(b, bar, offset, length, kind == CFG_NOTIFY ? 2 : 4);
    if (at == NULL || (kind == CFG_COMMON && length < COMMON_SIZE)) {
        return "structure outside its BAR";
    }
    if (kind == CFG_COMMON) {
        p->common = at;
    } else if (kind == CFG_DEVICE) {
        p->config = at;
        v->config_size = length;
    } else {
        p->notify = at;
        p->notify_size = length;
        p->notify_multiplier = hal_pci_read32(&p->fn, cap + CAP_MULTIPLIER);
    }
    return NULL;
}

static const char *take_msix(virtio_dev_t *v, bars_t *b, unsigned cap, uint32_t head) {
    virtio_pci_t *p = &v->bus.pci;
    uint32_t table = cap + 8 <= PCI_SPACE ? hal_pci_read32(&p->fn, cap + 4) : UINT32_MAX;
    p->msix_cap = cap;
    p->msix_vectors = (head >> MSIX_COUNT_SHIFT & MSIX_COUNT_MASK) + 1;
    p->msix = locate(b, table & 7, table & ~7u, (uint64_t)p->msix_vectors * MSIX_ENTRY, 8);
    return p->msix == NULL ? "MSI-X table outside its BAR" : NULL;
}

// Walk the capability list. NULL, or what is wrong with it.
static const char *walk(virtio_dev_t *v, bars_t *b) {
    const hal_pci_t *fn = &v->bus.pci.fn;
    unsigned cap = 0, visited = 0;
    if ((hal_pci_read16(fn, PCI_STATUS) >> PCI_STATUS_CAPS_BIT & 1) != 0) {
        cap = hal_pci_read8(fn, PCI_CAP_POINTER) & ~3u;
    }
    for (; cap >= CAP_FIRST; visited++) {
        if (visited == CAP_MOST) {
            return "capability list loops";
        }
        const char *why = NULL;
        uint32_t head = hal_pci_read32(fn, cap);
        unsigned kind = head >> 24;
        if ((head & 0xff) == CAP_MSIX && v->bus.pci.msix == NULL) {
            why = take_msix(v, b, cap, head);
        } else if ((head & 0xff) == CAP_VENDOR && (kind == CFG_COMMON || kind == CFG_NOTIFY || kind == CFG_DEVICE)) {
            why = take_structure(v, b, cap, kind);
        }
        if (why != NULL) {
            return why;
        }
        cap = head >> 8 & 0xfc;
    }
    const virtio_pci_t *p = &v->bus.pci;
    if (p->common == NULL || p->notify == NULL) {
        return "no virtio 1.x interface: disable-modern=off has it";
    }
    return p->msix == NULL ? "no MSI-X" : NULL;
}

static bool visit(const hal_pci_t *d, void *arg) {
    (void)arg;
    if (d->vendor != VENDOR_VIRTIO || d->device < DEVICE_TRANSITIONAL || d->device > DEVICE_LAST) {
        return false;
    }
    virtio_dev_t v = {.ops = &pci_ops, .irq = -1, .irq_config = -1};
    v.type = d->device >= DEVICE_MODERN ? d->device - DEVICE_MODERN : hal_pci_read16(d, PCI_SUBSYSTEM);
    if (v.type != VIRTIO_ID_NET && v.type != VIRTIO_ID_BLOCK && v.type != VIRTIO_ID_CONSOLE &&
        v.type != VIRTIO_ID_RNG) {
        return false; // each look into it would cost exits
    }
    v.bus.pci.fn = *d;
    virtio_name(&v, "virtio-pci", (uint32_t)d->bus << 8 | (uint32_t)d->dev << 3 | d->fn);
    bars_t bars = {.fn = d};
    v.why = walk(&v, &bars);
    if (v.why != NULL) {
        virtio_log(&v, v.why);
    }
    return !virtio_add(&v);
}

void virtio_pci_discover(void) { hal_pci_scan(visit, NULL); }
