// SPDX-License-Identifier: MIT
// The handshake of virtio 1.2 clause 5.3.6.2: we are ready, the device names its ports, we open one of them.
// Owns: the control queues' buffers. Not here: a port's bytes, the choice of another port (virtio_console.c).
// Context: main loop only; nothing waits. Of what the device says only PORT_ADD and PORT_REMOVE matter to us: a port
// that the host has closed (PORT_OPEN) is written to all the same, and the device discards it; who must know, asks.

#include "virtio_console_ctrl.h"

#include <string.h>

enum { CTRL_RX = 2, CTRL_TX = 3 };                   // 5.3.2
enum { RX_COUNT = 8, TX_COUNT = 4, RX_BYTES = 512 }; // a PORT_NAME carries the name behind the message
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_REMOVE = 2, PORT_READY = 3, PORT_OPEN = 6 }; // 5.3.6.2

// Output waits meanwhile, for less than hal_console_write() does before it drops something.
#define ANSWER_NS 900000000ull // until the first port is named
#define SETTLE_NS 5000000ull   // from then on until ours must have been

// Pass on what is due and was not said yet; the rest follows when the queue has room.
static void speak(vcon_ctrl_t *t) {
    void *msg;
    uint32_t len;
    while (virtq_take(&t->txq, &msg, &len) == 0) { // its buffer is not used again
    }
    while (t->said < t->due) {
        virtq_buf_t seg = {&t->say[t->said], sizeof(vcon_msg_t)};
        if (virtq_provide(&t->txq, &seg, 1, 0, &t->say[t->said]) < 0) {
            break;
        }
        t->said++;
    }
    virtio_kick(t->v, &t->txq);
}

static void listen(vcon_ctrl_t *t, uint8_t *buf) {
    virtq_buf_t seg = {buf, RX_BYTES};
    int r = virtq_provide(&t->rxq, &seg, 0, 1, buf);
    hal_assert(r == 0 || r == -EIO); // there is a descriptor for each buffer
}

// The lowest port from 1 on is the best; port 0 is what is left when no other one is named.
static void note_other(vcon_ctrl_t *t, uint32_t id) {
    if (id > VCON_PORT_MAX) {
        return;
    }
    uint64_t settled = hal_clock_ns() + SETTLE_NS;
    t->deadline = settled < t->deadline ? settled : t->deadline;
    if (id > 0 && (t->other == 0 || id < t->other)) {
        t->other = id;
    }
}

// `msg` is our copy: what the device does to its own from now on changes nothing.
static vcon_ctrl_event_t hear(vcon_ctrl_t *t, vcon_msg_t msg) {
    if (msg.event == PORT_ADD && !t->open) {
        if (msg.id != t->port) {
            note_other(t, msg.id);
            return VCON_CTRL_NOTHING;
        }
        t->open = true;
        t->due = VCON_MSGS;
        return VCON_CTRL_OPENED;
    }
    return msg.event == PORT_REMOVE && msg.id == t->port && t->open ? VCON_CTRL_REMOVED : VCON_CTRL_NOTHING;
}

vcon_ctrl_event_t virtio_console_ctrl_run(vcon_ctrl_t *t) {
    vcon_ctrl_event_t event = VCON_CTRL_NOTHING;
    for (unsigned i = 0; i < RX_COUNT && event == VCON_CTRL_NOTHING; i++) { // a chatty host does not hold the loop
        void *buf;
        uint32_t len;
        vcon_msg_t msg;
        if (virtq_take(&t->rxq, &buf, &len) < 0) {
            break;
        }
        memcpy(&msg, buf, sizeof msg);
        listen(t, buf);
        event = len < sizeof msg ? VCON_CTRL_NOTHING : hear(t, msg);
    }
    speak(t);
    virtio_kick(t->v, &t->rxq);
    if (t->rxq.why != NULL || t->txq.why != NULL) {
        return VCON_CTRL_DEAD;
    }
    return !t->open && hal_clock_ns() >= t->deadline ? VCON_CTRL_ABSENT : event;
}

bool virtio_console_ctrl_arm(vcon_ctrl_t *t) {
    bool work = !t->open && virtq_arm(&t->rxq, 1);
    return work | (t->said < t->due && virtq_arm(&t->txq, 1));
}

bool virtio_console_ctrl_lost(vcon_ctrl_t *t) {
    void *buf;
    uint32_t len;
    bool lost = false;
    while (!lost && virtq_take(&t->rxq, &buf, &len) == 0) {
        vcon_msg_t msg;
        memcpy(&msg, buf, sizeof msg);
        listen(t, buf);
        lost = len >= sizeof msg && msg.id == t->port &&
               (msg.event == PORT_REMOVE || (msg.event == PORT_OPEN && msg.value == 0));
    }
    return lost || t->rxq.why != NULL;
}

void virtio_console_ctrl_start(vcon_ctrl_t *t) {
    t->deadline = hal_clock_ns() + ANSWER_NS;
    virtio_kick(t->v, &t->rxq);
    speak(t);
}

int virtio_console_ctrl_open(vcon_ctrl_t *t, virtio_dev_t *v, unsigned port) {
    *t = (vcon_ctrl_t){.v = v, .port = port, .due = 1};
    int r;
    if ((r = virtio_queue_open(v, CTRL_RX, RX_COUNT, &t->rxq)) < 0 ||
        (r = virtio_queue_open(v, CTRL_TX, TX_COUNT, &t->txq)) < 0) {
        return r;
    }
    size_t heard = (size_t)t->rxq.size * RX_BYTES;
    uint8_t *bytes = hal_mem_dma(heard + VCON_MSGS * sizeof(vcon_msg_t), RX_BYTES);
    if (bytes == NULL) {
        return virtio_fail(v, "no memory for buffers", -ENOMEM);
    }
    for (unsigned i = 0; i < t->rxq.size; i++) {
        listen(t, bytes + i * RX_BYTES);
    }
    t->say = (vcon_msg_t *)(bytes + heard);
    t->say[0] = (vcon_msg_t){.event = DEVICE_READY, .value = 1};
    t->say[1] = (vcon_msg_t){.id = port, .event = PORT_READY, .value = 1};
    t->say[2] = (vcon_msg_t){.id = port, .event = PORT_OPEN, .value = 1};
    return 0;
}
