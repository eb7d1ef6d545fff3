// SPDX-License-Identifier: MIT
// A virtio 1.2 device, whatever carries it: finding it, the status dance of clause 3.1, configuration
// reads, queues, notifications, interrupts. A device without VERSION_1 is refused, but for mmio's first layout.
// Owns: the list of devices, found once. Not here: rings (virtqueue.h), what a device does (virtio_*.c).
// Context: main loop only. Every wait has a deadline. The host refused: one log line and -errno.

#ifndef FLOE_VIRTIO_H
#define FLOE_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "hal.h"
#include "virtqueue.h"

enum { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4 };            // clause 5
enum { VIRTIO_F_EVENT_IDX_BIT = 29, VIRTIO_F_VERSION_1_BIT = 32, VIRTIO_F_ACCESS_PLATFORM_BIT = 33 }; // clause 6
enum { VIRTIO_DEV_MAX = 16, VIRTIO_QUEUE_MAX = 16, VIRTIO_NAME_MAX = 24 };                            // ours
enum {                                                                                                // 2.1
    VIRTIO_STATUS_ACKNOWLEDGE = 0x01,
    VIRTIO_STATUS_DRIVER = 0x02,
    VIRTIO_STATUS_DRIVER_OK = 0x04,
    VIRTIO_STATUS_FEATURES_OK = 0x08,
    VIRTIO_STATUS_NEEDS_RESET = 0x40,
    VIRTIO_STATUS_FAILED = 0x80,
};

typedef struct virtio_dev virtio_dev_t;

// What a transport can do. Failing verbs return -errno and have said why with virtio_fail().
typedef struct {
    uint8_t (*get_status)(virtio_dev_t *v);
    void (*set_status)(virtio_dev_t *v, uint8_t status);
    uint64_t (*get_features)(virtio_dev_t *v);
    void (*set_features)(virtio_dev_t *v, uint64_t features);
    uint32_t (*get_generation)(virtio_dev_t *v);
    // One field of 1, 2 or 4 bytes. The caller has checked it against config_size.
    uint32_t (*get_config)(virtio_dev_t *v, unsigned offset, unsigned width);
    // Select a queue. Its largest size, 0 if there is none.
    uint32_t (*queue_select)(virtio_dev_t *v, unsigned index);
    int (*queue_enable)(virtio_dev_t *v, const virtq_t *q); // the selected one
    void (*notify)(virtio_dev_t *v, unsigned index);
    int (*irq_attach)(virtio_dev_t *v);
    // Acknowledge an interrupt that came, if any. True: the configuration may have changed.
    bool (*irq_take)(virtio_dev_t *v);
} virtio_ops_t;

typedef struct { // transport_mmio.c
    volatile uint8_t *base;
    unsigned gsi;
} virtio_mmio_t;

typedef struct { // transport_pci.c
    hal_pci_t fn;
    volatile uint8_t *common, *notify, *config, *msix;
    volatile uint8_t *notify_at[VIRTIO_QUEUE_MAX];
    size_t notify_size;
    uint32_t notify_multiplier;
    unsigned msix_cap, msix_vectors;
    uint16_t queue_vector;
} virtio_pci_t;

struct virtio_dev {
    const virtio_ops_t *ops;
    uint32_t type;      // VIRTIO_ID_*
    bool legacy;        // mmio's first register layout: no VERSION_1, no FEATURES_OK, no generation (4.2.4)
    uint64_t features;  // negotiated; before that ACCESS_PLATFORM, where it is offered
    size_t config_size; // bytes of device configuration
    int irq;            // queues; on mmio configuration changes too
    int irq_config;     // PCI: configuration changes; -1 on mmio
    const char *why;    // NULL while alive
    char name[VIRTIO_NAME_MAX];
    union {
        virtio_mmio_t mmio;
        virtio_pci_t pci;
    } bus;
};

// One value of the device configuration, `count` elements of `width` bytes (1, 2, 4) from `offset`.
typedef struct {
    uint16_t offset;
    uint8_t width, count;
    void *out;
} virtio_field_t;

// The next device of a type after `last`, NULL to start. NULL: no further one. Looks for devices once.
virtio_dev_t *virtio_next(uint32_t type, virtio_dev_t *last);

// 3.1.1 steps 1 to 4: reset, acknowledge, attach interrupts, read the offered features.
int virtio_reset(virtio_dev_t *v, uint64_t *offered);
// Steps 5 and 6. VERSION_1 is added. -ENOTSUP: the device does not accept the set.
int virtio_negotiate(virtio_dev_t *v, uint64_t features);
// Step 7, one queue of at most `most` descriptors (a power of two), smaller where the device's is.
int virtio_queue_open(virtio_dev_t *v, unsigned index, uint16_t most, virtq_t *q);
// Step 8: the device is live.
void virtio_start(virtio_dev_t *v);

// Read fields that belong together (2.5: again if the generation moved in between, a few times at most).
int virtio_config_read(virtio_dev_t *v, const virtio_field_t *fields, unsigned count);

// Notify the device of what was provided, if it wants that. True: one exit was spent.
bool virtio_kick(virtio_dev_t *v, virtq_t *q);

// Acknowledge interrupts; call it before virtq_arm, or a completion in between would be lost. 1: the
// configuration changed; 0: it did not; -EIO: the device is dead or asks for a reset.
int virtio_irq_service(virtio_dev_t *v);

// Declare the device dead: one log line, and it is reset so that it stops writing to our memory. Returns err.
int virtio_fail(virtio_dev_t *v, const char *why, int err);

// For the transports: enter a device; one with `why` set fails when its driver opens it. False: the
// list is full, which was logged.
bool virtio_add(const virtio_dev_t *v);
void virtio_log(const virtio_dev_t *v, const char *text);
void virtio_mmio_discover(void);
void virtio_pci_discover(void);
// "virtio-mmio" + at -> "virtio-mmio@feb00e00"; `text` is short and ours.
void virtio_name(virtio_dev_t *v, const char *text, uint32_t at);

#endif
