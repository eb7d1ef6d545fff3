// SPDX-License-Identifier: MIT
// floe.secret() and floe.secrets(): the files that `floe run --secret NAME=FILE` handed over. Each call reads the
// host's copy again and keeps none. Owns nothing. Not here: how they come (hal.h, blobs). Context: main loop.

#include <string.h>

#include "hal/hal.h"
#include "py/mperrno.h"
#include "py/objstr.h"
#include "py/runtime.h"

#define PREFIX "secret/"

// secret(name) -> bytes. KeyError without one of that name; OSError(EFBIG), OSError(EIO).
static mp_obj_t mod_floe_secret(mp_obj_t name_in) {
    size_t len;
    const char *name = mp_obj_str_get_data(name_in, &len);
    char blob[HAL_BLOB_NAME_MAX + 1] = PREFIX;
    int size = -ENOENT;
    if (len < sizeof(blob) - (sizeof(PREFIX) - 1) && memchr(name, '\0', len) == NULL) {
        memcpy(blob + sizeof(PREFIX) - 1, name, len);
        blob[sizeof(PREFIX) - 1 + len] = '\0';
        size = hal_blob_size(blob);
    }
    if (size == -ENOENT) {
        mp_raise_msg_varg(&mp_type_KeyError, MP_ERROR_TEXT("no secret '%s': floe run --secret %s=FILE"), name, name);
    }
    if (size < 0) {
        mp_raise_OSError(-size);
    }
    vstr_t v;
    vstr_init_len(&v, (size_t)size);
    int err = hal_blob_read(blob, v.buf, (size_t)size);
    if (err != 0) {
        mp_raise_OSError(-err);
    }
    return mp_obj_new_bytes_from_vstr(&v);
}
MP_DEFINE_CONST_FUN_OBJ_1(mod_floe_secret_obj, mod_floe_secret);

// secrets() -> names, in the host's order.
static mp_obj_t mod_floe_secrets(void) {
    mp_obj_t names = mp_obj_new_list(0, NULL);
    char name[HAL_BLOB_NAME_MAX + 1];
    size_t pos = 0;
    int len;
    while ((len = hal_blob_next(PREFIX, &pos, name, sizeof(name))) >= 0) {
        mp_obj_list_append(names, mp_obj_new_str(name, MIN((size_t)len, sizeof(name) - 1)));
    }
    if (len != -ENOENT) {
        mp_raise_OSError(-len);
    }
    return names;
}
MP_DEFINE_CONST_FUN_OBJ_0(mod_floe_secrets_obj, mod_floe_secrets);
