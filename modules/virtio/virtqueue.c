// SPDX-License-Identifier: MIT
// Split virtqueue, virtio 1.2 clause 2.7 (no indirect descriptors: a ring of 256 holds more chains
// than we ever have frames in flight, and a table costs the device one more translation).
// Owns: ring and shadow of each queue. Not here: registers. Context: main loop, never waits.

#include "virtqueue.h"

#include <errno.h>
#include <stddef.h>

#include "hal.h"

enum { DESC_F_NEXT = 1, DESC_F_WRITE = 2 }; // 2.7.5
enum { AVAIL_F_NO_INTERRUPT = 1 };          // 2.7.6
enum { USED_F_NO_NOTIFY = 1 };              // 2.7.8

// Shared memory is read and written by exactly one access each, so that a check and a use see the same value.
static inline uint16_t load16(const uint16_t *p) { return *(const volatile uint16_t *)p; }
static inline uint32_t load32(const uint32_t *p) { return *(const volatile uint32_t *)p; }
static inline void store16(uint16_t *p, uint16_t v) { *(volatile uint16_t *)p = v; }

static size_t round_up(size_t n) { return (n + VIRTQ_ALIGN - 1) & ~(size_t)(VIRTQ_ALIGN - 1); }

static uint16_t *used_event(virtq_t *q) { return &q->avail->ring[q->size]; }
static const uint16_t *avail_event(const virtq_t *q) { return (const uint16_t *)&q->used->ring[q->size]; }

static bool completion_waits(const virtq_t *q) { return load16(&q->used->idx) != q->used_idx; }

int virtq_fail(virtq_t *q, const char *why) {
    if (q->why == NULL) {
        q->why = why;
    }
    return -EIO;
}

// The chain's descriptors go to the front of the free list.
static void release(virtq_t *q, uint16_t head) {
    virtq_slot_t *s = &q->slot[head];
    q->slot[s->tail].next = q->free_head;
    q->free_head = head;
    q->free_count = (uint16_t)(q->free_count + s->count);
    s->count = 0;
    s->cookie = NULL;
    q->outstanding--;
}

int virtq_provide(virtq_t *q, const virtq_buf_t *bufs, unsigned out, unsigned in, void *cookie) {
    unsigned n = out + in;
    hal_assert(n > 0);
    if (q->why != NULL) {
        return -EIO;
    }
    if (n > q->size) {
        return -EMSGSIZE;
    }
    if (n > q->free_count) {
        return -EAGAIN;
    }
    uint16_t head = q->free_head, last = head;
    uint32_t writable = 0;
    for (unsigned k = 0; k < n; k++) {
        last = q->free_head;
        q->free_head = q->slot[last].next;
        virtq_desc_t *d = &q->desc[last];
        d->addr = hal_physical(bufs[k].base);
        d->len = bufs[k].len;
        d->flags = (uint16_t)((k >= out ? DESC_F_WRITE : 0) | (k + 1 < n ? DESC_F_NEXT : 0));
        d->next = k + 1 < n ? q->free_head : 0;
        writable += k >= out ? bufs[k].len : 0;
    }
    virtq_slot_t *s = &q->slot[head];
    s->cookie = cookie;
    s->writable = writable;
    s->tail = last;
    s->count = (uint16_t)n;
    q->free_count = (uint16_t)(q->free_count - n);
    q->outstanding++;
    store16(&q->avail->ring[q->avail_idx & (q->size - 1)], head);
    hal_wmb(); // descriptors and ring entry before the index that publishes them
    q->avail_idx++;
    store16(&q->avail->idx, q->avail_idx);
    return 0;
}

// Learn how many completions there are. 0: at least one; -EAGAIN; -EIO.
static int look(virtq_t *q) {
    if (q->used_seen != q->used_idx) {
        return 0;
    }
    uint16_t idx = load16(&q->used->idx);
    uint16_t fresh = (uint16_t)(idx - q->used_idx);
    if (fresh == 0) {
        return -EAGAIN;
    }
    if (fresh > q->outstanding) {
        return virtq_fail(q, "used index jumped");
    }
    hal_rmb(); // used.idx before the elements it covers
    q->used_seen = idx;
    return 0;
}

int virtq_take(virtq_t *q, void **cookie, uint32_t *len) {
    if (q->why != NULL) {
        return -EIO;
    }
    int r = look(q);
    if (r < 0) {
        return r;
    }
    const virtq_used_elem_t *e = &q->used->ring[q->used_idx & (q->size - 1)];
    uint32_t id = load32(&e->id);
    if (id >= q->size) {
        return virtq_fail(q, "used id beyond the queue");
    }
    const virtq_slot_t *s = &q->slot[id];
    if (s->count == 0) {
        return virtq_fail(q, "used id not outstanding");
    }
    // Nobody asks how much was written where nothing can be: Cloud Hypervisor gives the bytes it sent, not 0.
    uint32_t written = s->writable > 0 ? load32(&e->len) : 0;
    if (written > s->writable) {
        return virtq_fail(q, "used length beyond the buffer");
    }
    *cookie = s->cookie;
    *len = written;
    release(q, (uint16_t)id);
    q->used_idx++;
    if (q->armed) {
        q->armed = false;
        if (!q->event_idx) { // with EVENT_IDX one interrupt is all that was asked for
            store16(&q->avail->flags, AVAIL_F_NO_INTERRUPT);
        }
    }
    return 0;
}

bool virtq_kick_needed(virtq_t *q) {
    if (q->why != NULL || q->avail_idx == q->kick_idx) {
        return false;
    }
    hal_mb(); // our avail.idx before the load of what the device wishes
    uint16_t fresh = (uint16_t)(q->avail_idx - q->kick_idx);
    q->kick_idx = q->avail_idx;
    if (!q->event_idx) {
        return (load16(&q->used->flags) & USED_F_NO_NOTIFY) == 0;
    }
    uint16_t passed = (uint16_t)(q->avail_idx - load16(avail_event(q)) - 1); // 2.7.10
    return passed < fresh;
}

bool virtq_arm(virtq_t *q, uint16_t count) {
    if (q->why != NULL) {
        return false;
    }
    uint16_t at = (uint16_t)(q->used_idx + count - 1);
    if (!q->armed || q->armed_at != at) {
        q->armed = true;
        q->armed_at = at;
        if (q->event_idx) {
            store16(used_event(q), at);
        } else {
            store16(&q->avail->flags, 0);
        }
        hal_mb(); // our wish before the load of used.idx: one side always sees the other
    }
    return completion_waits(q);
}

int virtq_init(virtq_t *q, uint16_t index, uint32_t size, bool event_idx) {
    if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) != 0) {
        return -EINVAL;
    }
    // Behind each ring stands one event index (2.7.6, 2.7.8); the order and the one gap are those of 2.7.2.
    size_t desc = sizeof(virtq_desc_t) * size;
    size_t avail = round_up(desc + sizeof(virtq_avail_t) + sizeof(uint16_t) * (size + 1)) - desc;
    size_t used = round_up(sizeof(virtq_used_t) + sizeof(virtq_used_elem_t) * size + sizeof(uint16_t));
    uint8_t *ring = hal_mem_dma(desc + avail + used, VIRTQ_ALIGN);
    virtq_slot_t *slot = hal_mem_dma(sizeof(virtq_slot_t) * size, _Alignof(virtq_slot_t));
    if (ring == NULL || slot == NULL) {
        return -ENOMEM;
    }
    *q = (virtq_t){
        .desc = (virtq_desc_t *)ring,
        .avail = (virtq_avail_t *)(ring + desc),
        .used = (virtq_used_t *)(ring + desc + avail),
        .slot = slot,
        .index = index,
        .size = (uint16_t)size,
        .free_count = (uint16_t)size,
        .event_idx = event_idx,
    };
    for (uint32_t i = 0; i < size; i++) {
        slot[i].next = (uint16_t)(i + 1); // the last one's is never followed: free_count guards it
    }
    if (event_idx) {
        store16(used_event(q), UINT16_MAX); // no interrupt before the first virtq_arm
    } else {
        store16(&q->avail->flags, AVAIL_F_NO_INTERRUPT);
    }
    return 0;
}
