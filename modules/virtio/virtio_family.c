// SPDX-License-Identifier: MIT
// The family's line, virtio 1.2 clause 5.3: port 1 of the second console device; the first one has the console.
// Owns: the buffers of both directions. Not here: frames (modules/family), opening a port (virtio_console_ctrl.c).
// Context: main loop only; nothing waits. Without such a device there is no family.

#include <string.h>

#include "familydev.h"
#include "virtio_console_ctrl.h"

enum { F_MULTIPORT_BIT = 1 };                      // 5.3.3
enum { PORT = 1, PORT_RX = 4, PORT_TX = 5 };       // 5.3.2
enum { RX_COUNT = 8, TX_COUNT = 8, BYTES = 4096 }; // powers of two; the longest frame needs 5

typedef struct {
    familydev_t dev; // first: the contract's verbs get this
    virtio_dev_t *v;
    virtq_t rxq, txq;
    vcon_ctrl_t ctrl;
    bool open;
    uint8_t *buffers; // RX_COUNT + TX_COUNT of BYTES
    uint8_t *tx_free[TX_COUNT];
    unsigned tx_free_count;
    bool tx_refused; // somebody waits for room
    uint8_t *held;   // received, not all of it taken
    uint32_t held_at, held_len;
} vfam_t;

static vfam_t fam; // a VM is in one family

static vfam_t *self(familydev_t *d) { return (vfam_t *)d; }

static void vfam_die(vfam_t *f, const char *why) {
    f->dev.dead = true;
    virtio_fail(f->v, why, -EIO);
}

static bool tx_reclaim(vfam_t *f) {
    void *buf;
    uint32_t len;
    bool any = false;
    int r;
    while ((r = virtq_take(&f->txq, &buf, &len)) == 0) {
        f->tx_free[f->tx_free_count++] = buf;
        f->tx_refused = false;
        any = true;
    }
    if (r == -EIO && !f->dev.dead) {
        vfam_die(f, f->txq.why);
    }
    return any;
}

static bool vfam_room(familydev_t *d, size_t len) {
    vfam_t *f = self(d);
    tx_reclaim(f);
    f->tx_refused = (len + BYTES - 1) / BYTES > f->tx_free_count;
    return !f->dev.dead && f->open && !f->tx_refused;
}

static bool vfam_send(familydev_t *d, const void *head, size_t n, const void *data, size_t len) {
    vfam_t *f = self(d);
    hal_assert(0 < n && n <= BYTES);
    if (!vfam_room(d, n + len)) {
        return false;
    }
    size_t first = len < BYTES - n ? len : BYTES - n, rest = len - first;
    const uint8_t *from = data;
    for (size_t filled = n + first; filled > 0;) {
        uint8_t *buf = f->tx_free[--f->tx_free_count];
        if (n > 0) {
            memcpy(buf, head, n);
        }
        if (filled > n) {
            memcpy(buf + n, from, filled - n);
        }
        virtq_buf_t seg = {buf, (uint32_t)filled};
        int r = virtq_provide(&f->txq, &seg, 1, 0, buf);
        hal_assert(r == 0); // there is a descriptor for each buffer
        from += filled - n;
        n = 0;
        filled = rest < BYTES ? rest : BYTES;
        rest -= filled;
    }
    virtio_kick(f->v, &f->txq);
    return true;
}

static void rx_post(vfam_t *f, uint8_t *buf) {
    virtq_buf_t seg = {buf, BYTES};
    int r = virtq_provide(&f->rxq, &seg, 0, 1, buf);
    hal_assert(r == 0 || r == -EIO); // there is a descriptor for each buffer
}

static size_t vfam_receive(familydev_t *d, void *out, size_t size) {
    vfam_t *f = self(d);
    if (f->held == NULL) {
        void *buf;
        int r = f->dev.dead ? -EIO : virtq_take(&f->rxq, &buf, &f->held_len);
        if (r == -EIO && !f->dev.dead) {
            vfam_die(f, f->rxq.why);
        }
        if (r < 0) {
            return 0;
        }
        f->held = buf;
        f->held_at = 0;
    }
    size_t n = f->held_len - f->held_at < size ? f->held_len - f->held_at : size;
    memcpy(out, f->held + f->held_at, n);
    f->held_at += (uint32_t)n;
    if (f->held_at == f->held_len) {
        rx_post(f, f->held);
        f->held = NULL;
        virtio_kick(f->v, &f->rxq);
    }
    return n;
}

// Find and open the port. True: something happened.
static bool start_run(vfam_t *f) {
    switch (virtio_console_ctrl_run(&f->ctrl)) {
        case VCON_CTRL_NOTHING:
            return false;
        case VCON_CTRL_OPENED:
            f->open = true;
            return true;
        case VCON_CTRL_DEAD:
            vfam_die(f, f->ctrl.rxq.why != NULL ? f->ctrl.rxq.why : f->ctrl.txq.why);
            return true;
        default:
            vfam_die(f, "the family's port is not there");
            return true;
    }
}

static bool vfam_run(familydev_t *d) {
    vfam_t *f = self(d);
    if (f->dev.dead) {
        return false;
    }
    if (!f->open || f->ctrl.said < f->ctrl.due) {
        return start_run(f);
    }
    if (virtio_console_ctrl_lost(&f->ctrl)) {
        vfam_die(f, f->ctrl.rxq.why != NULL ? f->ctrl.rxq.why : "the host has closed the family's port");
        return true;
    }
    virtio_kick(f->v, &f->ctrl.rxq);
    return tx_reclaim(f);
}

static uint64_t vfam_deadline(const familydev_t *d) {
    const vfam_t *f = (const vfam_t *)d;
    return f->dev.dead || f->open ? UINT64_MAX : f->ctrl.deadline;
}

static bool vfam_arm(familydev_t *d) {
    vfam_t *f = self(d);
    if (f->dev.dead) {
        return false;
    }
    if (virtio_irq_service(f->v) < 0) {
        f->dev.dead = true;
        return true; // whoever waits is to hear of it
    }
    bool work = virtio_console_ctrl_arm(&f->ctrl);
    work |= virtq_arm(&f->ctrl.rxq, 1); // the port may be closed
    work |= f->held != NULL || virtq_arm(&f->rxq, 1);
    if (f->tx_refused) {
        work |= virtq_arm(&f->txq, 1);
    }
    return work;
}

static bool vfam_busy(const familydev_t *d) {
    const vfam_t *f = (const vfam_t *)d;
    return !f->dev.dead && f->txq.outstanding > 0;
}

static const familydev_ops_t ops = {vfam_send, vfam_receive, vfam_run, vfam_deadline, vfam_arm, vfam_busy, vfam_room};

static int vfam_open(vfam_t *f) {
    virtio_dev_t *v = f->v;
    uint64_t offered = 0, wanted = BIT64(F_MULTIPORT_BIT);
    int r = virtio_reset(v, &offered);
    if (r < 0) {
        return r;
    }
    if ((offered & wanted) != wanted) {
        return virtio_fail(v, "the family's device has one port only", -ENOTSUP);
    }
    if ((r = virtio_negotiate(v, offered & (wanted | BIT64(VIRTIO_F_EVENT_IDX_BIT)))) < 0 ||
        (r = virtio_console_ctrl_open(&f->ctrl, v, PORT)) < 0 ||
        (r = virtio_queue_open(v, PORT_RX, RX_COUNT, &f->rxq)) < 0 ||
        (r = virtio_queue_open(v, PORT_TX, TX_COUNT, &f->txq)) < 0) {
        return r;
    }
    if ((f->buffers = hal_mem_dma((RX_COUNT + TX_COUNT) * BYTES, HAL_PAGE_SIZE)) == NULL) {
        return virtio_fail(v, "no memory for buffers", -ENOMEM);
    }
    for (unsigned i = 0; i < f->rxq.size; i++) {
        rx_post(f, f->buffers + i * BYTES);
    }
    for (; f->tx_free_count < f->txq.size; f->tx_free_count++) {
        f->tx_free[f->tx_free_count] = f->buffers + (RX_COUNT + f->tx_free_count) * BYTES;
    }
    virtio_start(v);
    virtio_kick(v, &f->rxq);
    virtio_console_ctrl_start(&f->ctrl);
    f->dev.ops = &ops;
    familydev_register(&f->dev);
    return 1;
}

static int vfam_probe(void) {
    virtio_dev_t *console = virtio_next(VIRTIO_ID_CONSOLE, NULL);
    fam.v = console == NULL ? NULL : virtio_next(VIRTIO_ID_CONSOLE, console);
    return fam.v == NULL ? 0 : vfam_open(&fam);
}

const hal_driver_t virtio_family_driver = {"virtio-family", vfam_probe};
