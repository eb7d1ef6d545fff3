// SPDX-License-Identifier: MIT
// Block device, Xen's public/io/blkif.h and ring.h in their 64-bit layout: the verbs of blkdev.h over one ring of one
// page. Owns, a disk: the ring, and for each request eleven pages that are granted to the backend once and for good
// (persistent grants) and through which data is copied, so that no caller's memory is ever shared. Not here: XenStore
// (blkfront_xs.c), waiting (blkdev.c). Left out: indirect segments, several rings, rings of several pages.
// Context: main loop only; no verb waits, but dying writes to XenStore.
// The backend lied: one log line, blkdev.dead. What it has mapped then stays granted, and is never used again.

#include "blkfront.h"

#include <string.h>

enum { RING_SIZE = 32, SECTORS_PER_PAGE = HAL_PAGE_SIZE / BLKDEV_SECTOR };
enum { OP_READ = 0, OP_WRITE = 1, OP_DISCARD = 5 };
enum { RSP_OKAY = 0, RSP_ERROR = -1, RSP_EOPNOTSUPP = -2 };
enum { ID_SLOT_BITS = 8, DISKS_LISTED = 2 * BLKDEV_MAX, MEMORY_SHARE = 64 };
#define START_NS 10000000000ull   // all disks together, from probe to Connected...
#define AT_LEAST_NS 1000000000ull // ...but one that had to wait for another's backend gets this much
#define SETTLE_NS 5000000000ull   // for a backend's answers, before the VM is saved

typedef struct {
    uint32_t grant;
    uint8_t first, last; // sectors in the page
    uint16_t pad;
} blkif_segment_t;
_Static_assert(sizeof(blkif_segment_t) == 8, "blkif_request_segment");

typedef struct {
    uint8_t operation;
    uint8_t segments; // discard: flags
    uint16_t handle;
    uint32_t pad;
    uint64_t id;
    uint64_t sector;
    union {
        blkif_segment_t segment[BLKFRONT_SEGMENTS];
        uint64_t discard_sectors;
    };
} blkif_request_t;
_Static_assert(sizeof(blkif_request_t) == 112, "blkif_request, 64 bits");
_Static_assert(offsetof(blkif_request_t, discard_sectors) == 24, "blkif_request_discard");

typedef struct {
    uint64_t id;
    uint8_t operation;
    uint8_t pad;
    int16_t status;
    uint32_t pad2;
} blkif_response_t;
_Static_assert(sizeof(blkif_response_t) == 16 && offsetof(blkif_response_t, status) == 10, "blkif_response, 64 bits");

typedef union {
    blkif_request_t req;
    blkif_response_t rsp;
} blkif_entry_t;
_Static_assert(sizeof(xenring_shared_t) + RING_SIZE * sizeof(blkif_entry_t) <= HAL_PAGE_SIZE, "one page");
_Static_assert((int)BLKFRONT_SLOTS <= (int)RING_SIZE && BLKFRONT_SLOTS <= 1 << ID_SLOT_BITS, "the ring is never full");

static blkfront_t *blkfront_of(blkdev_t *b) { return (blkfront_t *)b; }

static blkif_entry_t *entry(const blkfront_t *n, uint32_t i) {
    return xenring_entry(&n->ring, i, RING_SIZE, sizeof(blkif_entry_t));
}

// Write a slot's request into the ring. It says nothing that is not in the slot: the page is the backend's to read.
static void put(blkfront_t *n, blkfront_slot_t *s) {
    const blkdev_req_t *r = s->req;
    blkif_request_t q = {.operation = s->op, .handle = (uint16_t)n->number, .sector = r->sector};
    s->id = n->serial++ << ID_SLOT_BITS | (uint64_t)(s - n->slot);
    q.id = s->id;
    if (s->op == OP_DISCARD) {
        q.discard_sectors = r->len / BLKDEV_SECTOR;
    }
    if (s->op == OP_READ || s->op == OP_WRITE) {
        for (uint32_t left = r->len / BLKDEV_SECTOR; left > 0; q.segments++) {
            uint32_t sectors = left < SECTORS_PER_PAGE ? left : SECTORS_PER_PAGE;
            q.segment[q.segments] = (blkif_segment_t){.grant = s->grant[q.segments], .last = (uint8_t)(sectors - 1)};
            left -= sectors;
        }
    }
    entry(n, n->ring.req_prod++)->req = q;
}

static int blkfront_submit(blkdev_t *b, blkdev_req_t *r) {
    blkfront_t *n = blkfront_of(b);
    const uint8_t op[] = {OP_READ, OP_WRITE, n->flush_op, OP_DISCARD};
    blkfront_slot_t *s = n->free;
    hal_assert(r->op < HAL_ARRAY_LEN(op) && r->len <= b->max_bytes);
    if (b->dead) {
        return -EIO;
    }
    if (s == NULL) {
        return -EAGAIN;
    }
    n->free = s->next_free;
    s->req = r;
    s->id = UINT64_MAX; // of no request, until it is in the ring
    s->op = op[r->op];
    if (s->op == OP_WRITE) {
        memcpy(s->data, r->base, r->len);
    }
    if (n->phase == BLKFRONT_UP) {
        put(n, s);
    }
    return 0;
}

static void blkfront_kick(blkdev_t *b) {
    blkfront_t *n = blkfront_of(b);
    if (n->phase != BLKFRONT_UP) {
        return;
    }
    xenring_publish(&n->ring);
    if (xenring_kick_needed(&n->ring)) {
        xen_evtchn_notify(n->port);
    }
}

// What came back, copied once. False: it is no answer to anything that is out.
static bool take(blkfront_t *n, blkfront_slot_t **slot, int *status) {
    const volatile blkif_response_t *e = &entry(n, n->ring.rsp_cons++)->rsp;
    uint64_t id = e->id;
    uint8_t op = e->operation;
    *status = e->status;
    uint64_t at = id & ((1u << ID_SLOT_BITS) - 1);
    if (at >= n->dev.depth) {
        return false;
    }
    blkfront_slot_t *s = &n->slot[at];
    *slot = s;
    return s->req != NULL && s->id == id && s->op == op && *status <= RSP_OKAY && *status >= RSP_EOPNOTSUPP;
}

// 0 or -errno for a status that take() let through.
static int judge(blkfront_t *n, const blkfront_slot_t *s, int status) {
    if (status == RSP_EOPNOTSUPP && s->op == n->flush_op) {
        // "Unsupported by the underlying hardware": as if it had never been offered, the disk has nothing to flush.
        if (n->dev.volatile_cache) {
            xenbus_fail(&n->bus, "the disk has no cache to flush after all", -ENOTSUP);
        }
        n->dev.volatile_cache = false;
        return 0;
    }
    return status == RSP_OKAY ? 0 : status == RSP_EOPNOTSUPP ? -ENOTSUP : -EIO;
}

static blkdev_req_t *blkfront_reap(blkdev_t *b) {
    blkfront_t *n = blkfront_of(b);
    if (n->phase != BLKFRONT_UP && n->phase != BLKFRONT_LEAVING) {
        return NULL;
    }
    int r = xenring_look(&n->ring);
    if (r < 0) {
        if (r == -EIO) {
            blkfront_die(n, "response index jumped", -EIO);
        }
        return NULL;
    }
    blkfront_slot_t *s;
    int status;
    if (!take(n, &s, &status)) {
        blkfront_die(n, "response to nothing that was asked", -EIO);
        return NULL;
    }
    blkdev_req_t *req = s->req;
    req->status = judge(n, s, status);
    if (s->op == OP_READ && req->status == 0) {
        memcpy(req->base, s->data, req->len);
    }
    s->req = NULL;
    s->next_free = n->free;
    n->free = s;
    n->away_logged = false;
    return req;
}

static void blkfront_abandon(blkdev_t *b, const char *why) { blkfront_die(blkfront_of(b), why, -EIO); }

static const blkdev_ops_t blkfront_ops = {
    .submit = blkfront_submit,
    .kick = blkfront_kick,
    .reap = blkfront_reap,
    .abandon = blkfront_abandon,
};

int blkfront_die(blkfront_t *n, const char *why, int err) {
    if (n->phase != BLKFRONT_DEAD) {
        xenbus_settle(&n->bus);
        xenbus_fail(&n->bus, why, err);
        n->dev.dead = true;
        n->phase = BLKFRONT_DEAD;
        blkfront_ring_close(n);
        xenbus_switch(&n->bus, XENBUS_CLOSING); // asks it to let go; what it answers is blkfront_xs_step()'s
    }
    return err;
}

int blkfront_equip(blkfront_t *n) {
    unsigned depth = n->dev.depth;
    n->ring.page.base = hal_mem_dma(HAL_PAGE_SIZE, HAL_PAGE_SIZE);
    uint8_t *data = hal_mem_dma((size_t)depth * BLKFRONT_MAX_BYTES, HAL_PAGE_SIZE);
    if (n->ring.page.base == NULL || data == NULL) {
        return blkfront_die(n, "no memory for requests", -ENOMEM);
    }
    for (unsigned i = depth; i-- > 0;) {
        n->slot[i] = (blkfront_slot_t){.data = data + (size_t)i * BLKFRONT_MAX_BYTES, .next_free = n->free};
        n->free = &n->slot[i]; // last in, first out: few pages are enough for one request at a time
    }
    return 0;
}

int blkfront_ring_open(blkfront_t *n) {
    hal_assert(n->port == 0 && n->ring.page.ref == 0);
    bool all = xenring_open(&n->ring, n->bus.backend_dom);
    for (unsigned i = 0; i < n->dev.depth; i++) {
        for (unsigned k = 0; all && k < BLKFRONT_SEGMENTS; k++) {
            n->slot[i].grant[k] = xen_grant_page(n->bus.backend_dom, n->slot[i].data + k * HAL_PAGE_SIZE, false);
            all = n->slot[i].grant[k] != 0;
        }
    }
    return all ? xen_evtchn_alloc(n->bus.backend_dom, &n->port) : -ENOSPC;
}

bool blkfront_ring_close(blkfront_t *n) {
    if (n->port != 0) {
        xen_evtchn_close(n->port);
        n->port = 0;
    }
    xenring_page_revoke(&n->ring.page);
    bool all = !n->ring.page.held;
    for (unsigned i = 0; i < n->dev.depth; i++) {
        for (unsigned k = 0; k < BLKFRONT_SEGMENTS; k++) {
            all = xenring_take_back(&n->slot[i].grant[k]) && all;
        }
    }
    return all;
}

void blkfront_ring_start(blkfront_t *n) {
    n->phase = BLKFRONT_UP;
    n->deadline = 0;
    xen_evtchn_unmask(n->port);
    for (unsigned i = 0; i < n->dev.depth; i++) {
        if (n->slot[i].req != NULL) {
            n->slot[i].op = n->slot[i].req->op == BLKDEV_FLUSH ? n->flush_op : n->slot[i].op; // it may know another one
            put(n, &n->slot[i]);
        }
    }
    blkfront_kick(&n->dev);
}

// Until the backend has answered all that it was told of: what it still had would be done again by the next one, and
// perhaps by itself after that. It is done again where the time is not enough.
static void settle(blkfront_t *n) {
    uint64_t end = hal_clock_ns() + SETTLE_NS;
    while (n->phase == BLKFRONT_UP && !xenring_answered(&n->ring) && hal_clock_ns() < end) {
        xenring_arm(&n->ring, xenring_outstanding(&n->ring));
        if (!xenring_answered(&n->ring)) {
            xen_evtchn_wait(n->port, end);
        }
    }
}

void blkfront_ring_forget(blkfront_t *n) {
    n->port = 0;
    xenring_page_forget(&n->ring.page);
    for (unsigned i = 0; i < n->dev.depth; i++) {
        memset(n->slot[i].grant, 0, sizeof(n->slot[i].grant));
    }
}

static void disks_suspend(hal_suspend_t what) {
    blkdev_t *b;
    for (unsigned i = 0; (b = blkdev_get(i)) != NULL; i++) {
        if (b->ops != &blkfront_ops) {
            continue;
        }
        what == HAL_SUSPENDING ? settle(blkfront_of(b)) : blkfront_xs_anew(blkfront_of(b));
    }
}
HAL_SUSPEND(disks_suspend);

static bool source_run(void *arg) { return blkfront_xs_step(arg); }

static uint64_t source_deadline(void *arg) { return blkfront_xs_deadline(arg); }

// Who waits for a request reaps it himself; this only arms the interrupt that ends his sleep.
static bool source_arm(void *arg) {
    blkfront_t *n = arg;
    if (n->port == 0) {
        return false;
    }
    xen_evtchn_take(n->port);
    return xenring_outstanding(&n->ring) > 0 && xenring_arm(&n->ring, 1);
}

// How many requests each disk may have in flight: their pages take 1/64 of memory, all disks together, and not
// more than half of the grants. One is the least.
static uint16_t depth_for(unsigned disks) {
    size_t pages = hal_mem_total() / MEMORY_SHARE / HAL_PAGE_SIZE, grants = xen_grant_free_count() / 2;
    size_t depth = (pages < grants ? pages : grants) / disks / BLKFRONT_SEGMENTS;
    return (uint16_t)(depth < 1 ? 1 : depth > BLKFRONT_SLOTS ? BLKFRONT_SLOTS : depth);
}

static uint64_t not_before(uint64_t deadline) {
    uint64_t least = hal_clock_ns() + AT_LEAST_NS;
    return deadline > least ? deadline : least;
}

// Find a disk and offer it our ring. NULL: there is none, and *err says why (0: a CD-ROM).
static blkfront_t *begin(unsigned number, uint16_t depth, uint64_t deadline, int *err) {
    blkfront_t *n = hal_mem_dma(sizeof(blkfront_t), _Alignof(blkfront_t));
    if (n == NULL) {
        *err = -ENOMEM;
        return NULL;
    }
    n->number = number;
    n->dev.ops = &blkfront_ops;
    n->dev.driver = "xen-blkfront";
    n->dev.align = 1;
    n->dev.depth = depth;
    *err = blkfront_xs_find(n);
    if (*err == 0) {
        *err = blkfront_equip(n);
    }
    if (*err == 0) {
        *err = blkfront_xs_offer(n, deadline);
    }
    if (*err == 0) {
        return n;
    }
    *err = *err < 0 ? *err : 0;
    return NULL;
}

static int finish(blkfront_t *n, uint64_t deadline) {
    int r = blkfront_xs_accept(n, deadline);
    if (r != 0) {
        return r < 0 ? r : 0;
    }
    n->source = (hal_event_source_t){.run = source_run, .deadline = source_deadline, .arm = source_arm, .arg = n};
    hal_event_add(&n->source);
    r = blkdev_register(&n->dev);
    return r < 0 ? blkfront_die(n, "too many disks", r) : 1;
}

static int blkfront_probe(void) {
    unsigned number[DISKS_LISTED], count = 0;
    blkfront_t *disk[DISKS_LISTED];
    if (!xen_present()) {
        return 0;
    }
    int found = xenbus_list("vbd", number, DISKS_LISTED), up = 0, err = 0, r;
    if (found <= 0) {
        return found;
    }
    uint64_t deadline = hal_clock_ns() + START_NS;
    uint16_t depth = depth_for((unsigned)found);
    for (int i = 0; i < found; i++) { // the backends work on all of them at the same time
        disk[count] = begin(number[i], depth, not_before(deadline), &r);
        count += disk[count] != NULL;
        err = err == 0 ? r : err;
    }
    for (unsigned i = 0; i < count; i++) {
        r = finish(disk[i], not_before(deadline));
        up += r > 0;
        err = err == 0 && r < 0 ? r : err;
    }
    return err < 0 ? err : up;
}

const hal_driver_t xen_blkfront_driver = {"xen-blkfront", blkfront_probe};
