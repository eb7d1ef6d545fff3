// SPDX-License-Identifier: MIT
// The list of name servers: first what the command line and scripts fix, in the order of the cards, then what leases
// and router advertisements (RFC 8106) bring. Owns the fixed ones. Not here: the list that is used (lwIP's dns.c),
// queries (sock_dns.c). Context: main loop.

#include "netdns.h"

#include "lwip/dns.h"

static ip_addr_t fixed[DNS_MAX_SERVERS];
static u8_t fixed_count;

bool netdns_add(const ip_addr_t *server) {
    if (fixed_count == DNS_MAX_SERVERS) {
        return false;
    }
    fixed[fixed_count++] = *server;
    netdns_keep();
    return true;
}

void netdns_set(const ip_addr_t *server) {
    dns_setserver(0, server);
    if (ip_addr_isany(server)) {
        fixed_count = 0;
        return;
    }
    fixed[0] = *server;
    fixed_count = fixed_count == 0 ? 1 : fixed_count;
    netdns_keep();
}

void netdns_keep(void) {
    if (fixed_count == 0) {
        return;
    }
    ip_addr_t list[2 * DNS_MAX_SERVERS];
    u8_t n = 0;
    for (u8_t i = 0; i < fixed_count + DNS_MAX_SERVERS; i++) {
        ip_addr_t a = i < fixed_count ? fixed[i] : *dns_getserver((u8_t)(i - fixed_count));
        bool known = ip_addr_isany(&a);
        for (u8_t j = 0; j < n; j++) {
            known |= ip_addr_eq(&list[j], &a);
        }
        if (!known) {
            list[n++] = a;
        }
    }
    for (u8_t i = 0; i < DNS_MAX_SERVERS; i++) {
        dns_setserver(i, i < n ? &list[i] : NULL);
    }
}

void netdns_forget_routers(void) {
    for (u8_t i = 0; i < DNS_MAX_SERVERS; i++) {
        if (IP_IS_V6_VAL(*dns_getserver(i))) { // leases bring IPv4 only
            dns_setserver(i, NULL);
        }
    }
    netdns_keep();
}
