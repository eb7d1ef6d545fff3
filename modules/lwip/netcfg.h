// SPDX-License-Identifier: MIT
// Addresses of the interfaces, from the kernel command line or by DHCP and router advertisements. Owns
// nothing. Not here: the Python names (mod_network.c). Context: main loop.

#ifndef FLOE_NETCFG_H
#define FLOE_NETCFG_H

#include <stdbool.h>
#include <stddef.h>

#include "lwip/ip_addr.h"
#include "lwip/netif.h"

enum { NETCFG_HOSTNAME_MAX = 32 };

// Apply ip=, ip6= and hostname= to every interface in order. Called by netstack_start().
void netcfg_init(void);

// "10.0.0.2/24" -> address and prefix length; *bits is left alone without a slash. False: not an address.
bool netcfg_parse(const char *s, size_t len, ip_addr_t *addr, unsigned *bits);
// Give up DHCP and set a fixed IPv4 address; any address clears it.
void netcfg_set_ip4(struct netif *n, const ip4_addr_t *addr, const ip4_addr_t *mask, const ip4_addr_t *gw);
// Replace the fixed IPv6 addresses by this one; NULL clears them. False: no room.
bool netcfg_set_ip6(struct netif *n, const ip6_addr_t *addr);
// IPv6 of an interface as a whole: while it is off nothing is sent, nothing taken, and there is no address.
void netcfg_ip6_on(struct netif *n, bool on);
bool netcfg_ip6_is_off(const struct netif *n);
// Whether routers are believed. Not any more: addresses, routers and name servers that they brought are forgotten.
void netcfg_set_autoconf6(struct netif *n, bool on);
bool netcfg_start_dhcp(struct netif *n);
void netcfg_stop_dhcp(struct netif *n);
void netcfg_dhcp_tick(void); // lwIP's dhcp_fine_tmr(), and a word on the console where nobody answers
bool netcfg_dhcp_on(const struct netif *n);
ip4_addr_t netcfg_mask(unsigned bits);

const char *netcfg_hostname(void);
void netcfg_set_hostname(const char *name, size_t len); // at most NETCFG_HOSTNAME_MAX bytes

// Whether an interface can reach others: has an address that is not link-local.
bool netcfg_is_up(const struct netif *n);
// Whether an IPv6 address that is not link-local is in use.
bool netcfg_has_ip6(void);
// Whether it is worth waiting for a first address of this kind: no interface has one, but one with a carrier is
// asking for a lease, or, in the first seconds, for a router.
bool netcfg_pending(bool v6);

#endif
