// SPDX-License-Identifier: MIT
// Split virtqueue, virtio 1.2 clause 2.7, for any transport: memory only, no register is known here.
// Owns: the ring memory, and a private shadow of it that no device can influence; every decision is
// made from the shadow. Not here: notification and interrupts (virtio.h), what the buffers mean (drivers).
// Context: main loop only; nothing waits.
//
// What the device writes (used index, ids, lengths) is copied once and checked. A lie makes the queue
// dead for good: `why` names it, every verb answers -EIO, and no more of the ring is read.

#ifndef FLOE_VIRTQUEUE_H
#define FLOE_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>

enum { VIRTQ_SIZE_MAX = 32768 }; // 2.7: also the largest power of two an index can count
enum { VIRTQ_ALIGN = 64 };       // of queue and used ring: 2.7 asks for 16 and 4; one cache line for us

typedef struct { // 2.7.5, written by us
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} virtq_desc_t;

typedef struct { // 2.7.6, written by us; behind the ring stands used_event
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
} virtq_avail_t;

typedef struct { // 2.7.8
    uint32_t id;
    uint32_t len;
} virtq_used_elem_t;

typedef struct { // 2.7.8, written by the device; behind the ring stands avail_event
    uint16_t flags;
    uint16_t idx;
    virtq_used_elem_t ring[];
} virtq_used_t;

_Static_assert(sizeof(virtq_desc_t) == 16 && sizeof(virtq_used_elem_t) == 8, "split ring layout");

typedef struct {
    void *base;
    uint32_t len;
} virtq_buf_t;

// Shadow of one descriptor.
typedef struct {
    void *cookie;      // head of a chain: the driver's
    uint32_t writable; // head: bytes the device may write
    uint16_t next;     // next one of the chain or of the free list
    uint16_t tail;     // head: last one of the chain
    uint16_t count;    // head of a chain the device has: its length; 0 everywhere else
} virtq_slot_t;

typedef struct {
    virtq_desc_t *desc;
    virtq_avail_t *avail;
    virtq_used_t *used;
    virtq_slot_t *slot;
    const char *why;      // NULL while alive
    uint16_t index;       // which queue of its device
    uint16_t size;        // descriptors, a power of two
    uint16_t free_head;   // first free descriptor
    uint16_t free_count;  // descriptors that are free
    uint16_t outstanding; // chains the device has
    uint16_t avail_idx;   // what we published
    uint16_t kick_idx;    // avail_idx at the last kick decision
    uint16_t used_idx;    // completions taken
    uint16_t used_seen;   // completions known to be there
    uint16_t armed_at;    // used_event as last written
    bool armed;           // an interrupt was asked for and no completion taken since
    bool event_idx;       // VIRTIO_F_EVENT_IDX was negotiated
} virtq_t;

// Make an empty queue. 0; -EINVAL: size is 0, not a power of two or too large; -ENOMEM.
int virtq_init(virtq_t *q, uint16_t index, uint32_t size, bool event_idx);

// Give the device one chain: `out` buffers it reads, then `in` buffers it writes. 0: the device owns
// them until virtq_take yields the cookie. -EAGAIN: no room, nothing changed. -EMSGSIZE: longer than
// the queue. -EIO: dead. The device is not told: see virtq_kick_needed.
int virtq_provide(virtq_t *q, const virtq_buf_t *bufs, unsigned out, unsigned in, void *cookie);

// Take the next completion. 0: cookie's buffers are the driver's again and the first *len writable
// bytes were written (0 where none are writable). -EAGAIN: none. -EIO: dead.
int virtq_take(virtq_t *q, void **cookie, uint32_t *len);

// One decision for everything provided since the last one: must the device be notified?
bool virtq_kick_needed(virtq_t *q);

// Ask for an interrupt when `count` more chains (>= 1) have come back; it is off again once a
// completion is taken. True: there is a completion already. Repeating it is cheap.
bool virtq_arm(virtq_t *q, uint16_t count);

// Declare the queue dead. Returns -EIO.
int virtq_fail(virtq_t *q, const char *why);

#endif
