// SPDX-License-Identifier: MIT
// The control queues of a console device with VIRTIO_CONSOLE_F_MULTIPORT, virtio 1.2 clause 5.3.6.2: which ports
// there are, and opening one. Owns: both queues and their buffers. Not here: a port's bytes (virtio_console.c).
// Context: main loop only; nothing waits. A host that names no port is given up on at the deadline.

#ifndef FLOE_VIRTIO_CONSOLE_CTRL_H
#define FLOE_VIRTIO_CONSOLE_CTRL_H

#include "virtio.h"

// Ports we can use: their queues are 2 + 2 * port and the one behind it (5.3.2).
enum { VCON_PORT_MAX = (VIRTIO_QUEUE_MAX - 4) / 2 };

typedef struct { // 5.3.6.2
    uint32_t id;
    uint16_t event, value;
} vcon_msg_t;

_Static_assert(sizeof(vcon_msg_t) == 8, "struct virtio_console_control");

enum { VCON_MSGS = 3 }; // all we ever say: DEVICE_READY, PORT_READY, PORT_OPEN

typedef struct {
    virtio_dev_t *v;
    virtq_t rxq, txq;
    vcon_msg_t *say; // VCON_MSGS of them, shared with the device, which only reads them
    unsigned said, due;
    unsigned port;     // the one whose queues are open, 1 to VCON_PORT_MAX
    unsigned other;    // the best one that was named beside it; 0: port 0, or none
    bool open;         // the device has named our port
    uint64_t deadline; // hal_clock_ns() by which it must
} vcon_ctrl_t;

typedef enum {
    VCON_CTRL_NOTHING,
    VCON_CTRL_OPENED,  // our port is there
    VCON_CTRL_ABSENT,  // it is not: take port `other`
    VCON_CTRL_REMOVED, // it was, and is no more
    VCON_CTRL_DEAD,    // the device lied; rxq or txq says how
} vcon_ctrl_event_t;

// Open both queues to find and open `port`; after virtio_negotiate and before virtio_start. -errno: the device
// has failed and said so.
int virtio_console_ctrl_open(vcon_ctrl_t *t, virtio_dev_t *v, unsigned port);
// After virtio_start: ask which ports there are.
void virtio_console_ctrl_start(vcon_ctrl_t *t);
// Read a few messages and answer them.
vcon_ctrl_event_t virtio_console_ctrl_run(vcon_ctrl_t *t);
// Ask for an interrupt while the port is awaited. True: there is work.
bool virtio_console_ctrl_arm(vcon_ctrl_t *t);
// Once the port is open and all was said: read on. True: the host has closed the port, or it was removed; or the device
// lied, and rxq says how.
bool virtio_console_ctrl_lost(vcon_ctrl_t *t);

#endif
