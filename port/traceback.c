// SPDX-License-Identifier: MIT
// Python frames for a panic. There is no exception to ask, so the stack is searched for the bytecode
// interpreter's frames (mp_code_state_t, py/bc.h): a word that points to a bytecode function, followed by an
// instruction pointer inside that function's code. Owns nothing. Context: inside a panic, on the panic stack.
// And what a host needs to find the same frames in a guest that runs (tools/floe/image/frames.py).

#include <stdio.h>

#include "boot/boot.h"
#include "hal/internal.h"
#include "port.h"
#include "py/bc.h"
#include "py/gc.h"
#include "py/objfun.h"

enum { FRAMES_MAX = 16, CODE_MAX = 65536 };

// The chain of those who catch exceptions, each call of the bytecode interpreter among them; the pools of names.
__attribute__((section(".rodata.vitals"))) const uintptr_t floe_frame_vitals[] = {
    (uintptr_t)&MP_STATE_THREAD(nlr_top),
    (uintptr_t)&MP_STATE_VM(last_pool),
};

// What that host takes for granted beside them.
_Static_assert(offsetof(nlr_buf_t, prev) == 0 && offsetof(nlr_buf_t, regs) == 16 && MICROPY_NLR_X64, "nlr_push");
_Static_assert(offsetof(mp_code_state_t, fun_bc) == 0 && offsetof(mp_code_state_t, ip) == 8, "a frame");
_Static_assert(offsetof(mp_obj_fun_bc_t, context) == 8 && offsetof(mp_obj_fun_bc_t, bytecode) == 24, "a function");
_Static_assert(offsetof(mp_module_context_t, constants.qstr_table) == 16 && sizeof(qstr_short_t) == 2, "a module");
_Static_assert(offsetof(qstr_pool_t, len) == 24 && offsetof(qstr_pool_t, qstrs) == 48, "a pool");

static bool readable(uintptr_t p, size_t len) {
    if (p % sizeof(uintptr_t) != 0) {
        return false;
    }
    if (p >= (uintptr_t)link_rodata && p + len <= (uintptr_t)link_monitor) {
        return true;
    }
    if (p >= (uintptr_t)link_data && p + len <= (uintptr_t)link_monitor_ro) {
        return true;
    }
    for (const mp_state_mem_area_t *a = &MP_STATE_MEM(area); a != NULL; a = a->next) {
        if (p >= (uintptr_t)a->gc_pool_start && p + len <= (uintptr_t)a->gc_pool_end) {
            return true;
        }
    }
    return false;
}

static bool is_frame(const mp_code_state_t *cs) {
    uintptr_t fun = (uintptr_t)cs->fun_bc;
    if (!readable(fun, sizeof(mp_obj_fun_bc_t)) ||
        (cs->fun_bc->base.type != &mp_type_fun_bc && cs->fun_bc->base.type != &mp_type_gen_wrap)) {
        return false;
    }
    uintptr_t code = (uintptr_t)cs->fun_bc->bytecode, ip = (uintptr_t)cs->ip;
    return ip >= code && ip < code + CODE_MAX && readable((uintptr_t)cs->fun_bc->context, sizeof(mp_module_context_t));
}

static void print_frame(const mp_code_state_t *cs) {
    const byte *ip = cs->fun_bc->bytecode;
    MP_BC_PRELUDE_SIG_DECODE(ip);
    MP_BC_PRELUDE_SIZE_DECODE(ip);
    const byte *line_info_top = ip + n_info;
    const byte *code_start = ip + n_info + n_cell;
    size_t offset = cs->ip > code_start ? (size_t)(cs->ip - code_start) : 0;
    qstr block = mp_decode_uint_value(ip);
    ip = mp_decode_uint_skip(ip);
    for (size_t i = 0; i < n_pos_args + n_kwonly_args; i++) {
        ip = mp_decode_uint_skip(ip);
    }
    const qstr_short_t *names = cs->fun_bc->context->constants.qstr_table;
    const char *file = qstr_str(names[0]);
    size_t line = mp_bytecode_get_source_line(ip, line_info_top, offset);
    char text[160];
    int n =
        snprintf(text, sizeof(text), "  File \"%s\", line %u, in %s\n", file, (unsigned)line, qstr_str(names[block]));
    hal_uart_write(text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
    (void)scope_flags;
    (void)n_state;
    (void)n_exc_stack;
    (void)n_def_pos_args;
}

void floe_print_frames(uintptr_t sp) {
    unsigned found = 0;
    if (sp < (uintptr_t)boot_stack_bottom || sp >= (uintptr_t)boot_stack_top) {
        sp = (uintptr_t)boot_stack_bottom;
    }
    for (sp &= ~(uintptr_t)7; sp + sizeof(mp_code_state_t) <= (uintptr_t)boot_stack_top && found < FRAMES_MAX;
         sp += 8) {
        const mp_code_state_t *cs = (const mp_code_state_t *)sp;
        if (is_frame(cs)) {
            if (found++ == 0) {
                static const char head[] = "Traceback (innermost call first):\n";
                hal_uart_write(head, sizeof(head) - 1);
            }
            print_frame(cs);
        }
    }
}
