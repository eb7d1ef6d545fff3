// SPDX-License-Identifier: MIT
// Module `_timelimit`: a function is called, and an exception comes out of whatever it does when its time is over: a
// loop, a sleep, a wait for a socket. One that goes on after that gets the exception again each second, and at last the
// VM ends with a panic that says where it was. Owns the one limit there is. Not here: Ctrl-C (script.c). Only in images
// that import it. Context: main loop.

#include "hal/hal.h"
#include "py/runtime.h"

#define NS_PER_MS 1000000ull
#define AGAIN_NS 1000000000ull

enum { TIMES_MOST = 4 };

// The exception is on the stack of call(), too, where the collector finds it. MP_OBJ_NULL: no function runs.
static mp_obj_t limit_exc;
static uint64_t limit_ns;
static int times; // it has come out

static mp_obj_t pending(void) { return MP_STATE_MAIN_THREAD(mp_pending_exception); }

// Nobody sleeps while it has yet to come out. Another exception on its way, Ctrl-C's say, goes first.
static bool source_run(void *arg) {
    (void)arg;
    if (limit_exc == MP_OBJ_NULL) {
        return false;
    }
    if (pending() == MP_OBJ_NULL && hal_clock_ns() >= limit_ns) {
        if (times++ == TIMES_MOST) {
            hal_panic("a call that goes on after %d exceptions of its time limit", TIMES_MOST);
        }
        limit_ns = hal_clock_ns() + AGAIN_NS;
        mp_sched_exception(limit_exc);
    }
    return pending() == limit_exc;
}

static uint64_t source_deadline(void *arg) {
    (void)arg;
    return limit_exc == MP_OBJ_NULL ? UINT64_MAX : limit_ns;
}

static void end(void) {
    if (pending() == limit_exc) {
        MP_STATE_MAIN_THREAD(mp_pending_exception) = MP_OBJ_NULL; // too late: the function has ended
    }
    limit_exc = MP_OBJ_NULL;
}

// call(ms, exception, function, *args) -> what the function returns. RuntimeError where such a call runs already.
static mp_obj_t mod_timelimit_call(size_t n, const mp_obj_t *args) {
    static hal_event_source_t source = {.run = source_run, .deadline = source_deadline};
    static bool added;
    mp_int_t ms = mp_obj_get_int(args[0]);
    if (limit_exc != MP_OBJ_NULL) {
        mp_raise_msg(&mp_type_RuntimeError, MP_ERROR_TEXT("a call with a time limit runs already"));
    }
    if (!mp_obj_is_exception_instance(args[1])) {
        mp_raise_TypeError(MP_ERROR_TEXT("the second argument is no exception"));
    }
    if (!added) {
        added = true;
        hal_event_add(&source);
    }
    limit_ns = hal_clock_ns() + (ms > 0 ? (uint64_t)ms : 0) * NS_PER_MS;
    limit_exc = args[1];
    times = 0;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_obj_t result = mp_call_function_n_kw(args[2], n - 3, 0, args + 3);
        nlr_pop();
        end();
        return result;
    }
    end();
    nlr_jump(nlr.ret_val);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR(call_obj, 3, mod_timelimit_call);

static const mp_rom_map_elem_t globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__timelimit)},
    {MP_ROM_QSTR(MP_QSTR_call), MP_ROM_PTR(&call_obj)},
};
static MP_DEFINE_CONST_DICT(globals, globals_table);

const mp_obj_module_t mod_timelimit = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&globals,
};

MP_REGISTER_MODULE(MP_QSTR__timelimit, mod_timelimit);
