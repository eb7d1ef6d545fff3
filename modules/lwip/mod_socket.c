// SPDX-License-Identifier: MIT
// Module socket, as MicroPython documents it (docs/library/socket.rst), over sock.h: the type, its life and its
// connections, the module. A Python object only points to its sock_t.
// Owns nothing. Not here: data and waiting (mod_sockio.c), options (mod_sockopt.c), addresses and names
// (mod_netaddr.c). Context: main loop.

#include "mod_socket.h"

#include <errno.h>

#include "hal.h"
#include "mod_netaddr.h"
#include "netstack.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/runtime.h"
#include "py/stream.h"

static const mp_obj_type_t socket_type;

// ---- life ---------------------------------------------------------------------------------------

static socket_obj_t *new_obj(void) {
    socket_obj_t *self = mp_obj_malloc_with_finaliser(socket_obj_t, &socket_type);
    self->sock = NULL;
    self->callback = MP_OBJ_NULL;
    self->timeout_ns = SOCKET_TIMEOUT_NONE;
    return self;
}

static mp_obj_t socket_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 4, false);
    netstack_start();
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
    if (self->timeout_ns == SOCKET_TIMEOUT_NONE) {
        mp_printf(print, "None>");
    } else {
        mp_printf(print, "%u ms>", (unsigned)(self->timeout_ns / 1000000));
    }
}

// ---- servers and clients ------------------------------------------------------------------------

static mp_obj_t socket_bind(mp_obj_t self_in, mp_obj_t addr) {
    socket_obj_t *self = mod_socket_get_open(self_in);
    sock_addr_t a = mod_netaddr_from_obj(addr, self->sock->family);
    mod_socket_check(sock_bind(self->sock, &a));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_bind_obj, socket_bind);

static mp_obj_t socket_listen(size_t n_args, const mp_obj_t *args) {
    socket_obj_t *self = mod_socket_get_open(args[0]);
    int backlog = -1; // a reasonable default
    if (n_args > 1) {
        mp_int_t n = mp_obj_get_int(args[1]);
        backlog = n < 0 ? 0 : n > INT16_MAX ? INT16_MAX : (int)n;
    }
    mod_socket_check(sock_listen(self->sock, backlog));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_socket_listen_obj, 1, 2, socket_listen);

static mp_obj_t socket_accept(mp_obj_t self_in) {
    socket_obj_t *self = mod_socket_get_open(self_in);
    socket_obj_t *conn = new_obj(); // first, so that no connection is lost to a MemoryError
    uint64_t deadline = mod_socket_deadline(self);
    sock_addr_t peer;
    int r;
    while ((r = sock_accept(self->sock, &conn->sock, &peer)) == -EAGAIN) {
        mod_socket_check(mod_socket_wait(self, deadline));
    }
    mod_socket_check(r);
    mp_obj_t items[2] = {MP_OBJ_FROM_PTR(conn), mod_netaddr_to_obj(&peer)};
    return mp_obj_new_tuple(2, items);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_socket_accept_obj, socket_accept);

static mp_obj_t socket_connect(mp_obj_t self_in, mp_obj_t addr) {
    socket_obj_t *self = mod_socket_get_open(self_in);
    sock_addr_t a = mod_netaddr_from_obj(addr, self->sock->family);
    uint64_t deadline = mod_socket_deadline(self);
    if (self->timeout_ns != 0) {
        mod_netaddr_wait_network(&a.ip, deadline);
        self = mod_socket_get_open(self_in);
    }
    int r = sock_connect(self->sock, &a);
    while (r == -EINPROGRESS && self->timeout_ns != 0) {
        mod_socket_check(mod_socket_wait(self, deadline));
        r = sock_connect_state(self->sock);
    }
    mod_socket_check(r);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_connect_obj, socket_connect);

static mp_obj_t socket_makefile(size_t n_args, const mp_obj_t *args) { return args[0]; }
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_socket_makefile_obj, 1, 3, socket_makefile);

// ---- tables ------------------------------------------------------------------------------------

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
    .read = mod_socket_read,
    .write = mod_socket_write,
    .ioctl = socket_ioctl,
};

static const mp_rom_map_elem_t socket_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___del__), MP_ROM_PTR(&mp_stream_close_obj)},
    {MP_ROM_QSTR(MP_QSTR___enter__), MP_ROM_PTR(&mp_identity_obj)},
    {MP_ROM_QSTR(MP_QSTR___exit__), MP_ROM_PTR(&mp_stream___exit___obj)},
    {MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&mp_stream_close_obj)},
    {MP_ROM_QSTR(MP_QSTR_bind), MP_ROM_PTR(&mod_socket_bind_obj)},
    {MP_ROM_QSTR(MP_QSTR_listen), MP_ROM_PTR(&mod_socket_listen_obj)},
    {MP_ROM_QSTR(MP_QSTR_accept), MP_ROM_PTR(&mod_socket_accept_obj)},
    {MP_ROM_QSTR(MP_QSTR_connect), MP_ROM_PTR(&mod_socket_connect_obj)},
    {MP_ROM_QSTR(MP_QSTR_send), MP_ROM_PTR(&mod_socket_send_obj)},
    {MP_ROM_QSTR(MP_QSTR_sendall), MP_ROM_PTR(&mod_socket_sendall_obj)},
    {MP_ROM_QSTR(MP_QSTR_sendto), MP_ROM_PTR(&mod_socket_sendto_obj)},
    {MP_ROM_QSTR(MP_QSTR_recv), MP_ROM_PTR(&mod_socket_recv_obj)},
    {MP_ROM_QSTR(MP_QSTR_recvfrom), MP_ROM_PTR(&mod_socket_recvfrom_obj)},
    {MP_ROM_QSTR(MP_QSTR_recv_into), MP_ROM_PTR(&mod_socket_recv_into_obj)},
    {MP_ROM_QSTR(MP_QSTR_shutdown), MP_ROM_PTR(&mod_socket_shutdown_obj)},
    {MP_ROM_QSTR(MP_QSTR_settimeout), MP_ROM_PTR(&mod_socket_settimeout_obj)},
    {MP_ROM_QSTR(MP_QSTR_setblocking), MP_ROM_PTR(&mod_socket_setblocking_obj)},
    {MP_ROM_QSTR(MP_QSTR_setsockopt), MP_ROM_PTR(&mod_socket_setsockopt_obj)},
    {MP_ROM_QSTR(MP_QSTR_makefile), MP_ROM_PTR(&mod_socket_makefile_obj)},
    {MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&mp_stream_read_obj)},
    {MP_ROM_QSTR(MP_QSTR_readinto), MP_ROM_PTR(&mp_stream_readinto_obj)},
    {MP_ROM_QSTR(MP_QSTR_readline), MP_ROM_PTR(&mp_stream_unbuffered_readline_obj)},
    {MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&mp_stream_write_obj)},
};
static MP_DEFINE_CONST_DICT(socket_locals, socket_locals_table);

static MP_DEFINE_CONST_OBJ_TYPE(socket_type, MP_QSTR_socket, MP_TYPE_FLAG_NONE, make_new, socket_make_new, print,
                                socket_print, protocol, &socket_stream_p, locals_dict, &socket_locals);

socket_obj_t *mod_socket_of(mp_obj_t obj) {
    if (!mp_obj_is_type(obj, &socket_type)) {
        mp_raise_TypeError(NULL);
    }
    return mod_socket_get_open(obj);
}

static const mp_rom_map_elem_t socket_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_socket)},
    {MP_ROM_QSTR(MP_QSTR_socket), MP_ROM_PTR(&socket_type)},
    {MP_ROM_QSTR(MP_QSTR_getaddrinfo), MP_ROM_PTR(&mod_netaddr_getaddrinfo_obj)},
    {MP_ROM_QSTR(MP_QSTR_inet_ntop), MP_ROM_PTR(&mod_netaddr_inet_ntop_obj)},
    {MP_ROM_QSTR(MP_QSTR_inet_pton), MP_ROM_PTR(&mod_netaddr_inet_pton_obj)},
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
    {MP_ROM_QSTR(MP_QSTR_SO_BINDTODEVICE), MP_ROM_INT(SO_BINDTODEVICE)},
    {MP_ROM_QSTR(MP_QSTR_SO_KEEPALIVE), MP_ROM_INT(SO_KEEPALIVE)},
    {MP_ROM_QSTR(MP_QSTR_IPPROTO_IP), MP_ROM_INT(IPPROTO_IP)},
    {MP_ROM_QSTR(MP_QSTR_IPPROTO_TCP), MP_ROM_INT(IPPROTO_TCP)},
    {MP_ROM_QSTR(MP_QSTR_IPPROTO_UDP), MP_ROM_INT(IPPROTO_UDP)},
    {MP_ROM_QSTR(MP_QSTR_IPPROTO_IPV6), MP_ROM_INT(IPPROTO_IPV6)},
    {MP_ROM_QSTR(MP_QSTR_IP_TTL), MP_ROM_INT(IP_TTL)},
    {MP_ROM_QSTR(MP_QSTR_IP_MULTICAST_TTL), MP_ROM_INT(IP_MULTICAST_TTL)},
    {MP_ROM_QSTR(MP_QSTR_IP_MULTICAST_LOOP), MP_ROM_INT(IP_MULTICAST_LOOP)},
    {MP_ROM_QSTR(MP_QSTR_IPV6_UNICAST_HOPS), MP_ROM_INT(IPV6_UNICAST_HOPS)},
    {MP_ROM_QSTR(MP_QSTR_IPV6_MULTICAST_HOPS), MP_ROM_INT(IPV6_MULTICAST_HOPS)},
    {MP_ROM_QSTR(MP_QSTR_IPV6_MULTICAST_LOOP), MP_ROM_INT(IPV6_MULTICAST_LOOP)},
    {MP_ROM_QSTR(MP_QSTR_IP_ADD_MEMBERSHIP), MP_ROM_INT(IP_ADD_MEMBERSHIP)},
    {MP_ROM_QSTR(MP_QSTR_IP_DROP_MEMBERSHIP), MP_ROM_INT(IP_DROP_MEMBERSHIP)},
    {MP_ROM_QSTR(MP_QSTR_IPV6_JOIN_GROUP), MP_ROM_INT(IPV6_JOIN_GROUP)},
    {MP_ROM_QSTR(MP_QSTR_IPV6_LEAVE_GROUP), MP_ROM_INT(IPV6_LEAVE_GROUP)},
    {MP_ROM_QSTR(MP_QSTR_TCP_NODELAY), MP_ROM_INT(TCP_NODELAY)},
};
static MP_DEFINE_CONST_DICT(socket_globals, socket_globals_table);

const mp_obj_module_t mod_socket_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&socket_globals,
};

MP_REGISTER_EXTENSIBLE_MODULE(MP_QSTR_socket, mod_socket_module);
