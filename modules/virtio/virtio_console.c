// SPDX-License-Identifier: MIT
// Console, virtio 1.2 clause 5.3: a sink for hal_console_attach and the source of its input, over one port. With
// MULTIPORT that is port 1 if it is there: QEMU holds back what a slow host has not read on a serial port, which has
// numbers from 1 on, and drops it on a console port. Else another port, or port 0 without MULTIPORT.
// Owns: the buffers of both directions. Not here: the console's ring buffer and line discipline
// (port/hal/console.c), opening a port (virtio_console_ctrl.c).
// Context: main loop only; nothing waits. A host that does not read leaves our buffers full, and send takes 0.

#include <string.h>

#include "virtio_console_ctrl.h"

enum { F_MULTIPORT_BIT = 1, MAX_NR_PORTS = 4 };    // 5.3.3, 5.3.4
enum { FIRST_PORT = 1 };                           // to be looked for
enum { RX_COUNT = 4, TX_COUNT = 8, BYTES = 4096 }; // powers of two

typedef struct {
    virtio_dev_t *v;
    virtq_t rxq, txq;
    bool multiport, open; // output may leave once the port is open
    vcon_ctrl_t ctrl;     // with MULTIPORT
    uint8_t *buffers;     // RX_COUNT + TX_COUNT of BYTES
    uint8_t *tx_free[TX_COUNT];
    unsigned tx_free_count;
    bool tx_refused; // send could not take everything and waits for room
    uint8_t *held;   // received, not all of it fits into the console's input
    uint32_t held_at, held_len;
} vcon_t;

static vcon_t con; // a VM has one console

static int vcon_die(vcon_t *c, const char *why) {
    hal_console_attach(NULL); // back to the 16550, which shall print the reason
    return virtio_fail(c->v, why, -EIO);
}

// Buffers the host has read are ours again. True: there were some.
static bool tx_reclaim(vcon_t *c) {
    void *buf;
    uint32_t len;
    bool any = false;
    int r;
    while ((r = virtq_take(&c->txq, &buf, &len)) == 0) {
        c->tx_free[c->tx_free_count++] = buf;
        c->tx_refused = false;
        any = true;
    }
    if (r == -EIO && c->v->why == NULL) {
        vcon_die(c, c->txq.why);
    }
    return any;
}

static size_t vcon_send(void *ctx, const void *data, size_t len) {
    vcon_t *c = ctx;
    size_t done = 0;
    tx_reclaim(c);
    if (c->v->why != NULL || !c->open) {
        return 0;
    }
    while (done < len && c->tx_free_count > 0) {
        uint8_t *buf = c->tx_free[--c->tx_free_count];
        uint32_t n = len - done < BYTES ? (uint32_t)(len - done) : BYTES;
        memcpy(buf, (const uint8_t *)data + done, n);
        virtq_buf_t seg = {buf, n};
        int r = virtq_provide(&c->txq, &seg, 1, 0, buf);
        hal_assert(r == 0); // there is a descriptor for each buffer
        done += n;
    }
    c->tx_refused = done < len;
    virtio_kick(c->v, &c->txq);
    return done;
}

static bool vcon_send_idle(void *ctx) {
    vcon_t *c = ctx;
    tx_reclaim(c);
    return c->v->why != NULL || c->txq.outstanding == 0;
}

static void rx_post(vcon_t *c, uint8_t *buf) {
    virtq_buf_t seg = {buf, BYTES};
    int r = virtq_provide(&c->rxq, &seg, 0, 1, buf);
    hal_assert(r == 0 || r == -EIO); // there is a descriptor for each buffer
}

// Pass on what is held. True: all of it went, the buffer is with the device again.
static bool rx_feed(vcon_t *c) {
    c->held_at += (uint32_t)hal_console_input(c->held + c->held_at, c->held_len - c->held_at);
    if (c->held_at < c->held_len) {
        return false;
    }
    rx_post(c, c->held);
    c->held = NULL;
    return true;
}

static bool rx_run(vcon_t *c) {
    bool any = false;
    for (unsigned i = 0; i <= RX_COUNT; i++) { // a fast host does not hold the loop
        if (c->held != NULL) {
            uint32_t before = c->held_at;
            bool all = rx_feed(c);
            any |= all || c->held_at != before;
            if (!all) {
                break;
            }
        }
        void *buf;
        int r = virtq_take(&c->rxq, &buf, &c->held_len);
        if (r == -EIO) {
            vcon_die(c, c->rxq.why);
        }
        if (r < 0) {
            break;
        }
        c->held = buf;
        c->held_at = 0;
    }
    virtio_kick(c->v, &c->rxq);
    return any;
}

// Whether `port` can be had at all: MULTIPORT is offered and counts that far. -errno: the device has failed.
static int has_port(virtio_dev_t *v, uint64_t offered, unsigned port) {
    uint32_t ports = 0;
    virtio_field_t field = {MAX_NR_PORTS, sizeof ports, 1, &ports};
    if (port == 0 || (offered & BIT64(F_MULTIPORT_BIT)) == 0) {
        return 0;
    }
    int r = virtio_config_read(v, &field, 1);
    return r < 0 ? r : ports > port;
}

// Reset the device and use `port`; port 0, or one that cannot be had: the only one without MULTIPORT. Buffers are
// kept from one call to the next. -errno: the device has failed and said so.
static int vcon_open(vcon_t *c, unsigned port) {
    virtio_dev_t *v = c->v;
    uint64_t offered = 0, features = BIT64(VIRTIO_F_EVENT_IDX_BIT);
    int r = virtio_reset(v, &offered);
    if (r < 0 || (r = has_port(v, offered, port)) < 0) {
        return r;
    }
    c->multiport = r > 0;
    features |= c->multiport ? BIT64(F_MULTIPORT_BIT) : 0;
    unsigned rx = c->multiport ? 2 + 2 * port : 0; // 5.3.2
    if ((r = virtio_negotiate(v, offered & features)) < 0 ||
        (c->multiport && (r = virtio_console_ctrl_open(&c->ctrl, v, port)) < 0) ||
        (r = virtio_queue_open(v, rx, RX_COUNT, &c->rxq)) < 0 ||
        (r = virtio_queue_open(v, rx + 1, TX_COUNT, &c->txq)) < 0) {
        return r;
    }
    if (c->buffers == NULL && (c->buffers = hal_mem_dma((RX_COUNT + TX_COUNT) * BYTES, HAL_PAGE_SIZE)) == NULL) {
        return virtio_fail(v, "no memory for buffers", -ENOMEM);
    }
    for (unsigned i = 0; i < c->rxq.size; i++) {
        rx_post(c, c->buffers + i * BYTES);
    }
    for (c->tx_free_count = 0; c->tx_free_count < c->txq.size; c->tx_free_count++) {
        c->tx_free[c->tx_free_count] = c->buffers + (RX_COUNT + c->tx_free_count) * BYTES;
    }
    c->held = NULL;
    c->open = !c->multiport;
    virtio_start(v);
    virtio_kick(v, &c->rxq);
    if (c->multiport) {
        virtio_console_ctrl_start(&c->ctrl);
    }
    return 0;
}

// Look after the port itself. True: something happened.
static bool ctrl_run(vcon_t *c) {
    int r;
    switch (virtio_console_ctrl_run(&c->ctrl)) {
        case VCON_CTRL_OPENED:
            c->open = true;
            return true;
        case VCON_CTRL_ABSENT:
            r = vcon_open(c, c->ctrl.port == FIRST_PORT ? c->ctrl.other : 0); // one more try, then the plain way
            if (r < 0) {
                hal_console_attach(NULL);
            }
            return true;
        case VCON_CTRL_REMOVED:
            vcon_die(c, "the console's port was removed");
            return true;
        case VCON_CTRL_DEAD:
            vcon_die(c, c->ctrl.rxq.why != NULL ? c->ctrl.rxq.why : c->ctrl.txq.why);
            return true;
        default:
            return false;
    }
}

static bool vcon_run(void *arg) {
    vcon_t *c = arg;
    if (c->v->why != NULL) {
        return false;
    }
    bool any = c->multiport && ctrl_run(c);
    if (c->v->why != NULL) {
        return any;
    }
    any |= tx_reclaim(c);
    return rx_run(c) || any;
}

static uint64_t vcon_deadline(void *arg) {
    const vcon_t *c = arg;
    return c->v->why == NULL && !c->open ? c->ctrl.deadline : UINT64_MAX;
}

// While input is held for want of room, more of it must not wake anyone.
static bool vcon_arm(void *arg) {
    vcon_t *c = arg;
    if (c->v->why != NULL) {
        return false;
    }
    if (virtio_irq_service(c->v) < 0) {
        hal_console_attach(NULL);
        return false;
    }
    bool work = c->multiport && virtio_console_ctrl_arm(&c->ctrl);
    work |= c->held == NULL && virtq_arm(&c->rxq, 1);
    if (c->tx_refused) {
        work |= virtq_arm(&c->txq, 1);
    }
    return work;
}

static const hal_console_sink_t sink = {.send = vcon_send, .send_idle = vcon_send_idle, .ctx = &con};
static hal_event_source_t source = {
    .run = vcon_run, .deadline = vcon_deadline, .arm = vcon_arm, .console = true, .arg = &con};

static int vcon_probe(void) {
    con.v = virtio_next(VIRTIO_ID_CONSOLE, NULL);
    if (con.v == NULL) {
        return 0;
    }
    int r = vcon_open(&con, FIRST_PORT);
    if (r < 0) {
        return r;
    }
    hal_event_add(&source);
    hal_console_attach(&sink);
    return 1;
}

const hal_driver_t virtio_console_driver = {"virtio-console", vcon_probe};
