// SPDX-License-Identifier: MIT
// What the two halves of the block frontend owe each other: blkfront.c has the ring, blkfront_xs.c the handshake.

#ifndef FLOE_BLKFRONT_H
#define FLOE_BLKFRONT_H

#include "blkdev.h"
#include "xenbus.h"
#include "xenring.h"

enum { BLKFRONT_SEGMENTS = 11, BLKFRONT_SLOTS = 8, BLKFRONT_MAX_BYTES = BLKFRONT_SEGMENTS * HAL_PAGE_SIZE };

enum { BLKFRONT_OP_BARRIER = 2, BLKFRONT_OP_FLUSH = 3 };

// A request, the pages it travels in, and their grants. All but the pages is never shared.
typedef struct blkfront_slot {
    blkdev_req_t *req; // NULL: free
    uint64_t id;       // as it stands in the ring: where the slot is, and a serial number
    uint8_t op;        // as it stands in the ring
    uint8_t *data;     // BLKFRONT_MAX_BYTES
    xen_grant_t grant[BLKFRONT_SEGMENTS];
    struct blkfront_slot *next_free;
} blkfront_slot_t;

typedef enum {
    BLKFRONT_START,   // probe is working on it
    BLKFRONT_UP,      // requests go to the ring
    BLKFRONT_LEAVING, // the backend wants to go: what it has may still come back, what is new waits
    BLKFRONT_AWAY,    // no backend: everything waits
    BLKFRONT_OFFERED, // a new ring is written into XenStore
    BLKFRONT_DEAD,
} blkfront_phase_t;

typedef struct {
    blkdev_t dev; // first: the verbs get its address
    xenbus_dev_t bus;
    unsigned number; // of the virtual disk: 51712 is xvda
    blkfront_phase_t phase;
    uint64_t deadline; // of the phase, 0 where it has none
    xenring_t ring;
    xen_port_t port;
    uint64_t serial;
    uint8_t flush_op;
    unsigned rewritten; // bus.rewritten as last seen
    bool away_logged;   // the log says that the backend is away, and no request came back since
    blkfront_slot_t slot[BLKFRONT_SLOTS], *free;
    hal_event_source_t source;
} blkfront_t;

// ---- blkfront.c ---------------------------------------------------------------------------------
// Memory for a ring and dev.depth requests. 0 or -ENOMEM.
int blkfront_equip(blkfront_t *n);
// An empty ring, granted to the backend with all pages, and a port for it. 0, or -ENOSPC.
int blkfront_ring_open(blkfront_t *n);
// Take port and grants back. False: the backend still has a page mapped;
// that one stays granted, and may be asked for again.
bool blkfront_ring_close(blkfront_t *n);
// The backend listens: what was submitted and has not come back is put into the ring.
void blkfront_ring_start(blkfront_t *n);
// Nothing of the ring is anybody's any more (HAL_RESUMED).
void blkfront_ring_forget(blkfront_t *n);
// Declare the device dead, with one log line. Returns err.
int blkfront_die(blkfront_t *n, const char *why, int err);

// ---- blkfront_xs.c ------------------------------------------------------------------------------
// Find the backend. 1: a CD-ROM, which is left alone. 0 or -errno, with a log line.
int blkfront_xs_find(blkfront_t *n);
// Once the backend is ready: ring and port into XenStore.
int blkfront_xs_offer(blkfront_t *n, uint64_t deadline_ns);
// Once it is connected: what it is for a disk. 1: a CD-ROM.
int blkfront_xs_accept(blkfront_t *n, uint64_t deadline_ns);
// Time goes on: what the backend's state and the clock ask for. Main loop; cheap while all is well.
bool blkfront_xs_step(blkfront_t *n);
uint64_t blkfront_xs_deadline(const blkfront_t *n);
// In another domain: look for the backend that the disk has there. What is in flight waits for it.
void blkfront_xs_anew(blkfront_t *n);

#endif
