// SPDX-License-Identifier: MIT
// Module network, as MicroPython documents it (docs/library/network.rst). Owns nothing. Not here: LAN (mod_lan.c),
// sockets (mod_socket.c). Context: main loop.

#include "mod_network.h"

#include "hal.h"
#include "lwip/dns.h"
#include "mod_netaddr.h"
#include "netcfg.h"
#include "netdns.h"
#include "netglue.h"
#include "netmem.h"
#include "netstack.h"
#include "py/runtime.h"

static mp_obj_t global_get(struct netif *n, qstr key) {
    switch (key) {
        case MP_QSTR_dns:
            return mod_netaddr_ip_to_obj(dns_getserver(0));
        case MP_QSTR_prefer:
            return MP_OBJ_NEW_SMALL_INT(mod_netaddr_prefer);
        default:
            mp_raise_ValueError(MP_ERROR_TEXT("unexpected key"));
    }
}

static void global_set(struct netif *n, qstr key, mp_obj_t value) {
    if (key == MP_QSTR_dns) {
        ip_addr_t dns = mod_netaddr_ip_from_obj(value);
        netdns_set(&dns);
    } else if (key == MP_QSTR_prefer) {
        mp_int_t v = mp_obj_get_int(value);
        if (v != 4 && v != 6) {
            mp_raise_ValueError(MP_ERROR_TEXT("prefer is 4 or 6"));
        }
        mod_netaddr_prefer = (int)v;
    } else {
        mp_raise_ValueError(MP_ERROR_TEXT("unexpected key"));
    }
}

static mp_obj_t network_ipconfig(size_t n_args, const mp_obj_t *args, mp_map_t *kwargs) {
    netstack_start();
    static const mod_network_config_t config = {global_get, global_set};
    return mod_network_get_or_set(NULL, n_args, args, kwargs, &config);
}
static MP_DEFINE_CONST_FUN_OBJ_KW(network_ipconfig_obj, 0, network_ipconfig);

static mp_obj_t network_hostname(size_t n_args, const mp_obj_t *args) {
    netstack_start();
    if (n_args == 0) {
        return mp_obj_new_str_from_cstr(netcfg_hostname());
    }
    size_t len;
    const char *name = mp_obj_str_get_data(args[0], &len);
    if (len > NETCFG_HOSTNAME_MAX) {
        mp_raise_ValueError(NULL);
    }
    netcfg_set_hostname(name, len);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(network_hostname_obj, 0, 1, network_hostname);

static mp_obj_t network_route(void) {
    netstack_start();
    mp_obj_t list = mp_obj_new_list(0, NULL);
    for (unsigned i = 0; i < netglue_count(); i++) {
        mp_obj_list_append(list, mod_network_lan(i));
    }
    return list;
}
static MP_DEFINE_CONST_FUN_OBJ_0(network_route_obj, network_route);

// For frozen/boot.py: start the stack and apply the boot arguments. Does not wait for a lease.
static mp_obj_t network_boot(void) {
    netstack_start();
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_0(network_boot_obj, network_boot);

// For tests and status pages: (bytes the stack may use, bytes it uses, TCP connections allowed, and in use).
static mp_obj_t network_memory(void) {
    netmem_limits_t l;
    netmem_get_limits(&l);
    mp_obj_t items[4] = {mp_obj_new_int_from_uint(l.budget), mp_obj_new_int_from_uint(l.used),
                         mp_obj_new_int_from_uint(l.pcb_max), mp_obj_new_int_from_uint(l.pcbs)};
    return mp_obj_new_tuple(4, items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(network_memory_obj, network_memory);

static const mp_rom_map_elem_t network_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_network)},
    {MP_ROM_QSTR(MP_QSTR__boot), MP_ROM_PTR(&network_boot_obj)},
    {MP_ROM_QSTR(MP_QSTR__memory), MP_ROM_PTR(&network_memory_obj)},
    {MP_ROM_QSTR(MP_QSTR_LAN), MP_ROM_PTR(&mod_network_lan_type)},
    {MP_ROM_QSTR(MP_QSTR_hostname), MP_ROM_PTR(&network_hostname_obj)},
    {MP_ROM_QSTR(MP_QSTR_ipconfig), MP_ROM_PTR(&network_ipconfig_obj)},
    {MP_ROM_QSTR(MP_QSTR_route), MP_ROM_PTR(&network_route_obj)},
};
static MP_DEFINE_CONST_DICT(network_globals, network_globals_table);

const mp_obj_module_t mod_network_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&network_globals,
};

MP_REGISTER_MODULE(MP_QSTR_network, mod_network_module);
