// SPDX-License-Identifier: MIT
// What neighbours say about addresses, checked before lwIP believes it. Owns nothing. Context: inside lwIP, in the
// main loop.

#ifndef FLOE_NETNEIGH_H
#define FLOE_NETNEIGH_H

#include "lwip/netif.h"

struct pbuf;

// What upstream's icmp6.c calls for nd6_input() and mld6_input(), and ethernet.c for etharp_input() (lwip.mk). Take p.
void netneigh_icmp6(struct pbuf *p, struct netif *n);
void netneigh_arp(struct pbuf *p, struct netif *n);

#endif
