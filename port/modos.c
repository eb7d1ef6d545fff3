// SPDX-License-Identifier: MIT
// Port's part of `os`, included by extmod/modos.c: urandom and the environment.
// Owns nothing: the environment is bootargs.c's. Not here: files. Context: main loop.

#include "env.h"
#include "hal/hal.h"
#include "port.h"
#include "py/mphal.h"
#include "py/runtime.h"

static mp_obj_t mp_os_urandom(mp_obj_t num) {
    mp_int_t n = mp_obj_get_int(num);
    if (n < 0) {
        mp_raise_ValueError(NULL);
    }
    vstr_t vstr;
    vstr_init_len(&vstr, (size_t)n);
    if (!hal_entropy_get(vstr.buf, (size_t)n)) {
        mp_raise_msg(&mp_type_OSError, MP_ERROR_TEXT("no entropy source"));
    }
    return mp_obj_new_bytes_from_vstr(&vstr);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mp_os_urandom_obj, mp_os_urandom);

static mp_map_elem_t *env_lookup(mp_obj_t key, mp_map_lookup_kind_t kind) {
    mp_obj_str_get_str(key); // TypeError for what is no string
    floe_env_complete();
    return mp_map_lookup(mp_obj_dict_get_map(MP_STATE_PORT(floe_env)), key, kind);
}

// getenv(): all of it, for os.environ (frozen/lib/os).
static mp_obj_t mp_os_getenv(size_t n_args, const mp_obj_t *args) {
    if (n_args == 0) {
        floe_env_complete();
        return MP_STATE_PORT(floe_env);
    }
    mp_map_elem_t *e = env_lookup(args[0], MP_MAP_LOOKUP);
    return e != NULL ? e->value : n_args == 2 ? args[1] : mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mp_os_getenv_obj, 0, 2, mp_os_getenv);

static mp_obj_t mp_os_putenv(mp_obj_t key, mp_obj_t value) {
    mp_obj_str_get_str(value);
    env_lookup(key, MP_MAP_LOOKUP_ADD_IF_NOT_FOUND)->value = value;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(mp_os_putenv_obj, mp_os_putenv);

static mp_obj_t mp_os_unsetenv(mp_obj_t key) {
    env_lookup(key, MP_MAP_LOOKUP_REMOVE_IF_FOUND);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mp_os_unsetenv_obj, mp_os_unsetenv);
