// SPDX-License-Identifier: MIT
// The small hooks MicroPython expects of a port: the read-only data segment, the seed of `random`, FAT's time, what
// littlefs asserts.
// Owns nothing. Context: main loop.

#include "app.h"
#include "extmod/vfs.h"
#include "port.h"
#include "py/cstack.h"
#include "py/mperrno.h"
#include "py/objarray.h"
#include "py/runtime.h"
#include "shared/timeutils/timeutils.h"

enum { FRAME_ON_STACK = 40 * sizeof(mp_obj_t) }; // bytes, of which the interpreter's own are 56

// vfs.rom_ioctl: one segment, the image's data/ folder, where there is one.
mp_obj_t mp_vfs_rom_ioctl(size_t n_args, const mp_obj_t *args) {
    mp_int_t segments = floe_app.romfs != NULL ? 1 : 0;
    switch (mp_obj_get_int(args[0])) {
        case MP_VFS_ROM_IOCTL_GET_NUMBER_OF_SEGMENTS:
            return MP_OBJ_NEW_SMALL_INT(segments);
        case MP_VFS_ROM_IOCTL_GET_SEGMENT:
            if (n_args < 2 || mp_obj_get_int(args[1]) >= segments || mp_obj_get_int(args[1]) < 0) {
                return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
            }
            return mp_obj_new_memoryview('B', floe_app.romfs_size, (void *)floe_app.romfs);
        default:
            return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
    }
}

bool floe_obj_equal(mp_obj_t a, mp_obj_t b);
mp_obj_t floe_unary_op(mp_unary_op_t op, mp_obj_t arg);
void *floe_frame_alloc(size_t bytes);

unsigned long floe_random_seed(void) {
    unsigned long seed;
    if (!hal_entropy_get(&seed, sizeof(seed))) {
        seed = hal_clock_cycles(); // `random` promises variety, not secrecy; os.urandom refuses instead
    }
    return seed;
}

// As in CPython, a copy's `random` begins anew. Weak: an image has the module only where a script imports it.
extern const mp_obj_module_t mp_module_random __attribute__((weak));
static void random_copied(const hal_identity_t *id) {
    (void)id;
    const mp_obj_module_t *random = &mp_module_random;
    if (random != NULL) {
        mp_call_function_0(mp_load_attr(MP_OBJ_FROM_PTR(random), MP_QSTR_seed));
    }
}
HAL_COPIED(HAL_COPIED_SECRETS, random_copied);

// What deeply nested lists, tuples and dicts call for each level (port.mk).
bool floe_obj_equal(mp_obj_t a, mp_obj_t b) {
    mp_cstack_check();
    return mp_obj_equal(a, b);
}

mp_obj_t floe_unary_op(mp_unary_op_t op, mp_obj_t arg) {
    mp_cstack_check();
    return mp_unary_op(op, arg);
}

// Where the frame of a function goes that upstream would have on the heap, which is any with more than about seven
// variables: the heap costs a call as much as the call itself. NULL: onto the stack.
void *floe_frame_alloc(size_t bytes) { return bytes <= FRAME_ON_STACK ? NULL : m_malloc_maybe(bytes); }

void floe_lfs_refused(int code) { mp_raise_OSError(code); }

// FAT's local time, which is UTC here: years since 1980, month, day, hour, minute, seconds / 2.
unsigned int get_fattime(void) {
    timeutils_struct_time_t t;
    timeutils_seconds_since_epoch_to_struct_time(hal_clock_wall_ns() / 1000000000u, &t);
    unsigned years = t.tm_year > 1980 ? t.tm_year - 1980u : 0;
    return years << 25 | (unsigned)t.tm_mon << 21 | (unsigned)t.tm_mday << 16 | (unsigned)t.tm_hour << 11 |
           (unsigned)t.tm_min << 5 | (unsigned)t.tm_sec / 2;
}
