// SPDX-License-Identifier: MIT
// Runs a frozen script and turns the way it ended into an exit code. Owns nothing. Not here: imports, which
// are MicroPython's. Context: main loop, at start.

#include "py/builtin.h"
#include "py/emitglue.h"
#include "py/frozenmod.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/readline/readline.h"

#include "app.h"
#include "dev/dev.h"
#include "port.h"

enum { CODE_OK = 0, CODE_EXCEPTION = 1, CODE_MAX = 119, CODE_NO_MEMORY = 121 };

static bool is_a(mp_obj_t exc, const mp_obj_type_t *type) {
    return mp_obj_is_subclass_fast(MP_OBJ_FROM_PTR(mp_obj_get_type(exc)), MP_OBJ_FROM_PTR(type));
}

// sys.exit(): no value or None is 0, an integer is itself (its low bits where it is out of range),
// text is printed and 1.
static int exit_code(mp_obj_t exc) {
    mp_obj_t value = mp_obj_exception_get_value(exc);
    if (value == mp_const_none) {
        return CODE_OK;
    }
    if (value == mp_const_true || value == mp_const_false) {
        return value == mp_const_true;
    }
    if (mp_obj_is_small_int(value)) {
        mp_int_t code = MP_OBJ_SMALL_INT_VALUE(value), low = code & 0x7f;
        return code >= 0 && code <= CODE_MAX ? (int)code : low > 0 && low <= CODE_MAX ? (int)low : CODE_EXCEPTION;
    }
    if (mp_obj_is_int(value)) {
        return CODE_EXCEPTION; // beyond 63 bits
    }
    mp_obj_print_helper(&mp_plat_print, value, PRINT_STR);
    mp_print_str(&mp_plat_print, "\n");
    return CODE_EXCEPTION;
}

// Printing runs the script's own __str__ and __repr__, which may raise in their turn.
static int ended_by(mp_obj_t exc) {
    volatile int code = is_a(exc, &mp_type_MemoryError) ? CODE_NO_MEMORY : CODE_EXCEPTION;
    nlr_buf_t nlr;
    if (FLOE_DEV && floe_repl_is_soft_reset(exc)) {
        return FLOE_SOFT_RESET;
    }
    if (nlr_push(&nlr) == 0) {
        if (is_a(exc, &mp_type_SystemExit)) {
            code = exit_code(exc);
        } else if (is_a(exc, &mp_type_KeyboardInterrupt) &&
                   mp_obj_exception_get_value(exc) == MP_OBJ_NEW_QSTR(MP_QSTR_)) {
            code = CODE_OK; // an asyncio loop's main task was cancelled for it, and has cleaned up
        } else {
            mp_obj_print_exception(&mp_plat_print, exc);
        }
        nlr_pop();
    } else {
        mp_printf(&mp_plat_print, "\nfloe: %q, whose text cannot be printed\n", mp_obj_get_type(exc)->name);
    }
    return code;
}

static void call_atexit(void) {
    #if MICROPY_PY_SYS_ATEXIT
    if (mp_obj_is_callable(MP_STATE_VM(sys_exitfunc))) {
        mp_obj_t f = MP_STATE_VM(sys_exitfunc);
        MP_STATE_VM(sys_exitfunc) = mp_const_none;
        mp_call_function_0(f);
    }
    #endif
}

void floe_interrupt(void) {
    if (floe_app.interrupt_loop == NULL || !floe_app.interrupt_loop()) {
        mp_sched_keyboard_interrupt();
    }
}

static mp_obj_t frozen_function(const char *name) {
    void *found = NULL;
    int type;
    mp_find_frozen_module(name, &type, &found);
    const mp_frozen_module_t *frozen = found;
    mp_module_context_t *ctx = m_new_obj(mp_module_context_t);
    ctx->module.globals = mp_globals_get();
    ctx->constants = frozen->constants;
    return mp_make_function_from_proto_fun(frozen->proto_fun, ctx, NULL);
}

int floe_run_frozen(const char *name) {
    bool swapped = FLOE_DEV && name == NULL;
    if (!swapped && mp_find_frozen_module(name, NULL, NULL) != MP_IMPORT_STAT_FILE) {
        mp_printf(&mp_plat_print, "floe: %s is not in this image\n", name);
        return CODE_EXCEPTION;
    }
    int code = CODE_OK;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_obj_t f = swapped ? floe_swap_take_main() : frozen_function(name);
        mp_hal_set_interrupt_char(CHAR_CTRL_C);
        mp_call_function_0(f);
        mp_handle_pending(true);
        call_atexit();
        nlr_pop();
    } else {
        mp_hal_set_interrupt_char(-1);
        code = ended_by(MP_OBJ_FROM_PTR(nlr.ret_val));
        nlr_buf_t again;
        if (nlr_push(&again) == 0) {
            call_atexit();
            nlr_pop();
        } else {
            code = ended_by(MP_OBJ_FROM_PTR(again.ret_val));
        }
    }
    mp_hal_set_interrupt_char(-1);
    return code;
}
