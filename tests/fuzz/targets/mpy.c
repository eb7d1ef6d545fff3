// SPDX-License-Identifier: MIT
// The loader of .mpy files, as ready kernels of the profile `sealed` have it: header, names, constants, functions. What
// is loaded is not run: bytecode is not safe against who writes it, and upstream says so. Nor are lengths as upstream
// reads them, which are bounded here (targets.toml). Upstream's py/persistentcode.c, py/reader.c

#include "py/mpconfig.h"

#include "py.h"

#include "py/reader.c"

#include "py/persistentcode.c"

static const uint8_t *file;
static size_t file_len;

// ---- what it asks for ----------------------------------------------------------------------------

const mp_obj_type_t mp_type_str, mp_type_bytes;
const struct _mp_obj_singleton_t {
    mp_obj_base_t base;
} mp_const_ellipsis_obj;
const mp_obj_str_t mp_const_empty_bytes_obj;

void mp_reader_new_file(mp_reader_t *reader, qstr name) { // not called
    (void)reader;
    (void)name;
    fuzz_leave();
}

static void whole(const void *data, size_t len) { // what is used in place lies in the file
    FUZZ_CHECK((const uint8_t *)data >= file && len <= file_len && (const uint8_t *)data + len <= file + file_len);
}

void *mp_obj_malloc_helper(size_t bytes, const mp_obj_type_t *type) {
    mp_obj_base_t *o = m_malloc(bytes);
    o->type = type;
    return o;
}
size_t qstr_compute_hash(const byte *data, size_t len) {
    py_read(data, len);
    return len;
}
qstr qstr_find_strn(const char *str, size_t len) {
    py_read(str, len);
    return MP_QSTRnull;
}
qstr qstr_from_strn(const char *str, size_t len) {
    py_read(str, len);
    return MP_QSTR_;
}
qstr qstr_from_strn_static(const char *str, size_t len) {
    whole(str, len + 1);
    py_read(str, len + 1);
    return MP_QSTR_;
}
mp_obj_t mp_obj_new_str_from_utf8_vstr(vstr_t *v) { return py_text(v->buf, v->len); }
mp_obj_t mp_obj_new_bytes_from_vstr(vstr_t *v) { return py_text(v->buf, v->len); }
void vstr_init_len(vstr_t *v, size_t len) { *v = (vstr_t){.alloc = len + 1, .len = len, .buf = m_malloc(len + 1)}; }
mp_obj_t mp_parse_num_integer(const char *str, size_t len, int base, mp_lexer_t *lex) {
    (void)base;
    (void)lex;
    return py_text(str, len);
}
mp_obj_t mp_parse_num_decimal(const char *str, size_t len, bool imag, bool complex, mp_lexer_t *lex) {
    (void)imag;
    (void)complex;
    (void)lex;
    return py_text(str, len);
}
mp_raw_code_t *mp_emit_glue_new_raw_code(void) { return m_new0(mp_raw_code_t, 1); }
void mp_emit_glue_assign_bytecode(mp_raw_code_t *rc, const byte *code, mp_raw_code_t **children, uint16_t scope_flags) {
    whole(code, 1);
    rc->fun_data = code;
    rc->children = children;
    rc->is_generator = (scope_flags & MP_SCOPE_FLAG_GENERATOR) != 0;
}
void nlr_push_jump_callback(nlr_jump_callback_node_t *node, nlr_jump_callback_fun_t fun) {
    (void)node;
    (void)fun;
}
void nlr_pop_jump_callback(bool run) { (void)run; }
void nlr_call_jump_callbacks(nlr_buf_t *nlr) { (void)nlr; }
void mp_call_function_1_from_nlr_jump_callback(void *ctx) { (void)ctx; }
// ---- the file ------------------------------------------------------------------------------------

void fuzz_one(void) {
    file = in_rest(4000, &file_len);
    mp_reader_t reader;
    mp_compiled_module_t module = {.context = m_new_obj(mp_module_context_t)};
    mp_reader_new_mem(&reader, file, file_len, MP_READER_IS_ROM);
    mp_raw_code_load(&reader, &module);
    FUZZ_CHECK(module.rc != NULL);
}
