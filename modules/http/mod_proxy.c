// SPDX-License-Identifier: MIT
// Module `_proxy`: the frequent case of a proxy, which images/web does per request. Owns nothing. Context: main loop.

#include "httppass.h"
#include "py/objstr.h"
#include "py/objtuple.h"
#include "py/runtime.h"

// request(head, (bytes, bytes, bytes)) -> bytes, or None: see httppass.h.
static mp_obj_t mod_proxy_request(mp_obj_t head_in, mp_obj_t words_in) {
    mp_buffer_info_t head, word;
    mp_get_buffer_raise(head_in, &head, MP_BUFFER_READ);
    mp_obj_t *pieces;
    mp_obj_get_array_fixed_n(words_in, 3, &pieces);
    httppass_words_t words;
    for (unsigned i = 0; i < 3; i++) {
        mp_get_buffer_raise(pieces[i], &word, MP_BUFFER_READ);
        words.data[i] = word.buf;
        words.size[i] = word.len;
    }
    vstr_t out;
    vstr_init_len(&out, httppass_room(head.len, &words));
    out.len = httppass_request(head.buf, head.len, &words, (uint8_t *)out.buf);
    if (out.len == 0) {
        vstr_clear(&out);
        return mp_const_none;
    }
    return mp_obj_new_bytes_from_vstr(&out);
}
static MP_DEFINE_CONST_FUN_OBJ_2(mod_proxy_request_obj, mod_proxy_request);

// answer(data) -> (status, size of the body, bytes to send), or None: see httppass.h.
static mp_obj_t mod_proxy_answer(mp_obj_t data_in) {
    mp_buffer_info_t data;
    mp_get_buffer_raise(data_in, &data, MP_BUFFER_READ);
    httppass_answer_t answer;
    if (!httppass_answer(data.buf, data.len, &answer)) {
        return mp_const_none;
    }
    mp_obj_t wire = data_in;
    if (answer.cuts > 0) {
        vstr_t out;
        vstr_init(&out, data.len);
        size_t at = 0;
        for (unsigned i = 0; i < answer.cuts; i++) {
            vstr_add_strn(&out, (const char *)data.buf + at, answer.cut[i].from - at);
            at = answer.cut[i].to;
        }
        vstr_add_strn(&out, (const char *)data.buf + at, data.len - at);
        wire = mp_obj_new_bytes_from_vstr(&out);
    }
    mp_obj_t made[] = {MP_OBJ_NEW_SMALL_INT(answer.status), MP_OBJ_NEW_SMALL_INT(answer.body), wire};
    return mp_obj_new_tuple(3, made);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_proxy_answer_obj, mod_proxy_answer);

static const mp_rom_map_elem_t mod_proxy_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__proxy)},
    {MP_ROM_QSTR(MP_QSTR_request), MP_ROM_PTR(&mod_proxy_request_obj)},
    {MP_ROM_QSTR(MP_QSTR_answer), MP_ROM_PTR(&mod_proxy_answer_obj)},
};
static MP_DEFINE_CONST_DICT(mod_proxy_globals, mod_proxy_globals_table);

const mp_obj_module_t mod_proxy_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&mod_proxy_globals,
};
MP_REGISTER_MODULE(MP_QSTR__proxy, mod_proxy_module);
