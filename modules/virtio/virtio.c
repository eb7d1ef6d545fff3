// SPDX-License-Identifier: MIT
// The part of virtio 1.2 that no transport and no device changes: clauses 2.1 to 2.5 and 3.1.
// Owns: the list of devices. Not here: registers (transport_*.c), rings (virtqueue.c).
// Context: main loop only; waits for a reset at most RESET_NS.

#include "virtio.h"

#include <string.h>

#define RESET_NS 100000000ull // 2.1.2 sets no bound; QEMU answers in one access

enum { CONFIG_TRIES = 8, LOG_MAX = 256 };

static virtio_dev_t devices[VIRTIO_DEV_MAX];
static unsigned device_count;
static bool discovered;

// Append text to a line that always keeps room for its newline.
static size_t append(char *line, size_t at, const char *text) {
    size_t n = strlen(text);
    if (n > LOG_MAX - 1 - at) {
        n = LOG_MAX - 1 - at;
    }
    memcpy(line + at, text, n);
    return at + n;
}

void virtio_log(const virtio_dev_t *v, const char *text) {
    char line[LOG_MAX];
    size_t n = append(line, 0, v->name);
    n = append(line, n, ": ");
    n = append(line, n, text);
    line[n++] = '\n';
    hal_console_log(line, n);
}

// Digits, without leading zeros, and a NUL. How many digits.
static size_t hex(char *out, uint64_t value) {
    size_t n = 0;
    for (int shift = 60; shift >= 0; shift -= 4) {
        if (value >> shift != 0 || shift == 0) {
            out[n++] = "0123456789abcdef"[value >> shift & 15];
        }
    }
    out[n] = '\0';
    return n;
}

void virtio_name(virtio_dev_t *v, const char *text, uint32_t at) {
    size_t n = 0;
    while (text[n] != '\0' && n < VIRTIO_NAME_MAX - 10) {
        v->name[n] = text[n];
        n++;
    }
    v->name[n++] = '@';
    hex(v->name + n, at);
}

bool virtio_add(const virtio_dev_t *v) {
    if (device_count == VIRTIO_DEV_MAX) {
        virtio_log(v, "too many devices");
        return false;
    }
    devices[device_count++] = *v;
    return true;
}

virtio_dev_t *virtio_next(uint32_t type, virtio_dev_t *last) {
    if (!discovered) {
        discovered = true;
        virtio_mmio_discover();
        virtio_pci_discover();
    }
    for (virtio_dev_t *v = last == NULL ? devices : last + 1; v < devices + device_count; v++) {
        if (v->type == type) {
            return v;
        }
    }
    return NULL;
}

int virtio_fail(virtio_dev_t *v, const char *why, int err) {
    if (v->why == NULL) {
        v->why = why;
        virtio_log(v, why);
        v->ops->set_status(v, 0);
    }
    return err;
}

int virtio_reset(virtio_dev_t *v, uint64_t *offered) {
    uint64_t deadline = hal_clock_ns() + RESET_NS;
    if (v->why != NULL) {
        return -EIO;
    }
    v->ops->set_status(v, 0);
    while (v->ops->get_status(v) != 0) {
        if (hal_clock_ns() > deadline) {
            return virtio_fail(v, "reset not acknowledged", -ETIMEDOUT);
        }
    }
    // One bit at a time: Firecracker refuses both at once.
    v->ops->set_status(v, VIRTIO_STATUS_ACKNOWLEDGE);
    v->ops->set_status(v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    int r = v->ops->irq_attach(v);
    if (r < 0) {
        return virtio_fail(v, "no interrupt to be had", r);
    }
    *offered = v->ops->get_features(v);
    if (!v->legacy && (*offered & BIT64(VIRTIO_F_VERSION_1_BIT)) == 0) {
        return virtio_fail(v, "legacy device, virtio 1.x is needed", -ENOTSUP);
    }
    v->features = *offered & BIT64(VIRTIO_F_ACCESS_PLATFORM_BIT);
    return 0;
}

// Bits 33 to 40 of clause 6, whatever the device is.
enum { FIRST_NAMED_BIT = 33, LAST_NAMED_BIT = 40 };
static const char feature_names[] =
    "ACCESS_PLATFORM\0RING_PACKED\0IN_ORDER\0ORDER_PLATFORM\0SR_IOV\0NOTIFICATION_DATA\0"
    "NOTIF_CONFIG_DATA\0RING_RESET";

// The device insists on something: it is among what we left out.
static int refuse(virtio_dev_t *v) {
    char why[56 + sizeof(feature_names)] = "features refused; it offers, too, 0x"; // room for all 64 and the names
    uint64_t left_out = v->ops->get_features(v) & ~v->features;
    hex(why + strlen(why), left_out);
    const char *name = feature_names;
    for (unsigned bit = FIRST_NAMED_BIT; bit <= LAST_NAMED_BIT; bit++, name += strlen(name) + 1) {
        if ((left_out & BIT64(bit)) != 0) {
            size_t len = strlen(why);
            why[len] = ' ';
            strcpy(why + len + 1, name);
        }
    }
    int r = virtio_fail(v, why, -ENOTSUP);
    v->why = "features refused";
    return r;
}

int virtio_negotiate(virtio_dev_t *v, uint64_t features) {
    uint8_t status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK;
    if (v->legacy) {
        v->features = features;
        v->ops->set_features(v, features);
        return 0;
    }
    // An IOMMU that nobody has programmed lets every address through: ours stay physical ones.
    v->features |= features | BIT64(VIRTIO_F_VERSION_1_BIT);
    v->ops->set_features(v, v->features);
    v->ops->set_status(v, status);
    if (v->ops->get_status(v) != status) {
        return refuse(v);
    }
    return 0;
}

int virtio_queue_open(virtio_dev_t *v, unsigned index, uint16_t most, virtq_t *q) {
    hal_assert(index < VIRTIO_QUEUE_MAX);
    uint32_t size = v->ops->queue_select(v, index);
    if (size == 0) {
        return virtio_fail(v, "queue missing", -ENODEV);
    }
    if (size > VIRTQ_SIZE_MAX || (size & (size - 1)) != 0) {
        return virtio_fail(v, "queue size is no power of two", -EINVAL);
    }
    bool event_idx = (v->features & BIT64(VIRTIO_F_EVENT_IDX_BIT)) != 0;
    int r = virtq_init(q, (uint16_t)index, size < most ? size : most, event_idx);
    if (r < 0) {
        return virtio_fail(v, "no memory for a queue", r);
    }
    return v->ops->queue_enable(v, q);
}

void virtio_start(virtio_dev_t *v) {
    uint8_t agreed = v->legacy ? 0 : VIRTIO_STATUS_FEATURES_OK;
    v->ops->set_status(v, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | agreed | VIRTIO_STATUS_DRIVER_OK);
}

static void read_field(virtio_dev_t *v, const virtio_field_t *f) {
    for (unsigned i = 0; i < f->count; i++) {
        uint32_t value = v->ops->get_config(v, f->offset + i * f->width, f->width);
        memcpy((uint8_t *)f->out + i * f->width, &value, f->width); // both sides are little-endian
    }
}

int virtio_config_read(virtio_dev_t *v, const virtio_field_t *fields, unsigned count) {
    if (v->why != NULL) {
        return -EIO;
    }
    for (unsigned i = 0; i < count; i++) {
        if (fields[i].offset + (size_t)fields[i].width * fields[i].count > v->config_size) {
            return virtio_fail(v, "configuration space too small", -EIO);
        }
    }
    for (int attempt = 0; attempt < CONFIG_TRIES; attempt++) {
        uint32_t before = v->ops->get_generation(v);
        for (unsigned i = 0; i < count; i++) {
            read_field(v, &fields[i]);
        }
        if (v->ops->get_generation(v) == before) {
            return 0;
        }
    }
    return virtio_fail(v, "configuration never stable", -EIO);
}

bool virtio_kick(virtio_dev_t *v, virtq_t *q) {
    if (v->why != NULL || !virtq_kick_needed(q)) {
        return false;
    }
    v->ops->notify(v, q->index);
    return true;
}

int virtio_irq_service(virtio_dev_t *v) {
    if (v->why != NULL) {
        return -EIO;
    }
    if (!v->ops->irq_take(v)) {
        return 0;
    }
    if ((v->ops->get_status(v) & VIRTIO_STATUS_NEEDS_RESET) != 0) {
        return virtio_fail(v, "device needs a reset", -EIO);
    }
    return 1;
}
