// SPDX-License-Identifier: MIT
// Module tls: SSLSocket, a stream over any other stream. Where the stream below waits, so does this; where that says
// "not now", so does this, and poll() asks for the direction that TLS needs.
// Owns nothing: a connection lives in tls_conn.c. Not here: SSLContext (mod_tls.c). Context: main loop.

#include <errno.h>
#include <string.h>

#include "hal.h"
#include "mod_tls.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/objstr.h"
#include "py/runtime.h"
#include "py/stream.h"

#define HANDSHAKE_NS (60 * 1000000000ull) // over a non-blocking stream; a blocking one has its own timeout
enum { EVENT_MS = 100, POLL_RDWR = MP_STREAM_POLL_RD | MP_STREAM_POLL_WR };

typedef struct {
    mp_obj_base_t base;
    tls_conn_t *conn; // NULL once closed
    mp_obj_t sock;
    mp_obj_t ctx;
    void *raised;  // exception of the stream below, on its way through mbedTLS
    bool busy;     // inside mbedTLS: the stream below waits, or is a script's
    bool closing;  // closed meanwhile: whoever is inside frees the connection
    bool keeping;  // a verb that reads until it has enough is to return what it got before a failure
    bool got;      // and it got something
    ssize_t later; // -errno: that failure, for the next to read
} tlssock_t;

_Static_assert(TLS_WANT_IN == MP_STREAM_POLL_RD && TLS_WANT_OUT == MP_STREAM_POLL_WR, "the same flags");

// ---- the stream below ---------------------------------------------------------------------------

// mbedTLS is not to be jumped out of: an exception waits until it has returned.
static ssize_t io_call(tlssock_t *self, void *data, size_t len, bool out) {
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        self->busy = false;
        self->raised = nlr.ret_val;
        return -ECANCELED;
    }
    const mp_stream_p_t *stream = mp_get_stream(self->sock);
    int error = 0;
    self->busy = true;
    mp_uint_t n = out ? stream->write(self->sock, data, len, &error) : stream->read(self->sock, data, len, &error);
    nlr_pop();
    self->busy = false;
    if (self->closing) {
        return -EBADF;
    }
    if (n != MP_STREAM_ERROR) {
        return (ssize_t)n;
    }
    return mp_is_nonblocking_error(error) ? -EAGAIN : -error;
}

static ssize_t io_send(void *arg, const void *data, size_t len) { return io_call(arg, (void *)data, len, true); }

static ssize_t io_recv(void *arg, void *out, size_t size) { return io_call(arg, out, size, false); }

// verify_callback returns 0 for a certificate it accepts; as in MicroPython's documents.
static bool io_accept(void *arg, const unsigned char *der, size_t len, int depth) {
    tlssock_t *self = arg;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        self->busy = false;
        self->raised = nlr.ret_val;
        return false;
    }
    self->busy = true;
    mp_obj_t callback = ((mod_tls_ctx_t *)MP_OBJ_TO_PTR(self->ctx))->verify_callback;
    bool ok = mp_obj_get_int(mp_call_function_2(callback, mp_obj_new_bytes(der, len), mp_obj_new_int(depth))) == 0;
    nlr_pop();
    self->busy = false;
    return ok && !self->closing;
}

static const tls_io_t io = {io_send, io_recv, io_accept};

// ---- errors -------------------------------------------------------------------------------------

static NORETURN void raise_failure(tlssock_t *self) {
    char text[TLS_TEXT_SIZE];
    int code = tls_conn_failure(self->conn, text);
    if (tls_is_no_memory(code)) {
        mp_raise_OSError(MP_ENOMEM);
    }
    mp_obj_t args[2] = {MP_OBJ_NEW_SMALL_INT(code), mp_obj_new_str_from_cstr(text)};
    nlr_raise(mp_obj_new_exception_args(&mp_type_OSError, 2, args));
}

static void drop(tlssock_t *self) {
    if (self->conn != NULL) {
        tls_conn_free(self->conn);
        self->conn = NULL;
    }
}

// A verb's result, if it is none that has to be raised with its words.
static ssize_t check(tlssock_t *self, ssize_t r) {
    if (self->closing) {
        drop(self);
        r = -EBADF;
    }
    if (self->raised != NULL) {
        void *exc = self->raised;
        self->raised = NULL;
        nlr_raise(MP_OBJ_FROM_PTR(exc));
    }
    if (r == -EPROTO) {
        raise_failure(self);
    }
    return r;
}

static tlssock_t *get_open(mp_obj_t self_in) {
    tlssock_t *self = MP_OBJ_TO_PTR(self_in);
    if (self->conn == NULL || self->busy) {
        mp_raise_OSError(self->conn == NULL ? MP_EBADF : MP_EBUSY);
    }
    return self;
}

static size_t checked(tlssock_t *self, ssize_t r) {
    r = check(self, r);
    if (r < 0) {
        mp_raise_OSError((int)-r);
    }
    return (size_t)r;
}

// ---- life ---------------------------------------------------------------------------------------

mp_obj_t mod_tls_socket_new(mod_tls_ctx_t *ctx, mp_obj_t sock, mp_obj_t hostname, mp_obj_t session, bool ragged) {
    mp_get_stream_raise(sock, MP_STREAM_OP_READ | MP_STREAM_OP_WRITE | MP_STREAM_OP_IOCTL);
    const char *name = hostname != mp_const_none ? mp_obj_str_get_str(hostname) : NULL;
    tlssock_t *self = mp_obj_malloc_with_finaliser(tlssock_t, &mod_tls_socket_type);
    self->sock = sock;
    self->ctx = MP_OBJ_FROM_PTR(ctx);
    self->raised = NULL;
    self->busy = self->closing = self->keeping = self->got = false;
    self->later = 0;
    int error;
    self->conn = tls_conn_new(ctx->ctx, &io, self, name, &error);
    if (self->conn == NULL && error == -ENOMEM) { // forgotten connections may hold what is missing
        gc_collect();
        self->conn = tls_conn_new(ctx->ctx, &io, self, name, &error);
    }
    if (self->conn == NULL) {
        mod_tls_raise(error, MP_ERROR_TEXT("invalid server_hostname"));
    }
    if (ragged) {
        tls_conn_allow_ragged_end(self->conn);
    }
    if (session != mp_const_none && !tls_ctx_is_server(ctx->ctx)) {
        mp_buffer_info_t buf;
        mp_get_buffer_raise(session, &buf, MP_BUFFER_READ);
        int r = tls_conn_set_session(self->conn, buf.buf, buf.len);
        if (r == -EACCES) {
            mp_raise_ValueError(MP_ERROR_TEXT("session of a connection that verified less"));
        }
        if (r != 0) {
            mod_tls_raise(r, MP_ERROR_TEXT("invalid session"));
        }
    }
    return MP_OBJ_FROM_PTR(self);
}

void mod_tls_socket_handshake(mp_obj_t self_in) {
    tlssock_t *self = MP_OBJ_TO_PTR(self_in);
    uint64_t deadline = hal_clock_ns() + HANDSHAKE_NS;
    ssize_t r;
    while ((r = check(self, tls_conn_handshake(self->conn))) == -EAGAIN) {
        if (hal_clock_ns() >= deadline) {
            mp_raise_OSError(MP_ETIMEDOUT);
        }
        mp_event_wait_ms(EVENT_MS);
        get_open(self_in);
    }
    checked(self, r);
}

static mp_obj_t socket_do_handshake(mp_obj_t self_in) {
    get_open(self_in);
    mod_tls_socket_handshake(self_in);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(socket_do_handshake_obj, socket_do_handshake);

// The finaliser: other objects may be gone already, so the peer is told nothing.
static mp_obj_t socket_del(mp_obj_t self_in) {
    drop(MP_OBJ_TO_PTR(self_in));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(socket_del_obj, socket_del);

// Say goodbye if that does not take waiting, and close the stream below.
static mp_uint_t do_close(tlssock_t *self, int *errcode) {
    if (self->conn == NULL) {
        return 0;
    }
    const mp_stream_p_t *stream = mp_get_stream(self->sock);
    if (self->busy) {
        self->closing = true;
        return stream->ioctl(self->sock, MP_STREAM_CLOSE, 0, errcode);
    }
    bool can_send = tls_conn_established(self->conn) &&
                    (stream->ioctl(self->sock, MP_STREAM_POLL, MP_STREAM_POLL_WR, errcode) & MP_STREAM_POLL_WR) != 0;
    if (can_send && self->conn != NULL) { // a stream written in Python may have closed us from there
        tls_conn_finish(self->conn);      // the peer notices the end in any case
        self->raised = NULL;
    }
    drop(self);
    return stream->ioctl(self->sock, MP_STREAM_CLOSE, 0, errcode);
}

// ---- data ---------------------------------------------------------------------------------------

static mp_uint_t to_stream(ssize_t r, int *errcode) {
    if (r >= 0) {
        return (mp_uint_t)r;
    }
    *errcode = (int)-r;
    return MP_STREAM_ERROR;
}

// As get_open(), for verbs that do not raise: 0 or -errno.
static int state(const tlssock_t *self) { return self->conn == NULL ? -EBADF : self->busy ? -EBUSY : 0; }

static mp_uint_t socket_read(mp_obj_t self_in, void *out, mp_uint_t size, int *errcode) {
    tlssock_t *self = MP_OBJ_TO_PTR(self_in);
    ssize_t r = state(self);
    if (r == 0 && self->later != 0) {
        r = check(self, self->later);
        self->later = 0;
    } else if (r == 0) {
        r = tls_conn_recv(self->conn, out, size);
        bool lasting = r < 0 && r != -EAGAIN && r != -ETIMEDOUT && self->raised == NULL && !self->closing;
        if (lasting && self->got) {
            self->later = r;
            r = 0;
        }
        self->got = r > 0 && self->keeping;
        r = check(self, r);
    }
    return to_stream(r, errcode);
}

static mp_uint_t socket_write(mp_obj_t self_in, const void *data, mp_uint_t len, int *errcode) {
    tlssock_t *self = MP_OBJ_TO_PTR(self_in);
    int r = state(self);
    return to_stream(r != 0 ? r : check(self, tls_conn_send(self->conn, data, len)), errcode);
}

// Verbs of streams that call socket_read() until they have enough: what came before a failure is theirs, and the
// failure is the next one's. read() without a size wants everything to the end,
// and so has nothing if that is not there.
static mp_obj_t keep(mp_obj_fun_builtin_var_t const *verb, size_t n_args, const mp_obj_t *args) {
    tlssock_t *self = MP_OBJ_TO_PTR(args[0]);
    self->keeping = true;
    self->got = false;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        self->keeping = self->got = false;
        nlr_jump(nlr.ret_val);
    }
    mp_obj_t r = verb->fun.var(n_args, args);
    nlr_pop();
    self->keeping = self->got = false;
    return r;
}

static mp_obj_t socket_read_n(size_t n_args, const mp_obj_t *args) {
    bool all = n_args == 1 || mp_obj_get_int(args[1]) < 0;
    return all ? mp_stream_read_obj.fun.var(n_args, args) : keep(&mp_stream_read_obj, n_args, args);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_read_obj, 1, 2, socket_read_n);

static mp_obj_t socket_readinto(size_t n_args, const mp_obj_t *args) {
    return keep(&mp_stream_readinto_obj, n_args, args);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_readinto_obj, 2, 3, socket_readinto);

static mp_obj_t socket_readline(size_t n_args, const mp_obj_t *args) {
    return keep(&mp_stream_unbuffered_readline_obj, n_args, args);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_readline_obj, 1, 2, socket_readline);

static mp_obj_t socket_recv(mp_obj_t self_in, mp_obj_t size_in) {
    mp_int_t size = mp_obj_get_int(size_in);
    if (size < 0) {
        mp_raise_ValueError(NULL);
    }
    tlssock_t *self = get_open(self_in);
    vstr_t v;
    vstr_init_len(&v, checked(self, tls_conn_readable(self->conn, (size_t)size)));
    if (v.len > 0) {
        v.len = checked(self, tls_conn_recv(self->conn, v.buf, v.len));
    }
    return mp_obj_new_bytes_from_vstr(&v);
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_recv_obj, socket_recv);

static mp_obj_t socket_recv_into(size_t n_args, const mp_obj_t *args) {
    tlssock_t *self = get_open(args[0]);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(args[1], &buf, MP_BUFFER_WRITE);
    mp_int_t n = n_args > 2 ? mp_obj_get_int(args[2]) : 0;
    if (n < 0) {
        mp_raise_ValueError(NULL);
    }
    size_t size = n == 0 || (size_t)n > buf.len ? buf.len : (size_t)n;
    return mp_obj_new_int_from_uint(checked(self, tls_conn_recv(self->conn, buf.buf, size)));
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_recv_into_obj, 2, 3, socket_recv_into);

static mp_obj_t socket_send(mp_obj_t self_in, mp_obj_t data) {
    tlssock_t *self = get_open(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    return mp_obj_new_int_from_uint(checked(self, tls_conn_send(self->conn, buf.buf, buf.len)));
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_send_obj, socket_send);

static mp_obj_t socket_sendall(mp_obj_t self_in, mp_obj_t data) {
    tlssock_t *self = get_open(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    for (size_t done = 0; done < buf.len;) {
        done += checked(self, tls_conn_send(self->conn, (const uint8_t *)buf.buf + done, buf.len - done));
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_sendall_obj, socket_sendall);

// SHUT_WR and SHUT_RDWR: close_notify. What the peer still sends can be read.
static mp_obj_t socket_shutdown(mp_obj_t self_in, mp_obj_t how) {
    tlssock_t *self = get_open(self_in);
    if (mp_obj_get_int(how) != 0) {
        checked(self, tls_conn_finish(self->conn));
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_shutdown_obj, socket_shutdown);

// ---- poll and close -----------------------------------------------------------------------------

static mp_uint_t do_poll(tlssock_t *self, uintptr_t arg, int *errcode) {
    if (self->conn != NULL && self->later != 0) {
        return arg & POLL_RDWR; // what is asked will not wait: it raises
    }
    if (self->conn == NULL || tls_conn_failed(self->conn)) {
        return MP_STREAM_POLL_NVAL;
    }
    uintptr_t asked = arg & POLL_RDWR;
    uintptr_t want = asked != 0 ? tls_conn_want(self->conn) : 0;
    mp_uint_t ready = 0;
    if ((asked & MP_STREAM_POLL_RD) && tls_conn_pending(self->conn)) {
        ready = MP_STREAM_POLL_RD;
        if (arg == MP_STREAM_POLL_RD) {
            return ready;
        }
    }
    if (want != 0) { // TLS has to do this first, whatever the caller is after
        arg = (arg & ~asked) | want;
    }
    mp_uint_t below = mp_get_stream(self->sock)->ioctl(self->sock, MP_STREAM_POLL, arg, errcode);
    if (below == MP_STREAM_ERROR) {
        return below;
    }
    return ready | (want == 0 ? below : (below & ~(mp_uint_t)POLL_RDWR) | (below & want ? asked : 0));
}

static mp_uint_t socket_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    tlssock_t *self = MP_OBJ_TO_PTR(self_in);
    switch (request) {
        case MP_STREAM_POLL:
            return do_poll(self, arg, errcode);
        case MP_STREAM_CLOSE:
            return do_close(self, errcode);
        default:
            *errcode = MP_EINVAL;
            return MP_STREAM_ERROR;
    }
}

// ---- the rest -----------------------------------------------------------------------------------

static mp_obj_t call_below(mp_obj_t self_in, qstr method, mp_obj_t arg) {
    mp_obj_t dest[3];
    mp_load_method(((tlssock_t *)MP_OBJ_TO_PTR(self_in))->sock, method, dest);
    dest[2] = arg;
    return mp_call_method_n_kw(1, 0, dest);
}

static mp_obj_t socket_setblocking(mp_obj_t self_in, mp_obj_t on) {
    return call_below(self_in, MP_QSTR_setblocking, on);
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_setblocking_obj, socket_setblocking);

static mp_obj_t socket_settimeout(mp_obj_t self_in, mp_obj_t s) { return call_below(self_in, MP_QSTR_settimeout, s); }
static MP_DEFINE_CONST_FUN_OBJ_2(socket_settimeout_obj, socket_settimeout);

static mp_obj_t str_or_none(const char *s) { return s != NULL ? mp_obj_new_str_from_cstr(s) : mp_const_none; }

static mp_obj_t socket_cipher(mp_obj_t self_in) {
    tlssock_t *self = get_open(self_in);
    mp_obj_t items[2] = {str_or_none(tls_conn_cipher(self->conn)), str_or_none(tls_conn_version(self->conn))};
    return items[0] != mp_const_none ? mp_obj_new_tuple(2, items) : mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(socket_cipher_obj, socket_cipher);

static mp_obj_t socket_version(mp_obj_t self_in) { return str_or_none(tls_conn_version(get_open(self_in)->conn)); }
static MP_DEFINE_CONST_FUN_OBJ_1(socket_version_obj, socket_version);

static mp_obj_t socket_alpn(mp_obj_t self_in) { return str_or_none(tls_conn_alpn(get_open(self_in)->conn)); }
static MP_DEFINE_CONST_FUN_OBJ_1(socket_alpn_obj, socket_alpn);

static mp_obj_t socket_getpeercert(size_t n_args, const mp_obj_t *args) {
    if (n_args < 2 || !mp_obj_is_true(args[1])) {
        mp_raise_NotImplementedError(MP_ERROR_TEXT("getpeercert(True): the certificate as DER"));
    }
    tls_blob_t der;
    return tls_conn_peer(get_open(args[0])->conn, &der) ? mp_obj_new_bytes(der.data, der.len) : mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_getpeercert_obj, 1, 2, socket_getpeercert);

static mp_obj_t get_session(tlssock_t *self) {
    unsigned char *data;
    size_t len;
    int r = tls_conn_session(self->conn, &data, &len);
    if (r == -ENOENT) {
        return mp_const_none;
    }
    if (r != 0) {
        mp_raise_OSError(-r);
    }
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        tls_free(data);
        nlr_jump(nlr.ret_val);
    }
    mp_obj_t bytes = mp_obj_new_bytes(data, len);
    nlr_pop();
    tls_free(data);
    return bytes;
}

static void socket_attr(mp_obj_t self_in, qstr attr, mp_obj_t *dest) {
    if (dest[0] != MP_OBJ_NULL) {
        return;
    }
    tlssock_t *self = MP_OBJ_TO_PTR(self_in);
    if (attr == MP_QSTR_context) {
        dest[0] = self->ctx;
    } else if (attr == MP_QSTR__sock) { // the stream below
        dest[0] = self->sock;
    } else if (attr == MP_QSTR_session) {
        dest[0] = get_session(get_open(self_in));
    } else if (attr == MP_QSTR_session_reused) {
        dest[0] = mp_obj_new_bool(tls_conn_resumed(get_open(self_in)->conn));
    } else if (attr == MP_QSTR_server_hostname) {
        dest[0] = str_or_none(tls_conn_hostname(get_open(self_in)->conn));
    } else {
        dest[1] = MP_OBJ_SENTINEL; // go on in the locals_dict
    }
}

static const mp_rom_map_elem_t socket_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___del__), MP_ROM_PTR(&socket_del_obj)},
    {MP_ROM_QSTR(MP_QSTR___enter__), MP_ROM_PTR(&mp_identity_obj)},
    {MP_ROM_QSTR(MP_QSTR___exit__), MP_ROM_PTR(&mp_stream___exit___obj)},
    {MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&mp_stream_close_obj)},
    {MP_ROM_QSTR(MP_QSTR_do_handshake), MP_ROM_PTR(&socket_do_handshake_obj)},
    {MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&socket_read_obj)},
    {MP_ROM_QSTR(MP_QSTR_readinto), MP_ROM_PTR(&socket_readinto_obj)},
    {MP_ROM_QSTR(MP_QSTR_readline), MP_ROM_PTR(&socket_readline_obj)},
    {MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&mp_stream_write_obj)},
    {MP_ROM_QSTR(MP_QSTR_recv), MP_ROM_PTR(&socket_recv_obj)},
    {MP_ROM_QSTR(MP_QSTR_recv_into), MP_ROM_PTR(&socket_recv_into_obj)},
    {MP_ROM_QSTR(MP_QSTR_send), MP_ROM_PTR(&socket_send_obj)},
    {MP_ROM_QSTR(MP_QSTR_sendall), MP_ROM_PTR(&socket_sendall_obj)},
    {MP_ROM_QSTR(MP_QSTR_shutdown), MP_ROM_PTR(&socket_shutdown_obj)},
    {MP_ROM_QSTR(MP_QSTR_setblocking), MP_ROM_PTR(&socket_setblocking_obj)},
    {MP_ROM_QSTR(MP_QSTR_settimeout), MP_ROM_PTR(&socket_settimeout_obj)},
    {MP_ROM_QSTR(MP_QSTR_ioctl), MP_ROM_PTR(&mp_stream_ioctl_obj)},
    {MP_ROM_QSTR(MP_QSTR_cipher), MP_ROM_PTR(&socket_cipher_obj)},
    {MP_ROM_QSTR(MP_QSTR_version), MP_ROM_PTR(&socket_version_obj)},
    {MP_ROM_QSTR(MP_QSTR_selected_alpn_protocol), MP_ROM_PTR(&socket_alpn_obj)},
    {MP_ROM_QSTR(MP_QSTR_getpeercert), MP_ROM_PTR(&socket_getpeercert_obj)},
};
static MP_DEFINE_CONST_DICT(socket_locals, socket_locals_table);

static const mp_stream_p_t socket_stream_p = {
    .read = socket_read,
    .write = socket_write,
    .ioctl = socket_ioctl,
};

MP_DEFINE_CONST_OBJ_TYPE(mod_tls_socket_type, MP_QSTR_SSLSocket, MP_TYPE_FLAG_NONE, attr, socket_attr, protocol,
                         &socket_stream_p, locals_dict, &socket_locals);
