// SPDX-License-Identifier: MIT
// What the guest did last, for a host that reads its memory (tools/floe/image/spans.py): how long it waited for an
// interrupt, how long garbage was collected. Owns the ring. Not here: who tells of it. Context: main loop.

#include "internal.h"

enum { SPANS = 256 };

// end: 0 while it goes on. count: of those that are over; the slot behind them is the one that is being filled.
static volatile struct {
    uint64_t begin_and_kind, end;
} spans[SPANS];
static volatile uint64_t count;

__attribute__((section(".rodata.vitals"))) const uintptr_t hal_span_vitals[] = {
    (uintptr_t)spans,
    (uintptr_t)&count,
    SPANS,
};

static unsigned begun; // and not ended: within a collection a finaliser may wait, and the collection is two spans then

static uint64_t turn(bool ends, bool begins, hal_span_kind_t kind) {
    uint64_t now = hal_clock_ns(), number = count;
    if (ends) {
        spans[number % SPANS].end = now;
        count = ++number;
    }
    if (begins) { // the end last: a slot with an old one does not go on, whatever its begin is
        spans[number % SPANS].begin_and_kind = now << 1 | kind;
        spans[number % SPANS].end = 0;
    }
    return now;
}

uint64_t hal_span_begin(hal_span_kind_t kind) { return turn(begun++ > 0, true, kind); }

uint64_t hal_span_end(void) {
    return turn(true, --begun > 0, HAL_SPAN_COLLECTION); // nothing runs within a wait
}
