// SPDX-License-Identifier: MIT
// Addresses and names between Python and the stack. Owns nothing. Context: main loop; may raise.

#ifndef FLOE_MOD_NETADDR_H
#define FLOE_MOD_NETADDR_H

#include "py/obj.h"
#include "sock.h"

// (host, port) or (host, port, flowinfo, scopeid), host a literal address or "" for any.
sock_addr_t mod_netaddr_from_obj(mp_obj_t addr, int family);
// (host, port), or (host, port, 0, scopeid) for IPv6.
mp_obj_t mod_netaddr_to_obj(const sock_addr_t *a);
mp_obj_t mod_netaddr_ip_to_obj(const ip_addr_t *ip);
// A literal address; raises ValueError for anything else.
ip_addr_t mod_netaddr_ip_from_obj(mp_obj_t text);
void mod_netaddr_from_bytes(ip_addr_t *out, const uint8_t *bytes, bool v6);
// Before an address beyond this machine can be reached (NULL: any), wait for the first lease or router, at most
// until deadline.
void mod_netaddr_wait_network(const ip_addr_t *to, uint64_t deadline);

// Which kind of address comes first: network.ipconfig(prefer=).
extern int mod_netaddr_prefer;

MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(mod_netaddr_getaddrinfo_obj);
MP_DECLARE_CONST_FUN_OBJ_2(mod_netaddr_inet_ntop_obj);
MP_DECLARE_CONST_FUN_OBJ_2(mod_netaddr_inet_pton_obj);

#endif
