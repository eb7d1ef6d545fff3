// SPDX-License-Identifier: MIT
// Which name servers are asked, and in which order. Owns nothing. Context: main loop.

#ifndef FLOE_NETDNS_H
#define FLOE_NETDNS_H

#include <stdbool.h>

#include "lwip/ip_addr.h"

// One more server, behind those that were added before. False: there are DNS_MAX_SERVERS.
bool netdns_add(const ip_addr_t *server);
// What a script sets: the first server; any address: no fixed one.
void netdns_set(const ip_addr_t *server);
// Of what router advertisements brought, on whatever card, nothing is left.
void netdns_forget_routers(void);
// Leases and router advertisements write over the list: put the fixed servers first again. Every second.
void netdns_keep(void);

#endif
