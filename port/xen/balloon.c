// SPDX-License-Identifier: MIT
// How much memory the host lets the VM have (Xen public/memory.h; memory/target in XenStore): free RAM is given back
// when the target is below what the VM has, and asked for again when it rises. Owns the pieces that are given back. Not
// here: who has the rest; memory in use is never given.
// Context: at start, before the heap; then the main loop, 2 ms at a time.
//
// A domain with maxmem over memory starts with less memory than its map says, and dies when it touches more: what is
// missing is given back before anything else, in steps of 2 MiB.

#include <stdio.h>

#include "../hal/internal.h"
#include "shared.h"

enum {
    XENMEM_DECREASE_RESERVATION = 1,
    XENMEM_CURRENT_RESERVATION = 3,
    XENMEM_POPULATE_PHYSMAP = 6,
    STEP_PAGES = 512,
    STEP_ORDER = 9,
    PIECES_MAX = 32,
    KIB_PER_PAGE = 4,
};
#define STEP_BYTES ((size_t)STEP_PAGES * HAL_PAGE_SIZE)
#define KEEP (1u << 20) // stays free, for the C heap
#define TURN_NS 2000000ull
#define AGAIN_NS 1000000000ull // free RAM may come back, here or on the host
#define START_NS 2000000000ull
#define KIB_MAX (1ull << 40)

typedef struct {
    const uint64_t *frames;
    uint64_t count;
    uint32_t order, flags;
    uint16_t dom, pad[3];
} xen_reservation_t;
_Static_assert(sizeof(xen_reservation_t) == 32, "struct xen_memory_reservation");

static struct {
    uint64_t start, end;
} piece[PIECES_MAX]; // the last one is the first to come back
static unsigned pieces;
static uint64_t total, beside;     // pages: of the map; of the target that are not in the map
static uint64_t given;             // pages
static uint64_t target;            // pages of the map that the VM may have
static uint64_t next = UINT64_MAX; // when to go on

static uint64_t frame(uint64_t at) { return hal_physical((void *)at) / HAL_PAGE_SIZE; }

// Frames from `first` on, upwards to ask for them, downwards to give them. How many Xen did, or -errno.
static long reservation(int op, uint64_t first, size_t count, unsigned order) {
    static uint64_t frames[STEP_PAGES];
    for (size_t i = 0; i < count; i++) {
        frames[i] = op == XENMEM_POPULATE_PHYSMAP ? first + i : first - i;
    }
    xen_reservation_t r = {.frames = frames, .count = count, .order = order, .dom = XEN_DOMID_SELF};
    return xen_hypercall(XEN_MEMORY_OP, op, (long)&r, 0);
}

// Pages of [at, at + bytes) that Xen took, from the end downwards.
static size_t decrease(uint64_t at, size_t bytes) {
    bool whole = bytes == STEP_BYTES && at % STEP_BYTES == 0;
    size_t count = whole ? 1 : bytes / HAL_PAGE_SIZE;
    uint64_t first = frame(at) + count - 1;
    long r = reservation(XENMEM_DECREASE_RESERVATION, first, count, whole ? STEP_ORDER : 0);
    return r <= 0 ? 0 : whole ? STEP_PAGES : (size_t)r;
}

static void note(uint64_t start, uint64_t end) {
    if (pieces > 0 && piece[pieces - 1].start == end) {
        piece[pieces - 1].start = start;
        return;
    }
    piece[pieces].start = start;
    piece[pieces++].end = end;
}

// Give back up to 2 MiB of free RAM. False: there is none, or Xen does not take it.
static bool give(uint64_t pages) {
    size_t room = hal_mem_largest(KEEP), bytes = pages < STEP_PAGES ? (size_t)pages * HAL_PAGE_SIZE : STEP_BYTES;
    size_t aligned = pieces > 0 ? piece[pieces - 1].start % STEP_BYTES : 0; // what the next whole step begins at
    bytes = aligned > 0 && aligned < bytes ? aligned : bytes;
    bytes = room < bytes ? room : bytes;
    void *p = bytes > 0 ? hal_mem_take(bytes, HAL_PAGE_SIZE, KEEP) : NULL;
    if (p == NULL) {
        return false;
    }
    uint64_t end = (uint64_t)p + bytes;
    size_t done = pieces < PIECES_MAX ? decrease((uint64_t)p, bytes) : 0;
    size_t left = bytes - done * HAL_PAGE_SIZE;
    hal_mem_return(p, left);
    if (done > 0) {
        note((uint64_t)p + left, end);
        given += done;
        hal_mem_total_changed(-(ptrdiff_t)(done * HAL_PAGE_SIZE));
    }
    return left == 0;
}

// Ask for up to 2 MiB again, where free RAM ends. False: Xen has none, or the RAM before it is in use.
static bool ask(uint64_t pages) {
    if (pieces == 0 || !hal_mem_return((void *)piece[pieces - 1].start, 0)) {
        return false;
    }
    uint64_t at = piece[pieces - 1].start, left = (piece[pieces - 1].end - at) / HAL_PAGE_SIZE;
    pages = pages < STEP_PAGES ? pages : STEP_PAGES;
    pages = pages < left ? pages : left;
    long got = reservation(XENMEM_POPULATE_PHYSMAP, frame(at), pages, 0);
    if (got <= 0) {
        return false;
    }
    size_t bytes = (size_t)got * HAL_PAGE_SIZE;
    hal_mem_return((void *)at, bytes);
    given -= (uint64_t)got;
    hal_mem_total_changed((ptrdiff_t)bytes);
    piece[pieces - 1].start += bytes;
    pieces -= piece[pieces - 1].start == piece[pieces - 1].end;
    return (uint64_t)got == pages;
}

// Towards the target until end_ns. True: it is reached, or no further step can be made now.
static bool work(uint64_t end_ns) {
    uint64_t have;
    bool going = true;
    while ((have = total - given) != target && going && hal_clock_ns() < end_ns) {
        going = have > target ? give(have - target) : ask(target - have);
    }
    next = have == target ? UINT64_MAX : hal_clock_ns() + (going ? 0 : AGAIN_NS);
    return have == target || !going;
}

static bool read_target(void) {
    uint64_t most, now;
    if (beside == UINT64_MAX) {
        if (xen_store_read_u64(0, "memory/static-max", KIB_MAX, &most) != 0) {
            return false;
        }
        most /= KIB_PER_PAGE;
        beside = most > total ? most - total : 0;
    }
    if (xen_store_read_u64(0, "memory/target", KIB_MAX, &now) != 0) {
        return false;
    }
    now /= KIB_PER_PAGE;
    now = now > beside ? now - beside : 0;
    target = now < total ? now : total;
    return true;
}

static void target_changed(void *arg) {
    (void)arg;
    next = read_target() ? 0 : UINT64_MAX;
}

static bool balloon_run(void *arg) {
    (void)arg;
    return next != UINT64_MAX && hal_clock_ns() >= next && !work(hal_clock_ns() + TURN_NS);
}

static uint64_t balloon_deadline(void *arg) {
    (void)arg;
    return next;
}

static hal_event_source_t source = {.run = balloon_run, .deadline = balloon_deadline};

int xen_balloon_watch(void) {
    static xen_watch_t watch = {.path = "memory/target", .fired = target_changed};
    int err = xen_store_watch(&watch);
    if (err == 0) {
        hal_event_add(&source);
    }
    return err;
}

static int balloon_probe(void) {
    if (!xen_present()) {
        return 0;
    }
    uint16_t self = XEN_DOMID_SELF;
    total = target = hal_mem_total() / HAL_PAGE_SIZE;
    beside = UINT64_MAX;
    long pages = xen_hypercall(XEN_MEMORY_OP, XENMEM_CURRENT_RESERVATION, (long)&self, 0);
    if (pages > 0 && (uint64_t)pages < total && read_target()) {
        uint64_t before;
        do { // for as long as something moves
            before = given;
            work(hal_clock_ns() + START_NS);
        } while (given != before && total - given > target);
        if (total - given > target) {
            char line[96];
            int n = snprintf(line, sizeof(line), "xen: %u KiB more than the host's target are not given back yet\n",
                             (unsigned)((total - given - target) * KIB_PER_PAGE));
            hal_console_log(line, (size_t)n);
        }
    }
    return 1;
}

const hal_driver_t xen_balloon_driver = {"xen-balloon", balloon_probe};
