// SPDX-License-Identifier: MIT
// The script is to be interrupted while it runs an asyncio loop: a word to that loop, which cancels its main task
// (port/patches/micropython/asyncio-interrupt.patch). Owns how long a loop may take to hear it. Not here: who asks
// (hal/console.c, hal/stop.c). Only in images with asyncio. Context: main loop.

#include "app.h"
#include "port.h"
#include "py/mphal.h"
#include "py/objmodule.h"
#include "py/runtime.h"

#define HEAR_NS 1000000000ull // a task that does not await anything for so long is interrupted where it is

static uint64_t hear_by; // 0: never asked; UINT64_MAX: not asked any more

// Where it stands what a loop wants to be called. NULL: none runs, or it has heard it.
static mp_obj_t *loop_ask(void) {
    mp_map_t *loaded = &MP_STATE_VM(mp_loaded_modules_dict).map;
    mp_map_elem_t *e = mp_map_lookup(loaded, MP_OBJ_NEW_QSTR(MP_QSTR_asyncio_dot_core), MP_MAP_LOOKUP);
    if (e != NULL) {
        mp_obj_module_t *core = MP_OBJ_TO_PTR(e->value);
        e = mp_map_lookup(&core->globals->map, MP_OBJ_NEW_QSTR(MP_QSTR__interrupt), MP_MAP_LOOKUP);
    }
    return e != NULL && e->value != mp_const_none ? &e->value : NULL;
}

// Nobody sleeps while the loop has yet to hear it: what ends its wait may be done between two looks at the events.
static bool source_run(void *arg) {
    (void)arg;
    if (hear_by == UINT64_MAX) {
        return false;
    }
    mp_obj_t *ask = loop_ask();
    if (ask != NULL && hal_clock_ns() < hear_by) {
        return true;
    }
    hear_by = UINT64_MAX;
    if (ask != NULL) {
        *ask = mp_const_none;
        mp_sched_keyboard_interrupt();
    }
    return true;
}

bool floe_interrupt_loop(void) {
    static hal_event_source_t source = {.run = source_run};
    mp_obj_t *ask = loop_ask();
    if (ask == NULL || !mp_sched_schedule(*ask, mp_const_none)) {
        return false;
    }
    if (hear_by == 0) {
        hal_event_add(&source);
    }
    hear_by = hal_clock_ns() + HEAR_NS;
    return true;
}
