// SPDX-License-Identifier: MIT
// A virtio device as the driver sees it: registers over mmio or PCI, and rings that the test works by
// hand, honestly or not. Knobs are plain members: the test sets them by name (harness.c).

#ifndef FAKE_DEVICE_H
#define FAKE_DEVICE_H

#include "virtqueue.h"

#include <stddef.h>

enum { FAKE_DEVICES = 20, FAKE_QUEUES = 16, FAKE_SEGS = 64 };

typedef struct {
    uint64_t max;        // what the device offers; 0: no such queue
    uint64_t notify_off; // PCI
    uint64_t vector, refuse_vector;
    uint64_t size, desc, avail, used, ready; // what the driver wrote
    uint64_t align;                          // the same, mmio's version 1
    uint64_t notified;
    uint16_t avail_seen, used_idx; // the device's own counters
} fake_queue_t;

typedef struct {
    bool pci;
    uint64_t base; // mmio registers, or BAR 4 (BAR 1, the MSI-X table, follows at + 0x8000)
    uint64_t bar_size[6];
    uint64_t magic, version, type, features, driver_features, status, irq_status, generation;
    uint64_t reset_stuck, features_refused, features_toggle, generation_moves, refuse_config_vector; // faults
    uint64_t multiplier;
    uint64_t page_size; // what the driver wrote, mmio's version 1
    uint64_t feature_sel, driver_sel, queue_sel, config_vector, accesses, resets, space_reads;
    uint8_t config[64];
    uint8_t space[256];    // PCI configuration space
    uint8_t msix[16 * 64]; // MSI-X table
    fake_queue_t queue[FAKE_QUEUES];
} fake_device_t;

typedef struct {
    uint8_t *base;
    uint32_t len;
    bool writable;
} fake_seg_t;

typedef struct {
    uint32_t head;
    unsigned count;
    fake_seg_t seg[FAKE_SEGS];
} fake_chain_t;

extern fake_device_t fake_device[FAKE_DEVICES];
extern unsigned fake_device_count;

fake_device_t *fake_mmio_new(uint64_t base, uint32_t type);
fake_device_t *fake_pci_new(uint32_t type);
void fake_pci_layout(fake_device_t *d); // write the honest capability list

// Work of an honest device on a queue.
bool fake_next_chain(fake_queue_t *q, fake_chain_t *out);
size_t fake_chain_writable(const fake_chain_t *c);
void fake_chain_write(const fake_chain_t *c, const uint8_t *data, size_t len);
void fake_used(fake_queue_t *q, uint32_t id, uint32_t len); // also with a lie as id or length
void fake_set_used_idx(fake_queue_t *q, uint16_t idx);
bool fake_wants_irq(const fake_queue_t *q, bool event_idx, uint16_t before); // used.idx was `before`
void fake_avail_event(fake_queue_t *q, uint16_t at);

#endif
