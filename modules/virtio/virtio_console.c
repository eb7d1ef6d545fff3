// SPDX-License-Identifier: MIT
// Console, virtio 1.2 clause 5.3, port 0 only (MULTIPORT is not negotiated): a sink for hal_console_attach
// and the source of its input. Owns: the buffers of both directions.
// Not here: the console's ring buffer and line discipline (port/hal/console.c), ports beyond the first.
// Context: main loop only; nothing waits. A host that does not read leaves our buffers full, and send takes 0.

#include <string.h>

#include "virtio.h"

enum { RX_QUEUE = 0, TX_QUEUE = 1 };               // 5.3.2
enum { RX_COUNT = 4, TX_COUNT = 8, BYTES = 4096 }; // powers of two

typedef struct {
    virtio_dev_t *v;
    virtq_t rxq, txq;
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
    if (c->v->why != NULL) {
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

static bool vcon_run(void *arg) {
    vcon_t *c = arg;
    if (c->v->why != NULL) {
        return false;
    }
    bool room = tx_reclaim(c);
    return rx_run(c) || room;
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
    bool work = c->held == NULL && virtq_arm(&c->rxq, 1);
    if (c->tx_refused) {
        work |= virtq_arm(&c->txq, 1);
    }
    return work;
}

static const hal_console_sink_t sink = {.send = vcon_send, .send_idle = vcon_send_idle, .ctx = &con};
static hal_event_source_t source = {.run = vcon_run, .arm = vcon_arm, .arg = &con};

static int vcon_open(virtio_dev_t *v) {
    vcon_t *c = &con;
    uint64_t offered = 0;
    c->v = v;
    int r = virtio_reset(v, &offered);
    if (r < 0 || (r = virtio_negotiate(v, offered & BIT64(VIRTIO_F_EVENT_IDX_BIT))) < 0 ||
        (r = virtio_queue_open(v, RX_QUEUE, RX_COUNT, &c->rxq)) < 0 ||
        (r = virtio_queue_open(v, TX_QUEUE, TX_COUNT, &c->txq)) < 0) {
        return r;
    }
    uint8_t *bytes = hal_mem_dma((size_t)(c->rxq.size + c->txq.size) * BYTES, HAL_PAGE_SIZE);
    if (bytes == NULL) {
        return virtio_fail(v, "no memory for buffers", -ENOMEM);
    }
    for (unsigned i = 0; i < c->rxq.size; i++, bytes += BYTES) {
        rx_post(c, bytes);
    }
    for (unsigned i = 0; i < c->txq.size; i++, bytes += BYTES) {
        c->tx_free[c->tx_free_count++] = bytes;
    }
    virtio_start(v);
    virtio_kick(v, &c->rxq);
    hal_event_add(&source);
    hal_console_attach(&sink);
    return 1;
}

static int vcon_probe(void) {
    virtio_dev_t *v = virtio_next(VIRTIO_ID_CONSOLE, NULL);
    return v == NULL ? 0 : vcon_open(v);
}

const hal_driver_t virtio_console_driver = {"virtio-console", vcon_probe};
