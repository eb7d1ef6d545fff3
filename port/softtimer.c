// SPDX-License-Identifier: MIT
// Timers behind machine.Timer: the verbs of upstream's shared/runtime/softtimer.h, but none is lost when MicroPython's
// queue of scheduled calls is full: it waits for room, and only ticks of a periodic timer that nobody could take are
// dropped, in step. Owns the heap of running timers (a root pointer: they are the collector's objects). Not here: the
// Python class (extmod/machine_timer.c). Context: main loop; a callback is scheduled there, runs between two bytecodes.

#include "shared/runtime/softtimer.h"

#include "hal/hal.h"
#include "py/runtime.h"

#define NS_PER_MS 1000000ull

static uint32_t ms_now(void) { return (uint32_t)(hal_clock_ns() / NS_PER_MS); }

static int earlier(mp_pairheap_t *a, mp_pairheap_t *b) {
    return soft_timer_ticks_diff(((soft_timer_entry_t *)a)->expiry_ms, ((soft_timer_entry_t *)b)->expiry_ms) < 0;
}

static soft_timer_entry_t *first(void) { return MP_STATE_PORT(floe_timers); }

static void push(soft_timer_entry_t *t) {
    mp_pairheap_t *heap = first() != NULL ? &first()->pairheap : NULL;
    MP_STATE_PORT(floe_timers) = (soft_timer_entry_t *)mp_pairheap_push(earlier, heap, &t->pairheap);
}

static bool room(void) { return mp_sched_num_pending() < MICROPY_SCHEDULER_DEPTH; }

static void fire(soft_timer_entry_t *t, uint32_t now) {
    MP_STATE_PORT(floe_timers) = (soft_timer_entry_t *)mp_pairheap_pop(earlier, &t->pairheap);
    mp_sched_schedule(t->py_callback, MP_OBJ_FROM_PTR(t));
    if (t->mode == SOFT_TIMER_MODE_PERIODIC) {
        uint32_t late = now - t->expiry_ms;
        t->expiry_ms += t->delta_ms + late - late % t->delta_ms;
        mp_pairheap_init_node(earlier, &t->pairheap);
        push(t);
    }
}

static bool run(void *arg) {
    (void)arg;
    bool worked = false;
    uint32_t now = ms_now();
    while (first() != NULL && soft_timer_ticks_diff(first()->expiry_ms, now) <= 0 && room()) {
        fire(first(), now);
        worked = true;
    }
    return worked;
}

// With a full queue there is nothing to wake up for: who empties it runs the sources again.
static uint64_t deadline(void *arg) {
    (void)arg;
    if (first() == NULL || !room()) {
        return UINT64_MAX;
    }
    uint64_t now = hal_clock_ns() / NS_PER_MS;
    return (now + (uint64_t)(int64_t)soft_timer_ticks_diff(first()->expiry_ms, (uint32_t)now)) * NS_PER_MS;
}

void soft_timer_insert(soft_timer_entry_t *t, uint32_t initial_delta_ms) {
    static hal_event_source_t source = {.run = run, .deadline = deadline};
    static bool added;
    if (!added) {
        added = true;
        hal_event_add(&source);
    }
    mp_pairheap_init_node(earlier, &t->pairheap);
    t->expiry_ms = ms_now() + initial_delta_ms;
    push(t);
}

void soft_timer_remove(soft_timer_entry_t *t) {
    if (first() != NULL) {
        MP_STATE_PORT(floe_timers) =
            (soft_timer_entry_t *)mp_pairheap_delete(earlier, &first()->pairheap, &t->pairheap);
    }
}

MP_REGISTER_ROOT_POINTER(struct _soft_timer_entry_t *floe_timers);
