// SPDX-License-Identifier: MIT
// Module socket: waiting, and the functions that move data. A blocking call tries, sleeps in hal_event_wait()
// until something changes, and tries again, so that Ctrl-C and scheduled callbacks get through.
// Owns nothing. Not here: connections (mod_socket.c), options (mod_sockopt.c). Context: main loop.

#include <errno.h>

#include "hal.h"
#include "mod_netaddr.h"
#include "mod_socket.h"
#include "py/mperrno.h"
#include "py/runtime.h"
#include "py/stream.h"

// ---- waiting and errors -------------------------------------------------------------------------

void mod_socket_check(ssize_t r) {
    if (r < 0) {
        mp_raise_OSError((int)-r);
    }
}

socket_obj_t *mod_socket_get_open(mp_obj_t self_in) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (self->sock == NULL) {
        mp_raise_OSError(MP_EBADF);
    }
    return self;
}

uint64_t mod_socket_deadline(const socket_obj_t *self) {
    uint64_t now = hal_clock_ns();
    return self->timeout_ns < UINT64_MAX - now ? now + self->timeout_ns : UINT64_MAX;
}

int mod_socket_wait(socket_obj_t *self, uint64_t deadline) {
    if (self->timeout_ns == 0) {
        return -EAGAIN;
    }
    if (hal_clock_ns() >= deadline) {
        return -ETIMEDOUT;
    }
    mp_handle_pending(true);
    if (self->sock != NULL) { // else a callback closed it
        hal_event_wait(deadline);
    }
    return self->sock != NULL ? 0 : -EBADF;
}

static ssize_t do_recv(socket_obj_t *self, void *buf, size_t size, sock_addr_t *from) {
    uint64_t deadline = mod_socket_deadline(self);
    for (;;) {
        ssize_t r = sock_recv(self->sock, buf, size, from);
        if (r != -EAGAIN) {
            return r;
        }
        int e = mod_socket_wait(self, deadline);
        if (e != 0) {
            return e;
        }
    }
}

static ssize_t do_send(socket_obj_t *self, const void *buf, size_t len, const sock_addr_t *to) {
    uint64_t deadline = mod_socket_deadline(self);
    for (;;) {
        ssize_t r = sock_send(self->sock, buf, len, to);
        if (r != -EAGAIN) {
            return r;
        }
        int e = mod_socket_wait(self, deadline);
        if (e != 0) {
            return e;
        }
    }
}

// ---- data ---------------------------------------------------------------------------------------

static mp_obj_t socket_send(mp_obj_t self_in, mp_obj_t data) {
    socket_obj_t *self = mod_socket_get_open(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    ssize_t r = do_send(self, buf.buf, buf.len, NULL);
    mod_socket_check(r);
    return mp_obj_new_int(r);
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_send_obj, socket_send);

static mp_obj_t socket_sendall(mp_obj_t self_in, mp_obj_t data) {
    socket_obj_t *self = mod_socket_get_open(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    for (size_t done = 0; done < buf.len;) {
        ssize_t r = do_send(self, (const uint8_t *)buf.buf + done, buf.len - done, NULL);
        mod_socket_check(r);
        done += (size_t)r;
    }
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_sendall_obj, socket_sendall);

static mp_obj_t socket_sendto(mp_obj_t self_in, mp_obj_t data, mp_obj_t addr) {
    socket_obj_t *self = mod_socket_get_open(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    sock_addr_t to = mod_netaddr_from_obj(addr, self->sock->family);
    if (self->timeout_ns != 0) {
        mod_netaddr_wait_network(&to.ip, mod_socket_deadline(self));
        self = mod_socket_get_open(self_in);
    }
    ssize_t r = do_send(self, buf.buf, buf.len, &to);
    mod_socket_check(r);
    return mp_obj_new_int(r);
}
MP_DEFINE_CONST_FUN_OBJ_3(mod_socket_sendto_obj, socket_sendto);

// Receive at most size bytes into a new bytes object that is no larger than what is there.
static mp_obj_t recv_bytes(socket_obj_t *self, size_t size, sock_addr_t *from) {
    uint64_t deadline = mod_socket_deadline(self);
    ssize_t there;
    while ((there = sock_readable(self->sock, size)) == -EAGAIN) {
        mod_socket_check(mod_socket_wait(self, deadline));
    }
    mod_socket_check(there);
    vstr_t v;
    vstr_init_len(&v, (size_t)there);
    ssize_t r = sock_recv(self->sock, v.buf, v.len, from);
    mod_socket_check(r);
    v.len = (size_t)r;
    return mp_obj_new_bytes_from_vstr(&v);
}

static mp_obj_t socket_recv(mp_obj_t self_in, mp_obj_t size_in) {
    mp_int_t size = mp_obj_get_int(size_in);
    if (size < 0) {
        mp_raise_ValueError(NULL);
    }
    return recv_bytes(mod_socket_get_open(self_in), (size_t)size, NULL);
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_recv_obj, socket_recv);

static mp_obj_t socket_recvfrom(mp_obj_t self_in, mp_obj_t size_in) {
    socket_obj_t *self = mod_socket_get_open(self_in);
    mp_int_t size = mp_obj_get_int(size_in);
    if (size < 0) {
        mp_raise_ValueError(NULL);
    }
    sock_addr_t from;
    sock_peer(self->sock, &from); // TCP: always the same
    mp_obj_t items[2];
    items[0] = recv_bytes(self, (size_t)size, &from);
    items[1] = mod_netaddr_to_obj(&from);
    return mp_obj_new_tuple(2, items);
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_recvfrom_obj, socket_recvfrom);

static mp_obj_t socket_recv_into(size_t n_args, const mp_obj_t *args) {
    socket_obj_t *self = mod_socket_get_open(args[0]);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(args[1], &buf, MP_BUFFER_WRITE);
    size_t size = buf.len;
    if (n_args > 2) {
        mp_int_t n = mp_obj_get_int(args[2]);
        if (n < 0) {
            mp_raise_ValueError(NULL);
        }
        size = n == 0 || (size_t)n > size ? size : (size_t)n;
    }
    ssize_t r = do_recv(self, buf.buf, size, NULL);
    mod_socket_check(r);
    return mp_obj_new_int(r);
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_socket_recv_into_obj, 2, 3, socket_recv_into);

static mp_obj_t socket_shutdown(mp_obj_t self_in, mp_obj_t how) {
    socket_obj_t *self = mod_socket_get_open(self_in);
    if (mp_obj_get_int(how) != 0) { // SHUT_WR or SHUT_RDWR; nothing is sent for SHUT_RD
        mod_socket_check(sock_shutdown_write(self->sock));
    }
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_shutdown_obj, socket_shutdown);

// ---- stream protocol ----------------------------------------------------------------------------

static mp_uint_t to_stream(ssize_t r, int *errcode) {
    if (r >= 0) {
        return (mp_uint_t)r;
    }
    *errcode = (int)-r;
    return MP_STREAM_ERROR;
}

mp_uint_t mod_socket_read(mp_obj_t self_in, void *buf, mp_uint_t size, int *errcode) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    return to_stream(self->sock == NULL ? -EBADF : do_recv(self, buf, size, NULL), errcode);
}

mp_uint_t mod_socket_write(mp_obj_t self_in, const void *buf, mp_uint_t size, int *errcode) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    return to_stream(self->sock == NULL ? -EBADF : do_send(self, buf, size, NULL), errcode);
}
