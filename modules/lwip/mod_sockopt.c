// SPDX-License-Identifier: MIT
// Module socket: timeouts and options. Owns nothing. Not here: what the options do (sock.c). Context: main loop.

#include <errno.h>
#include <string.h>

#include "hal.h"
#include "mod_netaddr.h"
#include "mod_socket.h"
#include "py/runtime.h"

static mp_obj_t socket_settimeout(mp_obj_t self_in, mp_obj_t value) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (value == mp_const_none) {
        self->timeout_ns = SOCKET_TIMEOUT_NONE;
        return mp_const_none;
    }
    mp_float_t s = mp_obj_get_float(value);
    if (!(s >= 0)) {
        mp_raise_ValueError(MP_ERROR_TEXT("timeout out of range"));
    }
    self->timeout_ns = s < 1e9 ? (uint64_t)(s * 1e9) : SOCKET_TIMEOUT_NONE;
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_settimeout_obj, socket_settimeout);

static mp_obj_t socket_setblocking(mp_obj_t self_in, mp_obj_t flag) {
    socket_obj_t *self = MP_OBJ_TO_PTR(self_in);
    self->timeout_ns = mp_obj_is_true(flag) ? SOCKET_TIMEOUT_NONE : 0;
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_socket_setblocking_obj, socket_setblocking);

static void on_notify(void *arg) {
    socket_obj_t *self = arg;
    mp_sched_schedule(self->callback, MP_OBJ_FROM_PTR(self));
}

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
    mod_netaddr_from_bytes(&group, buf.buf, v6);
    if (!v6) {
        mod_netaddr_from_bytes(&interface, (const uint8_t *)buf.buf + 4, false);
    }
    return sock_membership(s, &group, &interface, join);
}

// An int, or the bytes of a little-endian one.
static mp_int_t option_int(mp_obj_t value) {
    mp_buffer_info_t buf;
    if (!mp_get_buffer(value, &buf, MP_BUFFER_READ)) {
        return mp_obj_get_int(value);
    }
    if (buf.len == 1) { // struct.pack("b", ...), which other systems take, too
        return *(const int8_t *)buf.buf;
    }
    int32_t n = INT32_MAX;
    if (buf.len == sizeof n) {
        memcpy(&n, buf.buf, sizeof n);
    }
    return n;
}

static bool option_on(mp_obj_t value) {
    mp_buffer_info_t buf;
    if (!mp_get_buffer(value, &buf, MP_BUFFER_READ)) {
        return mp_obj_is_true(value);
    }
    const uint8_t *p = buf.buf;
    return buf.len > 0 && p[0] != 0; // a packed little-endian int
}

// The number of the card of that name: "en0" is 0. -1: no name, any card. One that cannot be, for all else.
static int option_card(mp_obj_t value) {
    mp_buffer_info_t buf;
    mp_get_buffer_raise(value, &buf, MP_BUFFER_READ);
    const char *name = buf.buf;
    size_t len = strnlen(name, buf.len);
    return len == 0 ? -1 : len == 3 && name[0] == 'e' && name[1] == 'n' ? (uint8_t)(name[2] - '0') : INT8_MAX;
}

static int set_ip_option(sock_t *s, bool v6, mp_int_t option, mp_obj_t value) {
    mp_int_t join = v6 ? IPV6_JOIN_GROUP : IP_ADD_MEMBERSHIP, leave = v6 ? IPV6_LEAVE_GROUP : IP_DROP_MEMBERSHIP;
    mp_int_t hops = v6 ? IPV6_UNICAST_HOPS : IP_TTL, group_hops = v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL;
    if (option == join || option == leave) {
        return set_membership(s, value, v6, option == join);
    }
    if (option == hops || option == group_hops) {
        return sock_set_hops(s, option_int(value), option == group_hops);
    }
    if (option == (v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP)) {
        return sock_set_multicast_loop(s, option_on(value));
    }
    return -EOPNOTSUPP;
}

static mp_obj_t socket_setsockopt(size_t n_args, const mp_obj_t *args) {
    socket_obj_t *self = mod_socket_get_open(args[0]);
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
    } else if (level == SOL_SOCKET && option == SO_BINDTODEVICE) {
        r = sock_set_card(s, option_card(value));
    } else if (level == SOL_SOCKET && option == SO_KEEPALIVE) {
        r = sock_set_keepalive(s, option_on(value));
    } else if (level == IPPROTO_TCP && option == TCP_NODELAY) {
        r = sock_set_nodelay(s, option_on(value));
    } else if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
        r = set_ip_option(s, level == IPPROTO_IPV6, option, value);
    }
    mod_socket_check(r);
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_socket_setsockopt_obj, 4, 4, socket_setsockopt);
