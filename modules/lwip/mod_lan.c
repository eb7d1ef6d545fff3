// SPDX-License-Identifier: MIT
// network.LAN, as MicroPython documents it (docs/library/network.LAN.rst), over netcfg.h: LAN(id) is the id-th
// network device. Owns the LAN objects. Not here: the module's own functions (mod_network.c). Context: main loop.

#include "mod_network.h"

#include <string.h>

#include "hal.h"
#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "mod_netaddr.h"
#include "netcfg.h"
#include "netdns.h"
#include "netglue.h"
#include "netmem.h"
#include "netstack.h"
#include "py/mperrno.h"
#include "py/objstr.h"
#include "py/runtime.h"

#define LEASE_NS 10000000000ull      // ifconfig("dhcp") then raises ETIMEDOUT
#define FIRST_LEASE_NS 1000000000ull // how long the first isconnected() waits for a lease that is on its way

typedef struct {
    mp_obj_base_t base;
    netglue_t *glue;
    bool waited;
} lan_obj_t;

enum { LAN_DOWN = 0, LAN_NO_ADDRESS = 1, LAN_UP = 2 };

static lan_obj_t lans[NETDEV_MAX];

mp_obj_t mod_network_lan(unsigned i) {
    lans[i].base.type = &mod_network_lan_type;
    lans[i].glue = netglue_get(i);
    return MP_OBJ_FROM_PTR(&lans[i]);
}

static struct netif *netif_of(mp_obj_t self_in) { return &((lan_obj_t *)MP_OBJ_TO_PTR(self_in))->glue->netif; }

static mp_obj_t lan_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 1, false);
    netstack_start();
    mp_int_t id = n_args > 0 ? mp_obj_get_int(args[0]) : 0;
    if (id < 0 || (mp_uint_t)id >= netglue_count()) {
        mp_raise_OSError(MP_ENODEV);
    }
    return mod_network_lan((unsigned)id);
}

static void lan_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    const lan_obj_t *self = MP_OBJ_TO_PTR(self_in);
    const struct netif *n = &self->glue->netif;
    char ip[IP4ADDR_STRLEN_MAX];
    ip4addr_ntoa_r(netif_ip4_addr(n), ip, sizeof ip);
    mp_printf(print, "<LAN %d %s %s %s>", (int)(self - lans), self->glue->dev->driver,
              netif_is_link_up(n) ? "link up" : "link down", ip);
}

static mp_obj_t lan_active(size_t n_args, const mp_obj_t *args) {
    struct netif *n = netif_of(args[0]);
    if (n_args == 1) {
        return mp_obj_new_bool(netif_is_up(n));
    }
    bool on = mp_obj_is_true(args[1]);
    if (on && !netif_is_up(n)) {
        netif_set_up(n);
        if (ip4_addr_isany_val(*netif_ip4_addr(n))) {
            netcfg_start_dhcp(n);
        }
    } else if (!on && netif_is_up(n)) {
        netcfg_stop_dhcp(n);
        netif_set_down(n);
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(lan_active_obj, 1, 2, lan_active);

// A lease takes some milliseconds after boot. The first question waits for it, so that the usual loop of
// isconnected() and sleep(1) does not cost its second.
static mp_obj_t lan_isconnected(mp_obj_t self_in) {
    lan_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (!self->waited) {
        self->waited = true;
        mod_netaddr_wait_network(NULL, hal_clock_ns() + FIRST_LEASE_NS);
    }
    return mp_obj_new_bool(netcfg_is_up(&self->glue->netif));
}
static MP_DEFINE_CONST_FUN_OBJ_1(lan_isconnected_obj, lan_isconnected);

static mp_obj_t lan_status(size_t n_args, const mp_obj_t *args) {
    struct netif *n = netif_of(args[0]);
    if (n_args > 1) {
        mp_raise_ValueError(MP_ERROR_TEXT("unexpected key"));
    }
    int status = !netif_is_up(n) || !netif_is_link_up(n) ? LAN_DOWN : netcfg_is_up(n) ? LAN_UP : LAN_NO_ADDRESS;
    return MP_OBJ_NEW_SMALL_INT(status);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(lan_status_obj, 1, 2, lan_status);

// ---- config: MAC address, and what a driver tells -----------------------------------------------

static mp_obj_t lan_config(size_t n_args, const mp_obj_t *args, mp_map_t *kwargs) {
    const netdev_t *dev = ((lan_obj_t *)MP_OBJ_TO_PTR(args[0]))->glue->dev;
    if (kwargs->used != 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("parameter is read-only"));
    }
    if (n_args != 2) {
        mp_raise_TypeError(MP_ERROR_TEXT("must query one param"));
    }
    switch (mp_obj_str_get_qstr(args[1])) {
        case MP_QSTR_mac:
            return mp_obj_new_bytes(dev->mac, NETDEV_MAC_LEN);
        case MP_QSTR_mtu:
            return MP_OBJ_NEW_SMALL_INT(dev->mtu);
        case MP_QSTR_driver:
            return mp_obj_new_str_from_cstr(dev->driver);
        case MP_QSTR_stats: {
            mp_obj_t items[7] = {
                mp_obj_new_int_from_ull(dev->stats.rx_frames),  mp_obj_new_int_from_ull(dev->stats.rx_bytes),
                mp_obj_new_int_from_ull(dev->stats.rx_dropped), mp_obj_new_int_from_ull(dev->stats.tx_frames),
                mp_obj_new_int_from_ull(dev->stats.tx_bytes),   mp_obj_new_int_from_ull(dev->stats.tx_full),
                mp_obj_new_int_from_ull(dev->stats.kicks),
            };
            return mp_obj_new_tuple(7, items);
        }
        default:
            mp_raise_ValueError(MP_ERROR_TEXT("unexpected key"));
    }
}
static MP_DEFINE_CONST_FUN_OBJ_KW(lan_config_obj, 1, lan_config);

// ---- ipconfig -----------------------------------------------------------------------------------

static mp_obj_t ip4_to_obj(const ip4_addr_t *a) {
    char text[IP4ADDR_STRLEN_MAX];
    ip4addr_ntoa_r(a, text, sizeof text);
    return mp_obj_new_str_from_cstr(text);
}

static mp_obj_t get_addr6(const struct netif *n) {
    mp_obj_t list = mp_obj_new_list(0, NULL);
    for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (ip6_addr_isinvalid(netif_ip6_addr_state(n, i))) {
            continue;
        }
        mp_obj_t items[4] = {
            mod_netaddr_ip_to_obj(netif_ip_addr6(n, i)),
            MP_OBJ_NEW_SMALL_INT(netif_ip6_addr_state(n, i)),
            mp_obj_new_int_from_uint(netif_ip6_addr_pref_life(n, i)),
            mp_obj_new_int_from_uint(netif_ip6_addr_valid_life(n, i)),
        };
        mp_obj_list_append(list, mp_obj_new_tuple(4, items));
    }
    return list;
}

static bool has_autoconf6(const struct netif *n) {
    for (s8_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (ip6_addr_isvalid(netif_ip6_addr_state(n, i)) && !netif_ip6_addr_isstatic(n, i)) {
            return true;
        }
    }
    return false;
}

static mp_obj_t lan_ipconfig_get(struct netif *n, qstr key) {
    switch (key) {
        case MP_QSTR_dhcp4:
            return mp_obj_new_bool(netcfg_dhcp_on(n));
        case MP_QSTR_has_dhcp4:
            return mp_obj_new_bool(dhcp_supplied_address(n));
        case MP_QSTR_autoconf6:
            return mp_obj_new_bool(n->ip6_autoconfig_enabled);
        case MP_QSTR_has_autoconf6:
            return mp_obj_new_bool(has_autoconf6(n));
        case MP_QSTR_addr4: {
            mp_obj_t items[2] = {ip4_to_obj(netif_ip4_addr(n)), ip4_to_obj(netif_ip4_netmask(n))};
            return mp_obj_new_tuple(2, items);
        }
        case MP_QSTR_addr6:
            return get_addr6(n);
        case MP_QSTR_gw4:
            return ip4_to_obj(netif_ip4_gw(n));
        default:
            mp_raise_ValueError(MP_ERROR_TEXT("unexpected key"));
    }
}

static ip4_addr_t ip4_from_obj(mp_obj_t text) {
    ip_addr_t a = mod_netaddr_ip_from_obj(text);
    if (!IP_IS_V4(&a)) {
        mp_raise_ValueError(MP_ERROR_TEXT("invalid address type"));
    }
    return *ip_2_ip4(&a);
}

// "10.0.0.2/24", "10.0.0.2" (the mask stays), ("10.0.0.2", "255.255.255.0"), or None for no address.
static void set_addr4(struct netif *n, mp_obj_t value) {
    ip4_addr_t gw = *netif_ip4_gw(n);
    ip4_addr_t mask = *netif_ip4_netmask(n);
    ip4_addr_t addr = *IP4_ADDR_ANY4;
    if (value == mp_const_none) {
        mask = gw = addr;
    } else if (mp_obj_is_str(value)) {
        size_t len;
        const char *s = mp_obj_str_get_data(value, &len);
        ip_addr_t a;
        unsigned bits = UINT8_MAX;
        if (!netcfg_parse(s, len, &a, &bits) || !IP_IS_V4(&a)) {
            mp_raise_ValueError(MP_ERROR_TEXT("not an IPv4 address"));
        }
        addr = *ip_2_ip4(&a);
        mask = bits != UINT8_MAX ? netcfg_mask(bits) : mask;
    } else {
        mp_obj_t *items;
        mp_obj_get_array_fixed_n(value, 2, &items);
        addr = ip4_from_obj(items[0]);
        mask = ip4_from_obj(items[1]);
    }
    netcfg_set_ip4(n, &addr, &mask, &gw);
}

static void set_addr6(struct netif *n, mp_obj_t value) {
    if (value == mp_const_none) {
        netcfg_set_ip6(n, NULL);
        return;
    }
    size_t len;
    const char *s = mp_obj_str_get_data(value, &len);
    ip_addr_t a;
    unsigned bits;
    if (!netcfg_parse(s, len, &a, &bits) || !IP_IS_V6(&a)) {
        mp_raise_ValueError(MP_ERROR_TEXT("not an IPv6 address"));
    }
    if (!netcfg_set_ip6(n, ip_2_ip6(&a))) {
        mp_raise_OSError(MP_ENOMEM);
    }
}

static void lan_ipconfig_set(struct netif *n, qstr key, mp_obj_t value) {
    switch (key) {
        case MP_QSTR_dhcp4:
            netcfg_stop_dhcp(n);
            if (mp_obj_is_true(value) && !netcfg_start_dhcp(n)) {
                mp_raise_OSError(netif_is_up(n) ? MP_ENOMEM : MP_EHOSTUNREACH);
            }
            break;
        case MP_QSTR_autoconf6:
            netcfg_set_autoconf6(n, mp_obj_is_true(value));
            break;
        case MP_QSTR_addr4:
            set_addr4(n, value);
            break;
        case MP_QSTR_addr6:
            set_addr6(n, value);
            break;
        case MP_QSTR_gw4: {
            ip4_addr_t gw = ip4_from_obj(value);
            netif_set_gw(n, &gw);
            break;
        }
        default:
            mp_raise_ValueError(MP_ERROR_TEXT("unexpected key"));
    }
}

mp_obj_t mod_network_get_or_set(struct netif *n, size_t n_args, const mp_obj_t *args, mp_map_t *kwargs,
                                const mod_network_config_t *config) {
    if (kwargs->used == 0) {
        if (n_args != 1) {
            mp_raise_TypeError(MP_ERROR_TEXT("must query one param"));
        }
        return config->get(n, mp_obj_str_get_qstr(args[0]));
    }
    if (n_args != 0) {
        mp_raise_TypeError(MP_ERROR_TEXT("can't specify pos and kw args"));
    }
    for (size_t i = 0; i < kwargs->alloc; i++) {
        if (mp_map_slot_is_filled(kwargs, i)) {
            config->set(n, mp_obj_str_get_qstr(kwargs->table[i].key), kwargs->table[i].value);
        }
    }
    return mp_const_none;
}

static mp_obj_t lan_ipconfig(size_t n_args, const mp_obj_t *args, mp_map_t *kwargs) {
    static const mod_network_config_t config = {lan_ipconfig_get, lan_ipconfig_set};
    return mod_network_get_or_set(netif_of(args[0]), n_args - 1, args + 1, kwargs, &config);
}
static MP_DEFINE_CONST_FUN_OBJ_KW(lan_ipconfig_obj, 1, lan_ipconfig);

// Deprecated upstream, and still what most scripts call.
static mp_obj_t lan_ifconfig(size_t n_args, const mp_obj_t *args) {
    struct netif *n = netif_of(args[0]);
    if (n_args == 1) {
        mp_obj_t items[4] = {ip4_to_obj(netif_ip4_addr(n)), ip4_to_obj(netif_ip4_netmask(n)),
                             ip4_to_obj(netif_ip4_gw(n)), mod_netaddr_ip_to_obj(dns_getserver(0))};
        return mp_obj_new_tuple(4, items);
    }
    if (mp_obj_is_str(args[1])) {
        lan_ipconfig_set(n, MP_QSTR_dhcp4, mp_const_true);
        uint64_t limit = hal_clock_ns() + LEASE_NS;
        while (!dhcp_supplied_address(n) && hal_clock_ns() < limit) {
            mp_handle_pending(true);
            hal_event_wait(limit);
        }
        if (!dhcp_supplied_address(n)) {
            mp_raise_OSError(MP_ETIMEDOUT);
        }
        return mp_const_none;
    }
    mp_obj_t *items;
    mp_obj_get_array_fixed_n(args[1], 4, &items);
    ip4_addr_t addr = ip4_from_obj(items[0]), mask = ip4_from_obj(items[1]), gw = ip4_from_obj(items[2]);
    ip_addr_t dns = mod_netaddr_ip_from_obj(items[3]);
    netcfg_set_ip4(n, &addr, &mask, &gw);
    netdns_set(&dns);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(lan_ifconfig_obj, 1, 2, lan_ifconfig);

static const mp_rom_map_elem_t lan_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_active), MP_ROM_PTR(&lan_active_obj)},
    {MP_ROM_QSTR(MP_QSTR_isconnected), MP_ROM_PTR(&lan_isconnected_obj)},
    {MP_ROM_QSTR(MP_QSTR_status), MP_ROM_PTR(&lan_status_obj)},
    {MP_ROM_QSTR(MP_QSTR_config), MP_ROM_PTR(&lan_config_obj)},
    {MP_ROM_QSTR(MP_QSTR_ipconfig), MP_ROM_PTR(&lan_ipconfig_obj)},
    {MP_ROM_QSTR(MP_QSTR_ifconfig), MP_ROM_PTR(&lan_ifconfig_obj)},
};
static MP_DEFINE_CONST_DICT(lan_locals, lan_locals_table);

MP_DEFINE_CONST_OBJ_TYPE(mod_network_lan_type, MP_QSTR_LAN, MP_TYPE_FLAG_NONE, make_new, lan_make_new, print, lan_print,
                         locals_dict, &lan_locals);
