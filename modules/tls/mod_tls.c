// SPDX-License-Identifier: MIT
// Module tls: SSLContext, as MicroPython documents it (docs/library/ssl.rst), with CPython's names for what that lacks:
// ALPN, version limits, check_hostname, load_default_certs. frozen/lib/ssl.py is `ssl` over it.
// Owns nothing: a context lives in tls_ctx.c. Not here: SSLSocket (mod_tlssock.c). Context: main loop.

#include "mod_tls.h"

#include <errno.h>
#include <string.h>

#include "env.h"
#include "extmod/vfs.h"
#include "hal.h"
#include "py/builtin.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/objstr.h"
#include "py/runtime.h"
#include "py/stream.h"

#define DEFAULT_CA "/rom/tls/ca.pem" // where `floe build` puts what [tls] ca of image.toml names

enum { PROTOCOL_CLIENT = 0, PROTOCOL_SERVER = 1, ALPN_NAMES_MAX = 16, CIPHERS_MAX = 64 };

NORETURN void mod_tls_raise(int r, mp_rom_error_text_t invalid) {
    if (r == -EINVAL) {
        mp_raise_ValueError(invalid);
    }
    mp_raise_OSError(-r);
}

// ---- files --------------------------------------------------------------------------------------

static mp_obj_t read_file(mp_obj_t path) {
    mp_obj_t args[2] = {path, MP_OBJ_NEW_QSTR(MP_QSTR_rb)};
    mp_map_t no_keywords;
    mp_map_init(&no_keywords, 0);
    mp_obj_t file = mp_vfs_open(2, args, &no_keywords);
    mp_obj_t method[2];
    mp_load_method(file, MP_QSTR_read, method);
    mp_obj_t data = mp_call_method_n_kw(0, 0, method);
    mp_stream_close(file);
    return data;
}

// A certificate or key: what a file holds if it is a str that names one, else the object's own bytes. Copied, because
// PEM is to end in a NUL.
static tls_blob_t to_blob(mp_obj_t obj) {
    size_t len;
    const char *text = mp_obj_is_str(obj) ? mp_obj_str_get_data(obj, &len) : NULL;
    if (text != NULL && memchr(text, '\n', len) == NULL) {
        obj = read_file(obj);
    }
    mp_buffer_info_t buf;
    if (!mp_get_buffer(obj, &buf, MP_BUFFER_READ)) {
        mp_obj_str_get_data(obj, &buf.len); // raises TypeError
    }
    unsigned char *copy = m_new(unsigned char, buf.len + 1);
    memcpy(copy, buf.buf, buf.len);
    copy[buf.len] = '\0';
    bool pem = strstr((const char *)copy, "-----BEGIN ") != NULL;
    return (tls_blob_t){copy, buf.len + (pem ? 1 : 0)};
}

static void add_ca(mod_tls_ctx_t *self, mp_obj_t source) {
    int r = tls_ctx_add_ca(self->ctx, to_blob(source));
    if (r < 0) {
        mod_tls_raise(r, MP_ERROR_TEXT("invalid cert"));
    }
}

// Where the certificates are that are trusted unless a script says otherwise.
static mp_obj_t default_ca_path(void) {
    floe_env_complete();
    mp_map_t *env = mp_obj_dict_get_map(MP_STATE_PORT(floe_env));
    mp_map_elem_t *e = mp_map_lookup(env, MP_OBJ_NEW_QSTR(MP_QSTR_SSL_CERT_FILE), MP_MAP_LOOKUP);
    return e != NULL ? e->value : mp_obj_new_str_from_cstr(DEFAULT_CA);
}

// ---- SSLContext ---------------------------------------------------------------------------------

static mp_obj_t ctx_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, 1, false);
    mp_int_t protocol = mp_obj_get_int(args[0]);
    if (protocol != PROTOCOL_CLIENT && protocol != PROTOCOL_SERVER) {
        mp_raise_ValueError(MP_ERROR_TEXT("PROTOCOL_TLS_CLIENT or PROTOCOL_TLS_SERVER"));
    }
    mod_tls_ctx_t *self = mp_obj_malloc_with_finaliser(mod_tls_ctx_t, type);
    self->verify_callback = mp_const_none;
    self->suppress_ragged_eofs = false;
    int error;
    self->ctx = tls_ctx_new(protocol == PROTOCOL_SERVER, &error);
    if (self->ctx == NULL && error == -ENOMEM) { // forgotten contexts and connections may hold what is missing
        gc_collect();
        self->ctx = tls_ctx_new(protocol == PROTOCOL_SERVER, &error);
    }
    if (self->ctx == NULL && error == -EIO) {
        mp_raise_msg(&mp_type_OSError,
                     MP_ERROR_TEXT("no entropy source (an entropy device or RDRAND): TLS refuses to start"));
    }
    if (self->ctx == NULL) {
        mp_raise_OSError(MP_ENOMEM);
    }
    return MP_OBJ_FROM_PTR(self);
}

static mp_obj_t ctx_del(mp_obj_t self_in) {
    mod_tls_ctx_t *self = MP_OBJ_TO_PTR(self_in);
    if (self->ctx != NULL) {
        tls_ctx_release(self->ctx);
        self->ctx = NULL;
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(ctx_del_obj, ctx_del);

static mod_tls_ctx_t *get_ctx(mp_obj_t self_in) {
    mod_tls_ctx_t *self = MP_OBJ_TO_PTR(self_in);
    if (self->ctx == NULL) {
        mp_raise_OSError(MP_EBADF);
    }
    return self;
}

static mp_obj_t load_attr(mod_tls_ctx_t *self, qstr attr) {
    switch (attr) {
        case MP_QSTR_verify_mode:
            return MP_OBJ_NEW_SMALL_INT(tls_ctx_verify(self->ctx));
        case MP_QSTR_check_hostname:
            return mp_obj_new_bool(tls_ctx_check_name(self->ctx));
        case MP_QSTR_verify_callback:
            return self->verify_callback;
        case MP_QSTR_suppress_ragged_eofs:
            return mp_obj_new_bool(self->suppress_ragged_eofs);
        case MP_QSTR_minimum_version:
        case MP_QSTR_maximum_version:
            return MP_OBJ_NEW_SMALL_INT(tls_ctx_version(self->ctx, attr == MP_QSTR_maximum_version));
        default:
            return MP_OBJ_NULL;
    }
}

// Whether there is such an attribute.
static bool store_attr(mod_tls_ctx_t *self, qstr attr, mp_obj_t value) {
    switch (attr) {
        case MP_QSTR_verify_mode: {
            mp_int_t mode = mp_obj_get_int(value);
            if (mode < TLS_VERIFY_NONE || mode > TLS_VERIFY_REQUIRED) {
                mp_raise_ValueError(MP_ERROR_TEXT("CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED"));
            }
            tls_ctx_set_verify(self->ctx, (int)mode);
            return true;
        }
        case MP_QSTR_check_hostname:
            tls_ctx_set_check_name(self->ctx, mp_obj_is_true(value));
            return true;
        case MP_QSTR_verify_callback:
            if (value != mp_const_none && !mp_obj_is_callable(value)) {
                mp_raise_TypeError(MP_ERROR_TEXT("verify_callback(certificate, depth), or None"));
            }
            self->verify_callback = value;
            tls_ctx_set_asks(self->ctx, value != mp_const_none);
            return true;
        case MP_QSTR_suppress_ragged_eofs:
            self->suppress_ragged_eofs = mp_obj_is_true(value);
            return true;
        case MP_QSTR_minimum_version:
        case MP_QSTR_maximum_version:
            if (tls_ctx_set_version(self->ctx, attr == MP_QSTR_maximum_version, (int)mp_obj_get_int(value)) != 0) {
                mp_raise_ValueError(MP_ERROR_TEXT("TLSVersion.TLSv1_2 or TLSVersion.TLSv1_3"));
            }
            return true;
        default:
            return false;
    }
}

static void ctx_attr(mp_obj_t self_in, qstr attr, mp_obj_t *dest) {
    mod_tls_ctx_t *self = MP_OBJ_TO_PTR(self_in); // may be finalised: __del__ is looked up here
    if (dest[0] == MP_OBJ_NULL) {
        dest[0] = self->ctx != NULL ? load_attr(self, attr) : MP_OBJ_NULL;
        if (dest[0] == MP_OBJ_NULL) {
            dest[1] = MP_OBJ_SENTINEL; // go on in the locals_dict
        }
    } else if (dest[1] != MP_OBJ_NULL && store_attr(get_ctx(self_in), attr, dest[1])) {
        dest[0] = MP_OBJ_NULL;
    }
}

static mp_obj_t ctx_load_cert_chain(mp_obj_t self_in, mp_obj_t cert, mp_obj_t key) {
    mod_tls_ctx_t *self = get_ctx(self_in);
    tls_blob_t key_blob = to_blob(key);
    int r = tls_ctx_check_key(key_blob);
    if (r == 0) {
        r = tls_ctx_add_cert(self->ctx, to_blob(cert), key_blob);
    }
    switch (r) {
        case 0:
            return mp_const_none;
        case TLS_BAD_KEY:
            mp_raise_ValueError(MP_ERROR_TEXT("invalid key"));
        case TLS_BAD_CERT:
            mp_raise_ValueError(MP_ERROR_TEXT("invalid cert"));
        case TLS_BAD_PAIR:
            mp_raise_ValueError(MP_ERROR_TEXT("the key does not belong to the cert"));
        default:
            mp_raise_OSError(-r);
    }
}
static MP_DEFINE_CONST_FUN_OBJ_3(ctx_load_cert_chain_obj, ctx_load_cert_chain);

static mp_obj_t ctx_load_verify_locations(size_t n_args, const mp_obj_t *pos_args, mp_map_t *kw_args) {
    enum { ARG_cafile, ARG_cadata };
    static const mp_arg_t allowed[] = {
        {MP_QSTR_cafile, MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE}},
        {MP_QSTR_cadata, MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE}},
    };
    mp_arg_val_t args[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all(n_args - 1, pos_args + 1, kw_args, MP_ARRAY_SIZE(allowed), allowed, args);
    mod_tls_ctx_t *self = get_ctx(pos_args[0]);
    bool any = false;
    for (size_t i = 0; i < MP_ARRAY_SIZE(allowed); i++) {
        if (args[i].u_obj != mp_const_none) {
            add_ca(self, args[i].u_obj);
            any = true;
        }
    }
    if (!any) {
        mp_raise_TypeError(MP_ERROR_TEXT("cafile or cadata"));
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_KW(ctx_load_verify_locations_obj, 1, ctx_load_verify_locations);

static mp_obj_t ctx_load_default_certs(mp_obj_t self_in) {
    add_ca(get_ctx(self_in), default_ca_path());
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(ctx_load_default_certs_obj, ctx_load_default_certs);

static mp_obj_t ctx_get_ciphers(mp_obj_t self_in) {
    mp_obj_t list = mp_obj_new_list(0, NULL);
    for (const int *id = tls_cipher_list(); *id != 0; id++) {
        mp_obj_list_append(list, mp_obj_new_str_from_cstr(tls_cipher_name(*id)));
    }
    return list;
}
static MP_DEFINE_CONST_FUN_OBJ_1(ctx_get_ciphers_obj, ctx_get_ciphers);

static NORETURN void raise_bad_config(void) {
    tls_reason_t none = {0};
    char text[TLS_TEXT_SIZE];
    tls_text(text, TLS_ERR_BAD_CONFIG, &none);
    mp_obj_t args[2] = {MP_OBJ_NEW_SMALL_INT(TLS_ERR_BAD_CONFIG), mp_obj_new_str_from_cstr(text)};
    nlr_raise(mp_obj_new_exception_args(&mp_type_OSError, 2, args));
}

static mp_obj_t ctx_set_ciphers(mp_obj_t self_in, mp_obj_t names) {
    size_t n;
    mp_obj_t *items;
    mp_obj_get_array(names, &n, &items);
    if (n == 0 || n > CIPHERS_MAX) {
        raise_bad_config();
    }
    int ids[CIPHERS_MAX];
    for (size_t i = 0; i < n; i++) {
        ids[i] = tls_cipher_id(mp_obj_str_get_str(items[i]));
        if (ids[i] == 0) {
            raise_bad_config();
        }
    }
    int r = tls_ctx_set_ciphers(get_ctx(self_in)->ctx, ids, n);
    if (r != 0) {
        mp_raise_OSError(-r);
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(ctx_set_ciphers_obj, ctx_set_ciphers);

static mp_obj_t ctx_set_alpn_protocols(mp_obj_t self_in, mp_obj_t names) {
    size_t n;
    mp_obj_t *items;
    mp_obj_get_array(names, &n, &items);
    const char *list[ALPN_NAMES_MAX];
    for (size_t i = 0; i < n && n <= ALPN_NAMES_MAX; i++) {
        list[i] = mp_obj_str_get_str(items[i]);
    }
    int r = n <= ALPN_NAMES_MAX ? tls_ctx_set_alpn(get_ctx(self_in)->ctx, list, n) : -EINVAL;
    if (r != 0) {
        mod_tls_raise(r, MP_ERROR_TEXT("at most 16 protocol names of 1 to 255 bytes"));
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(ctx_set_alpn_protocols_obj, ctx_set_alpn_protocols);

static mp_obj_t ctx_wrap_socket(size_t n_args, const mp_obj_t *pos_args, mp_map_t *kw_args) {
    enum { ARG_server_side, ARG_do_handshake_on_connect, ARG_server_hostname, ARG_session, ARG_suppress_ragged_eofs };
    static const mp_arg_t allowed[] = {
        {MP_QSTR_server_side, MP_ARG_KW_ONLY | MP_ARG_BOOL, {.u_bool = false}},
        {MP_QSTR_do_handshake_on_connect, MP_ARG_KW_ONLY | MP_ARG_BOOL, {.u_bool = true}},
        {MP_QSTR_server_hostname, MP_ARG_KW_ONLY | MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE}},
        {MP_QSTR_session, MP_ARG_KW_ONLY | MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE}},
        {MP_QSTR_suppress_ragged_eofs, MP_ARG_KW_ONLY | MP_ARG_OBJ, {.u_rom_obj = MP_ROM_NONE}},
    };
    mod_tls_ctx_t *self = get_ctx(pos_args[0]);
    mp_arg_val_t args[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all(n_args - 2, pos_args + 2, kw_args, MP_ARRAY_SIZE(allowed), allowed, args);
    bool server = tls_ctx_is_server(self->ctx);
    if (args[ARG_server_side].u_bool && !server) {
        mp_raise_ValueError(MP_ERROR_TEXT("server_side needs a PROTOCOL_TLS_SERVER context"));
    }
    if (!server && tls_ctx_verify(self->ctx) == TLS_VERIFY_REQUIRED) {
        if (args[ARG_server_hostname].u_obj == mp_const_none && tls_ctx_check_name(self->ctx)) {
            mp_raise_ValueError(MP_ERROR_TEXT("CERT_REQUIRED requires server_hostname"));
        }
        mp_obj_t path = default_ca_path();
        if (!tls_ctx_has_ca(self->ctx) && mp_vfs_import_stat(mp_obj_str_get_str(path)) == MP_IMPORT_STAT_FILE) {
            add_ca(self, path);
        }
    }
    mp_obj_t says = args[ARG_suppress_ragged_eofs].u_obj;
    bool ragged = says != mp_const_none ? mp_obj_is_true(says) : self->suppress_ragged_eofs;
    mp_obj_t sock =
        mod_tls_socket_new(self, pos_args[1], args[ARG_server_hostname].u_obj, args[ARG_session].u_obj, ragged);
    if (args[ARG_do_handshake_on_connect].u_bool) {
        mod_tls_socket_handshake(sock);
    }
    return sock;
}
static MP_DEFINE_CONST_FUN_OBJ_KW(ctx_wrap_socket_obj, 2, ctx_wrap_socket);

// ---- tables -------------------------------------------------------------------------------------

static const mp_rom_map_elem_t ctx_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___del__), MP_ROM_PTR(&ctx_del_obj)},
    {MP_ROM_QSTR(MP_QSTR_get_ciphers), MP_ROM_PTR(&ctx_get_ciphers_obj)},
    {MP_ROM_QSTR(MP_QSTR_set_ciphers), MP_ROM_PTR(&ctx_set_ciphers_obj)},
    {MP_ROM_QSTR(MP_QSTR_set_alpn_protocols), MP_ROM_PTR(&ctx_set_alpn_protocols_obj)},
    {MP_ROM_QSTR(MP_QSTR_load_cert_chain), MP_ROM_PTR(&ctx_load_cert_chain_obj)},
    {MP_ROM_QSTR(MP_QSTR_load_verify_locations), MP_ROM_PTR(&ctx_load_verify_locations_obj)},
    {MP_ROM_QSTR(MP_QSTR_load_default_certs), MP_ROM_PTR(&ctx_load_default_certs_obj)},
    {MP_ROM_QSTR(MP_QSTR_wrap_socket), MP_ROM_PTR(&ctx_wrap_socket_obj)},
};
static MP_DEFINE_CONST_DICT(ctx_locals, ctx_locals_table);

static MP_DEFINE_CONST_OBJ_TYPE(ctx_type, MP_QSTR_SSLContext, MP_TYPE_FLAG_NONE, make_new, ctx_make_new, attr, ctx_attr,
                                locals_dict, &ctx_locals);

// All contexts there are: what has a finaliser and is of their type. A list would be in every image with TLS.
static void contexts_copied(const hal_identity_t *id) {
    enum { BLOCKS_PER_BYTE = 4, BITS = 8 };
    (void)id;
    for (const mp_state_mem_area_t *area = &MP_STATE_MEM(area); area != NULL; area = area->next) {
        const mod_tls_ctx_t *c;
        for (size_t i = 0; i < area->gc_alloc_table_byte_len * BLOCKS_PER_BYTE; i++) {
            c = (const void *)(area->gc_pool_start + i * MICROPY_BYTES_PER_GC_BLOCK);
            if ((area->gc_finaliser_table_start[i / BITS] >> i % BITS & 1) && c->base.type == &ctx_type && c->ctx) {
                tls_ctx_renew_tickets(c->ctx);
            }
        }
    }
}
HAL_COPIED(HAL_COPIED_SECRETS, contexts_copied);

static mp_obj_t tls_memory(void) { return mp_obj_new_int_from_uint(tls_memory_used()); }
static MP_DEFINE_CONST_FUN_OBJ_0(tls_memory_obj, tls_memory);

static const MP_DEFINE_STR_OBJ(version_obj, TLS_LIBRARY_VERSION);

static const mp_rom_map_elem_t tls_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_tls)},
    {MP_ROM_QSTR(MP_QSTR_SSLContext), MP_ROM_PTR(&ctx_type)},
    {MP_ROM_QSTR(MP_QSTR_SSLSocket), MP_ROM_PTR(&mod_tls_socket_type)},
    {MP_ROM_QSTR(MP_QSTR__memory), MP_ROM_PTR(&tls_memory_obj)},
    {MP_ROM_QSTR(MP_QSTR_MBEDTLS_VERSION), MP_ROM_PTR(&version_obj)},
    {MP_ROM_QSTR(MP_QSTR_PROTOCOL_TLS_CLIENT), MP_ROM_INT(PROTOCOL_CLIENT)},
    {MP_ROM_QSTR(MP_QSTR_PROTOCOL_TLS_SERVER), MP_ROM_INT(PROTOCOL_SERVER)},
    {MP_ROM_QSTR(MP_QSTR_CERT_NONE), MP_ROM_INT(TLS_VERIFY_NONE)},
    {MP_ROM_QSTR(MP_QSTR_CERT_OPTIONAL), MP_ROM_INT(TLS_VERIFY_OPTIONAL)},
    {MP_ROM_QSTR(MP_QSTR_CERT_REQUIRED), MP_ROM_INT(TLS_VERIFY_REQUIRED)},
};
static MP_DEFINE_CONST_DICT(tls_globals, tls_globals_table);

const mp_obj_module_t mod_tls_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&tls_globals,
};

MP_REGISTER_MODULE(MP_QSTR_tls, mod_tls_module);
