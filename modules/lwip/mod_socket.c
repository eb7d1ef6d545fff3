// SPDX-License-Identifier: MIT
// Module socket, as MicroPython documents it (docs/library/socket.rst), over sock.h. Here is all the waiting:
// a blocking call tries, sleeps in hal_event_wait() until something changes, and tries again, so that Ctrl-C
// and scheduled callbacks get through. A Python object only points to its sock_t.
// Owns nothing. Not here: addresses and names (mod_netaddr.c). Context: main loop.

#include <errno.h>
#include <string.h>

#include "hal.h"
#include "mod_netaddr.h"
#include "netpoll.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "sock.h"

#define TIMEOUT_NONE UINT64_MAX

// Linux's numbers; 20 is MicroPython's own: a function to call when the socket becomes ready.
enum { SOL_SOCKET = 1, SO_REUSEADDR = 2, SO_BROADCAST = 6, SO_KEEPALIVE = 9, SO_CALLBACK = 20 };
enum { IPPROTO_IP = 0, IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_IPV6 = 41 };
enum { IP_ADD_MEMBERSHIP = 35, IP_DROP_MEMBERSHIP = 36, TCP_NODELAY = 1, IPV6_JOIN_GROUP = 20, IPV6_LEAVE_GROUP = 21 };

typedef struct {
    mp_obj_base_t base;
    sock_t *sock; // NULL once closed
    mp_obj_t callback;
    uint64_t timeout_ns; // 0: non-blocking
} socket_obj_t;

static const mp_obj_type_t socket_type;

// ---- waiting and errors -------------------------------------------------------------------------

static void check(ssize_t r) {
    if (r < 0) {
        mp_raise_OSError((int)-r);
    }
}

static socket_obj_t *get_open(mp_obj_t self_in) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (self->sock == NULL) {
        mp_raise_OSError(MP_EBADF);
    }
    return self;
}

static uint64_t deadline_of(const socket_obj_t *self) {
    uint64_t now = hal_clock_ns();
    return self->timeout_ns < UINT64_MAX - now ? now + self->timeout_ns : UINT64_MAX;
}

// A verb said "not now". 0: something happened, try again; or what to fail with.
static int wait_more(socket_obj_t *self, uint64_t deadline) {
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
    uint64_t deadline = deadline_of(self);
    for (;;) {
        ssize_t r = sock_recv(self->sock, buf, size, from);
        if (r != -EAGAIN) {
            return r;
        }
        int e = wait_more(self, deadline);
        if (e != 0) {
            return e;
        }
    }
}

static ssize_t do_send(socket_obj_t *self, const void *buf, size_t len, const sock_addr_t *to) {
    uint64_t deadline = deadline_of(self);
    for (;;) {
        ssize_t r = sock_send(self->sock, buf, len, to);
        if (r != -EAGAIN) {
            return r;
        }
        int e = wait_more(self, deadline);
        if (e != 0) {
            return e;
        }
    }
}

// ---- life ---------------------------------------------------------------------------------------

static void on_notify(void *arg) {
    socket_obj_t *self = arg;
    mp_sched_schedule(self->callback, MP_OBJ_FROM_PTR(self));
}

static socket_obj_t *new_obj(void) {
    socket_obj_t *self = mp_obj_malloc_with_finaliser(socket_obj_t, &socket_type);
    self->sock = NULL;
    self->callback = MP_OBJ_NULL;
    self->timeout_ns = TIMEOUT_NONE;
    return self;
}

static mp_obj_t socket_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 4, false);
    netpoll_start();
    mp_int_t family = n_args > 0 ? mp_obj_get_int(args[0]) : SOCK_AF_INET;
    mp_int_t kind = n_args > 1 ? mp_obj_get_int(args[1]) : SOCK_TYPE_STREAM;
    if (family != SOCK_AF_INET && family != SOCK_AF_INET6) {
        mp_raise_OSError(MP_EAFNOSUPPORT);
    }
    if (kind != SOCK_TYPE_STREAM && kind != SOCK_TYPE_DGRAM) {
        mp_raise_OSError(MP_EINVAL);
    }
    socket_obj_t *self = new_obj();
    self->sock = sock_new((int)family, (int)kind);
    if (self->sock == NULL) { // forgotten sockets may hold what is missing
        gc_collect();
        self->sock = sock_new((int)family, (int)kind);
    }
    if (self->sock == NULL) {
        mp_raise_OSError(MP_ENOMEM);
    }
    return MP_OBJ_FROM_PTR(self);
}

static void socket_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    static const char *const states[] = {"new", "listening", "connecting", "connected", "failed"};
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    const char *state = self->sock == NULL ? "closed" : states[self->sock->state];
    mp_printf(print, "<socket %s timeout=", state);
    if (self->timeout_ns == TIMEOUT_NONE) {
        mp_printf(print, "None>");
    } else {
        mp_printf(print, "%u ms>", (unsigned)(self->timeout_ns / 1000000));
    }
}

// ---- servers and clients ------------------------------------------------------------------------

static mp_obj_t socket_bind(mp_obj_t self_in, mp_obj_t addr) {
    socket_obj_t *self = get_open(self_in);
    sock_addr_t a = netaddr_from_obj(addr, self->sock->family);
    check(sock_bind(self->sock, &a));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_bind_obj, socket_bind);

static mp_obj_t socket_listen(size_t n_args, const mp_obj_t *args) {
    socket_obj_t *self = get_open(args[0]);
    int backlog = -1; // a reasonable default
    if (n_args > 1) {
        mp_int_t n = mp_obj_get_int(args[1]);
        backlog = n < 0 ? 0 : n > INT16_MAX ? INT16_MAX : (int)n;
    }
    check(sock_listen(self->sock, backlog));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_listen_obj, 1, 2, socket_listen);

static mp_obj_t socket_accept(mp_obj_t self_in) {
    socket_obj_t *self = get_open(self_in);
    socket_obj_t *conn = new_obj(); // first, so that no connection is lost to a MemoryError
    uint64_t deadline = deadline_of(self);
    sock_addr_t peer;
    int r;
    while ((r = sock_accept(self->sock, &conn->sock, &peer)) == -EAGAIN) {
        check(wait_more(self, deadline));
    }
    check(r);
    mp_obj_t items[2] = {MP_OBJ_FROM_PTR(conn), netaddr_to_obj(&peer)};
    return mp_obj_new_tuple(2, items);
}
static MP_DEFINE_CONST_FUN_OBJ_1(socket_accept_obj, socket_accept);

static mp_obj_t socket_connect(mp_obj_t self_in, mp_obj_t addr) {
    socket_obj_t *self = get_open(self_in);
    sock_addr_t a = netaddr_from_obj(addr, self->sock->family);
    uint64_t deadline = deadline_of(self);
    if (self->timeout_ns != 0) {
        netaddr_wait_network(&a.ip, deadline);
        self = get_open(self_in);
    }
    int r = sock_connect(self->sock, &a);
    while (r == -EINPROGRESS && self->timeout_ns != 0) {
        check(wait_more(self, deadline));
        r = sock_connect_state(self->sock);
    }
    check(r);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_connect_obj, socket_connect);

// ---- data ---------------------------------------------------------------------------------------

static mp_obj_t socket_send(mp_obj_t self_in, mp_obj_t data) {
    socket_obj_t *self = get_open(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    ssize_t r = do_send(self, buf.buf, buf.len, NULL);
    check(r);
    return mp_obj_new_int(r);
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_send_obj, socket_send);

static mp_obj_t socket_sendall(mp_obj_t self_in, mp_obj_t data) {
    socket_obj_t *self = get_open(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    for (size_t done = 0; done < buf.len;) {
        ssize_t r = do_send(self, (const uint8_t *)buf.buf + done, buf.len - done, NULL);
        check(r);
        done += (size_t)r;
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_sendall_obj, socket_sendall);

static mp_obj_t socket_sendto(mp_obj_t self_in, mp_obj_t data, mp_obj_t addr) {
    socket_obj_t *self = get_open(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    sock_addr_t to = netaddr_from_obj(addr, self->sock->family);
    if (self->timeout_ns != 0) {
        netaddr_wait_network(&to.ip, deadline_of(self));
        self = get_open(self_in);
    }
    ssize_t r = do_send(self, buf.buf, buf.len, &to);
    check(r);
    return mp_obj_new_int(r);
}
static MP_DEFINE_CONST_FUN_OBJ_3(socket_sendto_obj, socket_sendto);

// Receive at most size bytes into a new bytes object that is no larger than what is there.
static mp_obj_t recv_bytes(socket_obj_t *self, size_t size, sock_addr_t *from) {
    uint64_t deadline = deadline_of(self);
    ssize_t there;
    while ((there = sock_readable(self->sock)) == -EAGAIN) {
        check(wait_more(self, deadline));
    }
    check(there);
    vstr_t v;
    vstr_init_len(&v, size < (size_t)there ? size : (size_t)there);
    ssize_t r = sock_recv(self->sock, v.buf, v.len, from);
    check(r);
    v.len = (size_t)r;
    return mp_obj_new_bytes_from_vstr(&v);
}

static mp_obj_t socket_recv(mp_obj_t self_in, mp_obj_t size_in) {
    mp_int_t size = mp_obj_get_int(size_in);
    if (size < 0) {
        mp_raise_ValueError(NULL);
    }
    return recv_bytes(get_open(self_in), (size_t)size, NULL);
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_recv_obj, socket_recv);

static mp_obj_t socket_recvfrom(mp_obj_t self_in, mp_obj_t size_in) {
    socket_obj_t *self = get_open(self_in);
    mp_int_t size = mp_obj_get_int(size_in);
    if (size < 0) {
        mp_raise_ValueError(NULL);
    }
    sock_addr_t from;
    sock_peer(self->sock, &from); // TCP: always the same
    mp_obj_t items[2];
    items[0] = recv_bytes(self, (size_t)size, &from);
    items[1] = netaddr_to_obj(&from);
    return mp_obj_new_tuple(2, items);
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_recvfrom_obj, socket_recvfrom);

static mp_obj_t socket_recv_into(size_t n_args, const mp_obj_t *args) {
    socket_obj_t *self = get_open(args[0]);
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
    check(r);
    return mp_obj_new_int(r);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_recv_into_obj, 2, 3, socket_recv_into);

static mp_obj_t socket_shutdown(mp_obj_t self_in, mp_obj_t how) {
    socket_obj_t *self = get_open(self_in);
    if (mp_obj_get_int(how) != 0) { // SHUT_WR or SHUT_RDWR; nothing is sent for SHUT_RD
        check(sock_shutdown_write(self->sock));
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_shutdown_obj, socket_shutdown);

// ---- options ------------------------------------------------------------------------------------

static mp_obj_t socket_settimeout(mp_obj_t self_in, mp_obj_t value) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (value == mp_const_none) {
        self->timeout_ns = TIMEOUT_NONE;
        return mp_const_none;
    }
    mp_float_t s = mp_obj_get_float(value);
    if (!(s >= 0)) {
        mp_raise_ValueError(MP_ERROR_TEXT("timeout out of range"));
    }
    self->timeout_ns = s < 1e9 ? (uint64_t)(s * 1e9) : TIMEOUT_NONE;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_settimeout_obj, socket_settimeout);

static mp_obj_t socket_setblocking(mp_obj_t self_in, mp_obj_t flag) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    self->timeout_ns = mp_obj_is_true(flag) ? TIMEOUT_NONE : 0;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(socket_setblocking_obj, socket_setblocking);

static void set_callback(socket_obj_t *self, mp_obj_t callback) {
    self->callback = callback == mp_const_none ? MP_OBJ_NULL : callback;
    self->sock->notify_arg = self;
    self->sock->notify = self->callback != MP_OBJ_NULL ? on_notify : NULL;
}

// struct ip_mreq: group, then the address of an interface. struct ipv6_mreq: group, then an index we do not use.
static int set_membership(sock_t *s, mp_obj_t value, bool v6, bool join) {
    mp_buffer_info_t buf;
    mp_get_buffer_raise(value, &buf, MP_BUFFER_READ);
    ip_addr_t group;
    ip_addr_t interface = *(v6 ? IP6_ADDR_ANY : IP4_ADDR_ANY);
    if (buf.len < (v6 ? 16 : 8)) {
        return -EINVAL;
    }
    netaddr_from_bytes(&group, buf.buf, v6);
    if (!v6) {
        netaddr_from_bytes(&interface, (const uint8_t *)buf.buf + 4, false);
    }
    return sock_membership(s, &group, &interface, join);
}

static bool option_on(mp_obj_t value) {
    mp_buffer_info_t buf;
    if (!mp_get_buffer(value, &buf, MP_BUFFER_READ)) {
        return mp_obj_is_true(value);
    }
    const uint8_t *p = buf.buf;
    return buf.len > 0 && p[0] != 0; // a packed little-endian int
}

static mp_obj_t socket_setsockopt(size_t n_args, const mp_obj_t *args) {
    socket_obj_t *self = get_open(args[0]);
    mp_int_t level = mp_obj_get_int(args[1]);
    mp_int_t option = mp_obj_get_int(args[2]);
    mp_obj_t value = args[3];
    sock_t *s = self->sock;
    int r = -EOPNOTSUPP;
    if (level == SOL_SOCKET && option == SO_CALLBACK) {
        set_callback(self, value);
        r = 0;
    } else if (level == SOL_SOCKET && option == SO_REUSEADDR) {
        r = sock_set_reuse(s, option_on(value));
    } else if (level == SOL_SOCKET && option == SO_BROADCAST) {
        r = sock_set_broadcast(s, option_on(value));
    } else if (level == SOL_SOCKET && option == SO_KEEPALIVE) {
        r = sock_set_keepalive(s, option_on(value));
    } else if (level == IPPROTO_TCP && option == TCP_NODELAY) {
        r = sock_set_nodelay(s, option_on(value));
    } else if (level == IPPROTO_IP && (option == IP_ADD_MEMBERSHIP || option == IP_DROP_MEMBERSHIP)) {
        r = set_membership(s, value, false, option == IP_ADD_MEMBERSHIP);
    } else if (level == IPPROTO_IPV6 && (option == IPV6_JOIN_GROUP || option == IPV6_LEAVE_GROUP)) {
        r = set_membership(s, value, true, option == IPV6_JOIN_GROUP);
    }
    check(r);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_setsockopt_obj, 4, 4, socket_setsockopt);

static mp_obj_t socket_makefile(size_t n_args, const mp_obj_t *args) { return args[0]; }
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(socket_makefile_obj, 1, 3, socket_makefile);

// ---- stream protocol ----------------------------------------------------------------------------

static mp_uint_t to_stream(ssize_t r, int *errcode) {
    if (r >= 0) {
        return (mp_uint_t)r;
    }
    *errcode = (int)-r;
    return MP_STREAM_ERROR;
}

static mp_uint_t socket_read(mp_obj_t self_in, void *buf, mp_uint_t size, int *errcode) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    return to_stream(self->sock == NULL ? -EBADF : do_recv(self, buf, size, NULL), errcode);
}

static mp_uint_t socket_write(mp_obj_t self_in, const void *buf, mp_uint_t size, int *errcode) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    return to_stream(self->sock == NULL ? -EBADF : do_send(self, buf, size, NULL), errcode);
}

static mp_uint_t socket_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (request == MP_STREAM_POLL) {
        if (self->sock == NULL) {
            return MP_STREAM_POLL_NVAL;
        }
        return sock_poll(self->sock) & (arg | MP_STREAM_POLL_ERR | MP_STREAM_POLL_HUP);
    }
    if (request == MP_STREAM_CLOSE) {
        if (self->sock != NULL) {
            sock_t *s = self->sock;
            self->sock = NULL;
            self->callback = MP_OBJ_NULL;
            sock_close(s);
        }
        return 0;
    }
    *errcode = MP_EINVAL;
    return MP_STREAM_ERROR;
}

_Static_assert(SOCK_POLL_IN == MP_STREAM_POLL_RD && SOCK_POLL_OUT == MP_STREAM_POLL_WR &&
                   SOCK_POLL_ERR == MP_STREAM_POLL_ERR && SOCK_POLL_HUP == MP_STREAM_POLL_HUP,
               "sock_poll() speaks MicroPython's flags");

static const mp_stream_p_t socket_stream_p = {
    .read = socket_read,
    .write = socket_write,
    .ioctl = socket_ioctl,
};

static const mp_rom_map_elem_t socket_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___del__), MP_ROM_PTR(&mp_stream_close_obj)},
    {MP_ROM_QSTR(MP_QSTR___enter__), MP_ROM_PTR(&mp_identity_obj)},
    {MP_ROM_QSTR(MP_QSTR___exit__), MP_ROM_PTR(&mp_stream___exit___obj)},
    {MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&mp_stream_close_obj)},
    {MP_ROM_QSTR(MP_QSTR_bind), MP_ROM_PTR(&socket_bind_obj)},
    {MP_ROM_QSTR(MP_QSTR_listen), MP_ROM_PTR(&socket_listen_obj)},
    {MP_ROM_QSTR(MP_QSTR_accept), MP_ROM_PTR(&socket_accept_obj)},
    {MP_ROM_QSTR(MP_QSTR_connect), MP_ROM_PTR(&socket_connect_obj)},
    {MP_ROM_QSTR(MP_QSTR_send), MP_ROM_PTR(&socket_send_obj)},
    {MP_ROM_QSTR(MP_QSTR_sendall), MP_ROM_PTR(&socket_sendall_obj)},
    {MP_ROM_QSTR(MP_QSTR_sendto), MP_ROM_PTR(&socket_sendto_obj)},
    {MP_ROM_QSTR(MP_QSTR_recv), MP_ROM_PTR(&socket_recv_obj)},
    {MP_ROM_QSTR(MP_QSTR_recvfrom), MP_ROM_PTR(&socket_recvfrom_obj)},
    {MP_ROM_QSTR(MP_QSTR_recv_into), MP_ROM_PTR(&socket_recv_into_obj)},
    {MP_ROM_QSTR(MP_QSTR_shutdown), MP_ROM_PTR(&socket_shutdown_obj)},
    {MP_ROM_QSTR(MP_QSTR_settimeout), MP_ROM_PTR(&socket_settimeout_obj)},
    {MP_ROM_QSTR(MP_QSTR_setblocking), MP_ROM_PTR(&socket_setblocking_obj)},
    {MP_ROM_QSTR(MP_QSTR_setsockopt), MP_ROM_PTR(&socket_setsockopt_obj)},
    {MP_ROM_QSTR(MP_QSTR_makefile), MP_ROM_PTR(&socket_makefile_obj)},
    {MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&mp_stream_read_obj)},
    {MP_ROM_QSTR(MP_QSTR_readinto), MP_ROM_PTR(&mp_stream_readinto_obj)},
    {MP_ROM_QSTR(MP_QSTR_readline), MP_ROM_PTR(&mp_stream_unbuffered_readline_obj)},
    {MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&mp_stream_write_obj)},
};
static MP_DEFINE_CONST_DICT(socket_locals, socket_locals_table);

static MP_DEFINE_CONST_OBJ_TYPE(socket_type, MP_QSTR_socket, MP_TYPE_FLAG_NONE, make_new, socket_make_new, print,
                                socket_print, protocol, &socket_stream_p, locals_dict, &socket_locals);

static const mp_rom_map_elem_t socket_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_socket)},
    {MP_ROM_QSTR(MP_QSTR_socket), MP_ROM_PTR(&socket_type)},
    {MP_ROM_QSTR(MP_QSTR_getaddrinfo), MP_ROM_PTR(&netaddr_getaddrinfo_obj)},
    {MP_ROM_QSTR(MP_QSTR_inet_ntop), MP_ROM_PTR(&netaddr_inet_ntop_obj)},
    {MP_ROM_QSTR(MP_QSTR_inet_pton), MP_ROM_PTR(&netaddr_inet_pton_obj)},
    {MP_ROM_QSTR(MP_QSTR_AF_INET), MP_ROM_INT(SOCK_AF_INET)},
    {MP_ROM_QSTR(MP_QSTR_AF_INET6), MP_ROM_INT(SOCK_AF_INET6)},
    {MP_ROM_QSTR(MP_QSTR_SOCK_STREAM), MP_ROM_INT(SOCK_TYPE_STREAM)},
    {MP_ROM_QSTR(MP_QSTR_SOCK_DGRAM), MP_ROM_INT(SOCK_TYPE_DGRAM)},
    {MP_ROM_QSTR(MP_QSTR_SHUT_RD), MP_ROM_INT(0)},
    {MP_ROM_QSTR(MP_QSTR_SHUT_WR), MP_ROM_INT(1)},
    {MP_ROM_QSTR(MP_QSTR_SHUT_RDWR), MP_ROM_INT(2)},
    {MP_ROM_QSTR(MP_QSTR_SOL_SOCKET), MP_ROM_INT(SOL_SOCKET)},
    {MP_ROM_QSTR(MP_QSTR_SO_REUSEADDR), MP_ROM_INT(SO_REUSEADDR)},
    {MP_ROM_QSTR(MP_QSTR_SO_BROADCAST), MP_ROM_INT(SO_BROADCAST)},
    {MP_ROM_QSTR(MP_QSTR_SO_KEEPALIVE), MP_ROM_INT(SO_KEEPALIVE)},
    {MP_ROM_QSTR(MP_QSTR_IPPROTO_IP), MP_ROM_INT(IPPROTO_IP)},
    {MP_ROM_QSTR(MP_QSTR_IPPROTO_TCP), MP_ROM_INT(IPPROTO_TCP)},
    {MP_ROM_QSTR(MP_QSTR_IPPROTO_UDP), MP_ROM_INT(IPPROTO_UDP)},
    {MP_ROM_QSTR(MP_QSTR_IPPROTO_IPV6), MP_ROM_INT(IPPROTO_IPV6)},
    {MP_ROM_QSTR(MP_QSTR_IP_ADD_MEMBERSHIP), MP_ROM_INT(IP_ADD_MEMBERSHIP)},
    {MP_ROM_QSTR(MP_QSTR_IP_DROP_MEMBERSHIP), MP_ROM_INT(IP_DROP_MEMBERSHIP)},
    {MP_ROM_QSTR(MP_QSTR_IPV6_JOIN_GROUP), MP_ROM_INT(IPV6_JOIN_GROUP)},
    {MP_ROM_QSTR(MP_QSTR_IPV6_LEAVE_GROUP), MP_ROM_INT(IPV6_LEAVE_GROUP)},
    {MP_ROM_QSTR(MP_QSTR_TCP_NODELAY), MP_ROM_INT(TCP_NODELAY)},
};
static MP_DEFINE_CONST_DICT(socket_globals, socket_globals_table);

const mp_obj_module_t floe_socket_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&socket_globals,
};

MP_REGISTER_EXTENSIBLE_MODULE(MP_QSTR_socket, floe_socket_module);
