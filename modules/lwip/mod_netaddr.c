// SPDX-License-Identifier: MIT
// Addresses and names for module socket: tuples, getaddrinfo, inet_ntop, inet_pton, and the wait for the first
// lease. Owns the address preference. Not here: sockets (mod_socket.c), queries (sock_dns.c).
// Context: main loop.

#include "mod_netaddr.h"

#include <string.h>

#include "hal.h"
#include "netcfg.h"
#include "netstack.h"
#include "py/mperrno.h"
#include "py/runtime.h"

#define LEASE_WAIT_NS 10000000000ull

enum { EAI_NONAME = -2, EAI_AGAIN = -3, EAI_MEMORY = -10 };

int mod_netaddr_prefer = 4;

void mod_netaddr_from_bytes(ip_addr_t *out, const uint8_t *bytes, bool v6) {
    memset(out, 0, sizeof *out);
    if (v6) {
        IP_SET_TYPE(out, IPADDR_TYPE_V6);
        memcpy(ip_2_ip6(out)->addr, bytes, 16);
    } else {
        IP_SET_TYPE(out, IPADDR_TYPE_V4);
        memcpy(&ip_2_ip4(out)->addr, bytes, 4);
    }
}

static bool parse_literal(const char *text, size_t len, ip_addr_t *out) {
    unsigned bits;
    return memchr(text, '/', len) == NULL && netcfg_parse(text, len, out, &bits);
}

ip_addr_t mod_netaddr_ip_from_obj(mp_obj_t text) {
    size_t len;
    const char *s = mp_obj_str_get_data(text, &len);
    ip_addr_t ip;
    if (!parse_literal(s, len, &ip)) {
        mp_raise_ValueError(MP_ERROR_TEXT("not an IP address"));
    }
    return ip;
}

mp_obj_t mod_netaddr_ip_to_obj(const ip_addr_t *ip) {
    char text[IPADDR_STRLEN_MAX];
    ipaddr_ntoa_r(ip, text, sizeof text);
    for (char *p = text; *p != 0; p++) { // RFC 5952, 4.3: lower case
        *p = (char)(*p >= 'A' && *p <= 'F' ? *p + ('a' - 'A') : *p);
    }
    return mp_obj_new_str_from_cstr(text);
}

sock_addr_t mod_netaddr_from_obj(mp_obj_t addr, int family) {
    size_t n;
    mp_obj_t *items;
    mp_obj_get_array(addr, &n, &items);
    if (n != 2 && n != 4) {
        mp_raise_ValueError(MP_ERROR_TEXT("address is (host, port) or (host, port, flowinfo, scopeid)"));
    }
    sock_addr_t a;
    size_t len;
    mp_obj_str_get_data(items[0], &len);
    if (len == 0) {
        a.ip = *(family == SOCK_AF_INET6 ? IP6_ADDR_ANY : IP4_ADDR_ANY);
    } else {
        a.ip = mod_netaddr_ip_from_obj(items[0]);
    }
    mp_int_t port = mp_obj_get_int(items[1]);
    if (port < 0 || port > UINT16_MAX) {
        mp_raise_ValueError(MP_ERROR_TEXT("port is 0 to 65535"));
    }
    a.port = (uint16_t)port;
    if (n == 4 && IP_IS_V6(&a.ip)) {
        mp_int_t scope = mp_obj_get_int(items[3]);
        if (scope > 0 && scope < UINT8_MAX && ip6_addr_islinklocal(ip_2_ip6(&a.ip))) {
            ip6_addr_set_zone(ip_2_ip6(&a.ip), (u8_t)scope);
        }
    }
    return a;
}

mp_obj_t mod_netaddr_to_obj(const sock_addr_t *a) {
    mp_obj_t items[4] = {mod_netaddr_ip_to_obj(&a->ip), MP_OBJ_NEW_SMALL_INT(a->port)};
    if (!IP_IS_V6(&a->ip)) {
        return mp_obj_new_tuple(2, items);
    }
    items[2] = MP_OBJ_NEW_SMALL_INT(0);
    items[3] = MP_OBJ_NEW_SMALL_INT(ip6_addr_zone(ip_2_ip6(&a->ip)));
    return mp_obj_new_tuple(4, items);
}

void mod_netaddr_wait_network(const ip_addr_t *to, uint64_t deadline) {
    if (to != NULL && (ip_addr_isany(to) || ip_addr_isloopback(to))) {
        return;
    }
    bool v6 = to != NULL && IP_IS_V6(to);
    uint64_t limit = hal_clock_ns() + LEASE_WAIT_NS;
    limit = limit < deadline ? limit : deadline;
    while (netcfg_pending(v6) && hal_clock_ns() < limit) {
        mp_handle_pending(true);
        hal_event_wait(limit);
    }
}

// Run a query to its end; what a callback or Ctrl-C raises meanwhile does not leak it.
static void wait_query(sock_query_t *q) {
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        while (!sock_query_done(q)) {
            mp_handle_pending(true);
            hal_event_wait(UINT64_MAX); // lwIP gives up by itself after its last repeat
        }
        nlr_pop();
    } else {
        sock_query_release(q);
        nlr_jump(nlr.ret_val);
    }
}

static mp_obj_t info(const ip_addr_t *ip, mp_int_t port, mp_int_t type) {
    sock_addr_t a = {*ip, (uint16_t)port};
    mp_obj_t items[5] = {
        MP_OBJ_NEW_SMALL_INT(IP_IS_V6(ip) ? SOCK_AF_INET6 : SOCK_AF_INET),
        MP_OBJ_NEW_SMALL_INT(type != 0 ? type : SOCK_TYPE_STREAM),
        MP_OBJ_NEW_SMALL_INT(0),
        MP_OBJ_NEW_QSTR(MP_QSTR_),
        mod_netaddr_to_obj(&a),
    };
    return mp_obj_new_tuple(5, items);
}

static mp_obj_t resolve(const char *host, mp_int_t port, mp_int_t family, mp_int_t type) {
    mod_netaddr_wait_network(NULL, UINT64_MAX);
    if (family == 0 && !netcfg_has_ip6()) {
        family = SOCK_AF_INET; // an IPv6 address would be of no use
    }
    sock_query_t *q = sock_query_start(host, (int)family);
    if (q == NULL) {
        mp_raise_OSError(EAI_MEMORY);
    }
    wait_query(q);
    sock_query_t r = *q;
    sock_query_release(q);
    mp_obj_t list = mp_obj_new_list(0, NULL);
    if (r.v6 == 0 && mod_netaddr_prefer == 6) {
        mp_obj_list_append(list, info(&r.ip6, port, type));
    }
    if (r.v4 == 0) {
        mp_obj_list_append(list, info(&r.ip4, port, type));
    }
    if (r.v6 == 0 && mod_netaddr_prefer != 6) {
        mp_obj_list_append(list, info(&r.ip6, port, type));
    }
    if (r.v4 != 0 && r.v6 != 0) {
        mp_raise_OSError(r.v4 == -EAGAIN || r.v6 == -EAGAIN ? EAI_AGAIN : EAI_NONAME);
    }
    return list;
}

static mp_obj_t mod_netaddr_getaddrinfo(size_t n_args, const mp_obj_t *args) {
    netstack_start();
    size_t len;
    const char *host = mp_obj_str_get_data(args[0], &len);
    mp_int_t port = mp_obj_get_int(args[1]);
    mp_int_t family = n_args > 2 ? mp_obj_get_int(args[2]) : 0;
    mp_int_t type = n_args > 3 ? mp_obj_get_int(args[3]) : 0;
    if (port < 0 || port > UINT16_MAX) {
        mp_raise_ValueError(MP_ERROR_TEXT("port is 0 to 65535"));
    }
    if (family != 0 && family != SOCK_AF_INET && family != SOCK_AF_INET6) {
        mp_raise_OSError(MP_EAFNOSUPPORT);
    }
    ip_addr_t ip = *(family == SOCK_AF_INET6 ? IP6_ADDR_ANY : IP4_ADDR_ANY);
    if (len > 0 && !parse_literal(host, len, &ip)) {
        if (strlen(host) != len) {
            mp_raise_OSError(EAI_NONAME); // lwIP would ask for what stands before the zero
        }
        return resolve(host, port, family, type);
    }
    if (family != 0 && (family == SOCK_AF_INET6) != (IP_IS_V6(&ip) != 0)) {
        mp_raise_OSError(EAI_NONAME);
    }
    mod_netaddr_wait_network(&ip, UINT64_MAX); // a connection usually comes next
    mp_obj_t one = info(&ip, port, type);
    return mp_obj_new_list(1, &one);
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_netaddr_getaddrinfo_obj, 2, 6, mod_netaddr_getaddrinfo);

static bool is_v6(mp_obj_t family_in) {
    mp_int_t family = mp_obj_get_int(family_in);
    if (family != SOCK_AF_INET && family != SOCK_AF_INET6) {
        mp_raise_OSError(MP_EAFNOSUPPORT);
    }
    return family == SOCK_AF_INET6;
}

static mp_obj_t mod_netaddr_inet_ntop(mp_obj_t family, mp_obj_t bytes) {
    bool v6 = is_v6(family);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(bytes, &buf, MP_BUFFER_READ);
    if (buf.len != (v6 ? 16 : 4)) {
        mp_raise_ValueError(MP_ERROR_TEXT("wrong length"));
    }
    ip_addr_t ip;
    mod_netaddr_from_bytes(&ip, buf.buf, v6);
    return mod_netaddr_ip_to_obj(&ip);
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_netaddr_inet_ntop_obj, mod_netaddr_inet_ntop);

static mp_obj_t mod_netaddr_inet_pton(mp_obj_t family, mp_obj_t text) {
    bool v6 = is_v6(family);
    ip_addr_t ip = mod_netaddr_ip_from_obj(text);
    if ((IP_IS_V6(&ip) != 0) != v6) {
        mp_raise_OSError(MP_EINVAL);
    }
    return v6 ? mp_obj_new_bytes((const byte *)ip_2_ip6(&ip)->addr, 16)
              : mp_obj_new_bytes((const byte *)&ip_2_ip4(&ip)->addr, 4);
}
MP_DEFINE_CONST_FUN_OBJ_2(mod_netaddr_inet_pton_obj, mod_netaddr_inet_pton);
