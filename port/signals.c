// SPDX-License-Identifier: MIT
// The script is to be interrupted and has said what is to be called then (frozen/lib/signal.py): that is called,
// between two bytecodes, and what it raises comes out where the script is. Owns whether it was. Not here: who asks
// (hal/console.c, hal/stop.c). Only in images with that module. Context: main loop.

#include "app.h"
#include "port.h"
#include "py/mphal.h"
#include "py/objmodule.h"
#include "py/runtime.h"

static bool asked; // scheduled, and not called yet

// The scheduler prints what a function raises; a handler's exception is the script's.
static mp_obj_t call(mp_obj_t handler) {
    asked = false;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_call_function_1(handler, mp_const_none);
        nlr_pop();
    } else {
        mp_sched_exception(MP_OBJ_FROM_PTR(nlr.ret_val));
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(call_obj, call);

// What the script wants to be called. NULL: nothing. The module's name is in the image where the module is.
static mp_obj_t handler(void) {
    mp_map_elem_t *e = mp_map_lookup(&MP_STATE_VM(mp_loaded_modules_dict).map, MP_OBJ_NEW_QSTR(qstr_from_str("signal")),
                                     MP_MAP_LOOKUP);
    if (e != NULL) {
        mp_obj_module_t *module = MP_OBJ_TO_PTR(e->value);
        e = mp_map_lookup(&module->globals->map, MP_OBJ_NEW_QSTR(MP_QSTR__interrupt), MP_MAP_LOOKUP);
    }
    return e != NULL && e->value != mp_const_none ? e->value : MP_OBJ_NULL;
}

// Nobody sleeps before it was called, nor while what it raised has yet to come out.
static bool source_run(void *arg) {
    (void)arg;
    return asked || MP_STATE_MAIN_THREAD(mp_pending_exception) != MP_OBJ_NULL;
}

bool floe_interrupt_signal(void) {
    static hal_event_source_t source = {.run = source_run};
    static bool added;
    mp_obj_t h = handler();
    if (h == MP_OBJ_NULL) {
        return floe_interrupt_loop();
    }
    if (!added) {
        added = true;
        hal_event_add(&source);
    }
    asked = asked || mp_sched_schedule(MP_OBJ_FROM_PTR(&call_obj), h);
    return asked;
}
