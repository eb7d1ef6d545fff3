// SPDX-License-Identifier: MIT
// The GC heap: its roots on the stack, and the areas it grows by (MicroPython's split heap). Owns the areas
// that have become free. Not here: the C heap (libc/malloc.c). Context: main loop.

#include "hal/internal.h"
#include "port.h"
#include "py/gc.h"
#include "py/mpstate.h"
#include "shared/runtime/gchelper.h"

enum { SPARE_MAX = 16, FIRST_DIVISOR = 4, RESERVE_DIVISOR = 4, BUSY_SHARE = 10 };
#define FIRST_MAX (256u << 10) // fits the processor's caches, and a VM's small TLB: see grow_if_crowded()
#define FIRST_MIN (64u << 10)

// An area MicroPython gave back; its first word says how large it is, also while in use.
static size_t *spare[SPARE_MAX];
static size_t reserve; // RAM that stays with the C heap

// MicroPython adds an area only when nothing else helps, so that a heap nearly full of live objects would be
// collected at every few allocations. One that keeps the collector busy and is more than half full is doubled at
// once; one that is mostly garbage stays small, and what a script allocates and drops stays in the caches.
// Not inlined: what the collector's own frames leave uninitialised may hold pointers of calls that have returned, and
// keeps what they point to.
__attribute__((noinline)) static void grow_if_crowded(uint64_t cost_ns, uint64_t period_ns) {
    if (cost_ns * BUSY_SHARE < period_ns) {
        return;
    }
    gc_info_t info;
    gc_info(&info);
    size_t bytes = info.total;
    if (info.used <= bytes / 2 || gc_get_max_new_split() < bytes) {
        return;
    }
    char *area = floe_heap_alloc(bytes);
    if (area != NULL) {
        gc_add(area, area + bytes);
    }
}

void gc_collect(void) {
    static uint64_t last_end;
    uint64_t start = hal_span_begin(HAL_SPAN_COLLECTION);
    gc_collect_start();
    gc_helper_collect_regs_and_stack();
    gc_collect_end();
    uint64_t end = hal_span_end();
    grow_if_crowded(end - start, end - last_end);
    last_end = end;
}

static size_t largest_spare(void) {
    size_t best = 0;
    for (unsigned i = 0; i < SPARE_MAX; i++) {
        if (spare[i] != NULL && *spare[i] > best) {
            best = *spare[i];
        }
    }
    return best;
}

size_t gc_get_max_new_split(void) {
    size_t fresh = hal_mem_largest(reserve), used = largest_spare();
    size_t best = fresh > used ? fresh : used;
    return best > sizeof(size_t) ? best - sizeof(size_t) : 0;
}

// The smallest spare area of at least this many bytes; SPARE_MAX without one.
static unsigned fitting_spare(size_t bytes) {
    unsigned best = SPARE_MAX;
    for (unsigned i = 0; i < SPARE_MAX; i++) {
        if (spare[i] != NULL && *spare[i] >= bytes && (best == SPARE_MAX || *spare[i] < *spare[best])) {
            best = i;
        }
    }
    return best;
}

// Give back to free RAM what borders on it; one area that goes may make the next one border.
static void return_spares(void) {
    bool again;
    do {
        again = false;
        for (unsigned i = 0; i < SPARE_MAX; i++) {
            if (spare[i] != NULL && hal_mem_return(spare[i], *spare[i])) {
                spare[i] = NULL;
                again = true;
            }
        }
    } while (again);
}

void *floe_heap_alloc(size_t bytes) {
    bytes = (bytes + sizeof(size_t) + HAL_PAGE_SIZE - 1) & ~(size_t)(HAL_PAGE_SIZE - 1);
    unsigned i = fitting_spare(bytes);
    size_t *area;
    if (i != SPARE_MAX) {
        area = spare[i];
        spare[i] = NULL;
    } else {
        area = hal_mem_take(bytes, HAL_PAGE_SIZE, reserve);
        if (area == NULL) {
            return NULL;
        }
        *area = bytes;
    }
    return area + 1;
}

void floe_heap_free(void *p) {
    size_t *area = (size_t *)p - 1;
    for (unsigned i = 0; i < SPARE_MAX; i++) {
        if (spare[i] == NULL) {
            spare[i] = area;
            return_spares();
            return;
        }
    }
    // More areas than slots: this one stays unused until reboot. Areas double, so 16 cover any RAM.
}

void floe_heap_init(void) {
    static char *first; // kept over a soft reset, which leaves no other area in use
    static size_t size;
    if (first == NULL) {
        size_t ram = hal_mem_free();
        reserve = ram / RESERVE_DIVISOR;
        size = ram / FIRST_DIVISOR;
        size = size > FIRST_MAX ? FIRST_MAX : size < FIRST_MIN ? FIRST_MIN : size;
        size &= ~(size_t)(HAL_PAGE_SIZE - 1);
        first = hal_mem_take(size, HAL_PAGE_SIZE, 0);
        hal_assert(first != NULL);
    }
    MP_STATE_PORT(floe_timers) = NULL; // those of before a soft reset, whose heap is no more
    gc_init(first, first + size);
}

// For a host that watches a running guest by reading its memory (tools/floe/image/vitals.py): nothing here runs.
// The first area; in an area, the offsets of the next one, of its table of blocks, of the table's length; bytes of
// a block.
__attribute__((section(".rodata.vitals"))) const uintptr_t floe_gc_vitals[] = {
    (uintptr_t)&MP_STATE_MEM(area),
    offsetof(mp_state_mem_area_t, next),
    offsetof(mp_state_mem_area_t, gc_alloc_table_start),
    offsetof(mp_state_mem_area_t, gc_alloc_table_byte_len),
    MICROPY_BYTES_PER_GC_BLOCK,
};
