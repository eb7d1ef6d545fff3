// SPDX-License-Identifier: MIT
// Module `_http`: what costs a web server the most where requests differ. Owns nothing. Context: main loop.

#include "httpkey.h"
#include "py/objstr.h"
#include "py/runtime.h"

// key(head) -> bytes, or None: see httpkey.h.
static mp_obj_t mod_http_key(mp_obj_t head_in) {
    mp_buffer_info_t head;
    mp_get_buffer_raise(head_in, &head, MP_BUFFER_READ);
    uint8_t key[HTTPKEY_MAX];
    size_t size = httpkey_make(head.buf, head.len, key);
    return size == 0 ? mp_const_none : mp_obj_new_bytes(key, size);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_http_key_obj, mod_http_key);

static const mp_rom_map_elem_t mod_http_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__http)},
    {MP_ROM_QSTR(MP_QSTR_key), MP_ROM_PTR(&mod_http_key_obj)},
};
static MP_DEFINE_CONST_DICT(mod_http_globals, mod_http_globals_table);

const mp_obj_module_t mod_http_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&mod_http_globals,
};
MP_REGISTER_MODULE(MP_QSTR__http, mod_http_module);
