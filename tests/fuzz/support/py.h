// SPDX-License-Identifier: MIT
// Of MicroPython's runtime what a source of its own asks for that a target includes: objects are blocks of exactly
// their size, whatever bytes they are made of are read, and an exception leaves fuzz_one(). To be included once, behind
// "py/mpconfig.h" and ahead of the source.

#ifndef FLOE_FUZZ_PY_H
#define FLOE_FUZZ_PY_H

#include <string.h>

#include "py/builtin.h"
#include "py/objstr.h"
#include "py/objtuple.h"
#include "py/runtime.h"
#include "world.h"

enum { PY_MOST = 1 << 20 }; // bytes that the heap gives at once

mp_state_ctx_t mp_state_ctx;
static volatile uint8_t py_seen;

// Whoever gets these bytes may read them all.
static inline void py_read(const void *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        py_seen ^= ((const uint8_t *)data)[i];
    }
}

void *m_malloc(size_t bytes) {
    if (bytes > PY_MOST) {
        fuzz_leave(); // MemoryError
    }
    return in_space(bytes);
}
void *m_malloc0(size_t bytes) { return m_malloc(bytes); }
void m_free(void *p, size_t bytes) { // with the run's end
    (void)p;
    (void)bytes;
}
void nlr_pop(void) {}
NORETURN void nlr_jump(void *value) {
    (void)value;
    fuzz_leave();
}
NORETURN void mp_raise_OSError(int code) {
    (void)code;
    fuzz_leave();
}
NORETURN void mp_raise_ValueError(mp_rom_error_text_t msg) {
    (void)msg;
    fuzz_leave();
}

mp_obj_t mp_obj_new_tuple(size_t n, const mp_obj_t *items) {
    (void)items;
    if (n > PY_MOST / sizeof(mp_obj_t)) {
        fuzz_leave();
    }
    mp_obj_tuple_t *t = in_space(sizeof *t + n * sizeof(mp_obj_t));
    t->len = n;
    return MP_OBJ_FROM_PTR(t);
}
static inline mp_obj_t py_text(const void *data, size_t len) {
    py_read(data, len);
    return mp_const_none;
}

#endif
