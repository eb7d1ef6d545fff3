// SPDX-License-Identifier: MIT
// Python: module _bits, for the bit commands of images/redis: a value may have millions of bits. Owns nothing. Not
// here: the bits themselves (bits.c). Context: main loop.

#include <string.h>

#include "bits.h"
#include "py/runtime.h"

// The buffer of an argument, and two more as the range of bits from..to-1 within it.
static mp_buffer_info_t range_of(const mp_obj_t *args, uint64_t *from, uint64_t *to) {
    mp_buffer_info_t buf;
    mp_get_buffer_raise(args[0], &buf, MP_BUFFER_READ);
    mp_int_t low = mp_obj_get_int(args[1]);
    mp_int_t high = mp_obj_get_int(args[2]);
    if (low < 0 || high < low || (uint64_t)high > (uint64_t)buf.len * 8) {
        mp_raise_ValueError(NULL);
    }
    *from = (uint64_t)low;
    *to = (uint64_t)high;
    return buf;
}

// count(data, from, to)
static mp_obj_t mod_bits_count(mp_obj_t data, mp_obj_t low, mp_obj_t high) {
    uint64_t from;
    uint64_t to;
    mp_buffer_info_t buf = range_of((mp_obj_t[]){data, low, high}, &from, &to);
    return mp_obj_new_int_from_ull(resp_bits_count(buf.buf, from, to));
}
static MP_DEFINE_CONST_FUN_OBJ_3(mod_bits_count_obj, mod_bits_count);

// find(data, from, to, bit): its place; to, if there is none.
static mp_obj_t mod_bits_find(size_t n_args, const mp_obj_t *args) {
    uint64_t from;
    uint64_t to;
    mp_buffer_info_t buf = range_of(args, &from, &to);
    return mp_obj_new_int_from_ull(resp_bits_find(buf.buf, from, to, mp_obj_is_true(args[3])));
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_bits_find_obj, 4, 4, mod_bits_find);

// join(target, others, op): each byte of the bytearray with that of the others; a shorter one has zeros behind it.
static mp_obj_t mod_bits_join(mp_obj_t target, mp_obj_t others, mp_obj_t op_in) {
    mp_buffer_info_t to;
    mp_get_buffer_raise(target, &to, MP_BUFFER_RW);
    mp_int_t op = mp_obj_get_int(op_in);
    if (op == RESP_BITS_NOT) {
        resp_bits_join(to.buf, NULL, to.len, RESP_BITS_NOT);
        return mp_const_none;
    }
    mp_obj_t *items;
    size_t count;
    mp_obj_get_array(others, &count, &items);
    for (size_t i = 0; i < count; i++) {
        mp_buffer_info_t from;
        mp_get_buffer_raise(items[i], &from, MP_BUFFER_READ);
        size_t len = MIN(from.len, to.len);
        resp_bits_join(to.buf, from.buf, len, (resp_bits_op_t)op);
        if (op == RESP_BITS_AND) {
            memset((byte *)to.buf + len, 0, to.len - len);
        }
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(mod_bits_join_obj, mod_bits_join);

static const mp_rom_map_elem_t mod_bits_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__bits)},
    {MP_ROM_QSTR(MP_QSTR_count), MP_ROM_PTR(&mod_bits_count_obj)},
    {MP_ROM_QSTR(MP_QSTR_find), MP_ROM_PTR(&mod_bits_find_obj)},
    {MP_ROM_QSTR(MP_QSTR_join), MP_ROM_PTR(&mod_bits_join_obj)},
};
static MP_DEFINE_CONST_DICT(mod_bits_globals, mod_bits_globals_table);

const mp_obj_module_t mod_bits_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&mod_bits_globals,
};
MP_REGISTER_MODULE(MP_QSTR__bits, mod_bits_module);
