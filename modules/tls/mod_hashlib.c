// SPDX-License-Identifier: MIT
// Module hashlib (docs/library/hashlib.rst) over mbedTLS: md5, sha1, sha224, sha256, sha384, sha512 with update, digest
// and hexdigest. In place of upstream's extmod/modhashlib.c, which stops at sha256.
// Owns nothing. Not here: ciphers (upstream's cryptolib), hmac (frozen/lib/hmac.py). Context: main loop.

#include <string.h>

#include "mbedtls/md5.h"
#include "mbedtls/sha1.h"
#include "mbedtls/sha256.h"
#include "mbedtls/sha512.h"
#include "py/runtime.h"

typedef union {
    mbedtls_md5_context md5;
    mbedtls_sha1_context sha1;
    mbedtls_sha256_context sha256;
    mbedtls_sha512_context sha512;
} state_t;

// An algorithm: the verbs of mbedTLS, which differ in their types alone.
typedef struct {
    int (*starts)(state_t *s);
    int (*update)(state_t *s, const unsigned char *data, size_t len);
    int (*finish)(state_t *s, unsigned char *out);
    uint8_t digest_bytes, block_bytes;
} algorithm_t;

typedef struct {
    mp_obj_base_t base;
    const algorithm_t *algorithm;
    bool final;
    state_t state;
} hash_t;

enum { DIGEST_MAX = 64 };

#define VERBS(name, field, starts_call) \
    static int name##_starts(state_t *s) { return starts_call; } \
    static int name##_update(state_t *s, const unsigned char *data, size_t len) { \
        return mbedtls_##field##_update(&s->field, data, len); \
    } \
    static int name##_finish(state_t *s, unsigned char *out) { return mbedtls_##field##_finish(&s->field, out); }

VERBS(md5, md5, mbedtls_md5_starts(&s->md5))
VERBS(sha1, sha1, mbedtls_sha1_starts(&s->sha1))
VERBS(sha224, sha256, mbedtls_sha256_starts(&s->sha256, 1))
VERBS(sha256, sha256, mbedtls_sha256_starts(&s->sha256, 0))
VERBS(sha384, sha512, mbedtls_sha512_starts(&s->sha512, 1))
VERBS(sha512, sha512, mbedtls_sha512_starts(&s->sha512, 0))

static const algorithm_t md5 = {md5_starts, md5_update, md5_finish, 16, 64};
static const algorithm_t sha1 = {sha1_starts, sha1_update, sha1_finish, 20, 64};
static const algorithm_t sha224 = {sha224_starts, sha224_update, sha224_finish, 28, 64};
static const algorithm_t sha256 = {sha256_starts, sha256_update, sha256_finish, 32, 64};
static const algorithm_t sha384 = {sha384_starts, sha384_update, sha384_finish, 48, 128};
static const algorithm_t sha512 = {sha512_starts, sha512_update, sha512_finish, 64, 128};

static hash_t *get_unfinished(mp_obj_t self_in) {
    hash_t *self = MP_OBJ_TO_PTR(self_in);
    if (self->final) {
        mp_raise_ValueError(MP_ERROR_TEXT("hash is final"));
    }
    return self;
}

static mp_obj_t hash_update(mp_obj_t self_in, mp_obj_t data) {
    hash_t *self = get_unfinished(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    self->algorithm->update(&self->state, buf.buf, buf.len);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(hash_update_obj, hash_update);

static mp_obj_t hash_new(const mp_obj_type_t *type, const algorithm_t *a, size_t n_args, const mp_obj_t *args) {
    hash_t *self = mp_obj_malloc(hash_t, type);
    self->algorithm = a;
    self->final = false;
    memset(&self->state, 0, sizeof(self->state)); // all that mbedTLS's init functions do
    a->starts(&self->state);
    if (n_args == 1) {
        hash_update(MP_OBJ_FROM_PTR(self), args[0]);
    }
    return MP_OBJ_FROM_PTR(self);
}

static size_t finish(mp_obj_t self_in, unsigned char out[DIGEST_MAX]) {
    hash_t *self = get_unfinished(self_in);
    self->final = true;
    self->algorithm->finish(&self->state, out);
    return self->algorithm->digest_bytes;
}

static mp_obj_t hash_digest(mp_obj_t self_in) {
    unsigned char out[DIGEST_MAX];
    size_t n = finish(self_in, out);
    return mp_obj_new_bytes(out, n);
}
static MP_DEFINE_CONST_FUN_OBJ_1(hash_digest_obj, hash_digest);

static mp_obj_t hash_hexdigest(mp_obj_t self_in) {
    static const char digits[] = "0123456789abcdef";
    unsigned char out[DIGEST_MAX];
    char text[2 * DIGEST_MAX];
    size_t n = finish(self_in, out);
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[out[i] >> 4];
        text[2 * i + 1] = digits[out[i] & 15];
    }
    return mp_obj_new_str(text, 2 * n);
}
static MP_DEFINE_CONST_FUN_OBJ_1(hash_hexdigest_obj, hash_hexdigest);

static mp_obj_t hash_copy(mp_obj_t self_in) {
    hash_t *self = get_unfinished(self_in);
    hash_t *copy = mp_obj_malloc(hash_t, self->base.type);
    *copy = *self;
    return MP_OBJ_FROM_PTR(copy);
}
static MP_DEFINE_CONST_FUN_OBJ_1(hash_copy_obj, hash_copy);

static void hash_attr(mp_obj_t self_in, qstr attr, mp_obj_t *dest) {
    if (dest[0] != MP_OBJ_NULL) {
        return;
    }
    const algorithm_t *a = ((hash_t *)MP_OBJ_TO_PTR(self_in))->algorithm;
    if (attr == MP_QSTR_digest_size) {
        dest[0] = MP_OBJ_NEW_SMALL_INT(a->digest_bytes);
    } else if (attr == MP_QSTR_block_size) {
        dest[0] = MP_OBJ_NEW_SMALL_INT(a->block_bytes);
    } else {
        dest[1] = MP_OBJ_SENTINEL; // go on in the locals_dict
    }
}

static const mp_rom_map_elem_t hash_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_update), MP_ROM_PTR(&hash_update_obj)},
    {MP_ROM_QSTR(MP_QSTR_digest), MP_ROM_PTR(&hash_digest_obj)},
    {MP_ROM_QSTR(MP_QSTR_hexdigest), MP_ROM_PTR(&hash_hexdigest_obj)},
    {MP_ROM_QSTR(MP_QSTR_copy), MP_ROM_PTR(&hash_copy_obj)},
};
static MP_DEFINE_CONST_DICT(hash_locals, hash_locals_table);

#define HASH_TYPE(name) \
    static mp_obj_t name##_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) { \
        mp_arg_check_num(n_args, n_kw, 0, 1, false); \
        return hash_new(type, &name, n_args, args); \
    } \
    static MP_DEFINE_CONST_OBJ_TYPE(name##_type, MP_QSTR_##name, MP_TYPE_FLAG_NONE, make_new, name##_make_new, attr, \
                                    hash_attr, locals_dict, &hash_locals)

HASH_TYPE(md5);
HASH_TYPE(sha1);
HASH_TYPE(sha224);
HASH_TYPE(sha256);
HASH_TYPE(sha384);
HASH_TYPE(sha512);

static const mp_rom_map_elem_t hashlib_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_hashlib)},
    {MP_ROM_QSTR(MP_QSTR_md5), MP_ROM_PTR(&md5_type)},
    {MP_ROM_QSTR(MP_QSTR_sha1), MP_ROM_PTR(&sha1_type)},
    {MP_ROM_QSTR(MP_QSTR_sha224), MP_ROM_PTR(&sha224_type)},
    {MP_ROM_QSTR(MP_QSTR_sha256), MP_ROM_PTR(&sha256_type)},
    {MP_ROM_QSTR(MP_QSTR_sha384), MP_ROM_PTR(&sha384_type)},
    {MP_ROM_QSTR(MP_QSTR_sha512), MP_ROM_PTR(&sha512_type)},
};
static MP_DEFINE_CONST_DICT(hashlib_globals, hashlib_globals_table);

const mp_obj_module_t mod_hashlib_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&hashlib_globals,
};

MP_REGISTER_EXTENSIBLE_MODULE(MP_QSTR_hashlib, mod_hashlib_module);
