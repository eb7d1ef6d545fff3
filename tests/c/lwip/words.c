// SPDX-License-Identifier: MIT
// Checks: what an address may look like, and what the words ip= and ip6= of the command line make of the card.
// Not here: the machine (rig.c). Context: one thread on the host.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lwip/dns.h"
#include "modules/packet/packetvlan.h"
#include "netcfg.h"
#include "netglue.h"
#include "peer.h"
#include "rig.h"

enum { NO_BITS = 77, VLAN = 7 };

static const struct {
    const char *text;
    unsigned bits;
} addresses[] = {{"10.0.0.2", NO_BITS},
                 {"10.0.0.2/0", 0},
                 {"10.0.0.2/9", 9},
                 {"10.0.0.2/19", 19},
                 {"10.0.0.2/32", 32},
                 {"10.0.0.2/024", 24},
                 {"2001:db8::1", NO_BITS},
                 {"2001:db8::1/64", 64},
                 {"2001:db8::1/128", 128},
                 {"::", NO_BITS},
                 {"::1", NO_BITS},
                 {"2001:DB8::", NO_BITS},
                 {"1:2:3:4:5:6:7:8", NO_BITS},
                 {"::ffff:10.0.0.2", NO_BITS},
                 {"fe80::1%e00", NO_BITS}};

static const char *const others[] = {"",
                                     "/24",
                                     "10.0.0.2/",
                                     "10.0.0.2/33",
                                     "10.0.0.2/0024",
                                     "10.0.0.2/a",
                                     "10.0.0.2/:",
                                     "10.0.0.2//",
                                     "10.0.0.2/2/",
                                     "10.0.0.2/ 4",
                                     "10.0.0.256",
                                     "floe.example",
                                     "2001:db8:g",
                                     "2001:db8::g",
                                     "2001:db8::1 ",
                                     "2001:db8::1g/64",
                                     "2001:db8::12345",
                                     "2001:db8::1:",
                                     "2001:db8::1::",
                                     "1::2::3",
                                     "1:2:3:4:5:6:7::8:9",
                                     ":1:2:3:4:5:6:7",
                                     "1:2:3:4:5:6:7:",
                                     ":",
                                     ":::",
                                     "::ffff:10.0.0.2x",
                                     "fe80::g%e00",
                                     "2001:db8::1/129",
                                     "10.0.0.2/2-",
                                     "2001:db8:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001/64"};

void words(void) {
    ip_addr_t a;
    for (unsigned i = 0; i < HAL_ARRAY_LEN(addresses); i++) {
        unsigned bits = NO_BITS;
        CHECK(netcfg_parse(addresses[i].text, strlen(addresses[i].text), &a, &bits));
        CHECK(bits == addresses[i].bits);
        CHECK((strchr(addresses[i].text, ':') != NULL) == (IP_IS_V6(&a) != 0));
    }
    for (unsigned i = 0; i < HAL_ARRAY_LEN(others); i++) {
        unsigned bits = NO_BITS;
        CHECK(!netcfg_parse(others[i], strlen(others[i]), &a, &bits));
        CHECK(bits == NO_BITS);
    }
    unsigned bits = NO_BITS;
    CHECK(netcfg_parse("10.0.0.2/255", strlen("10.0.0.2/25"), &a, &bits) && bits == 25); // no byte behind the text
    CHECK(lwip_ntohl(ip_2_ip4(&a)->addr) == OUR_IP);
    static const uint32_t masks[] = {[0] = 0, [1] = 0x80000000, [24] = 0xffffff00, [32] = 0xffffffff};
    CHECK(lwip_ntohl(netcfg_mask(0).addr) == masks[0] && lwip_ntohl(netcfg_mask(1).addr) == masks[1]);
    CHECK(lwip_ntohl(netcfg_mask(24).addr) == masks[24] && lwip_ntohl(netcfg_mask(32).addr) == masks[32]);
}

static struct netif *begin(const char *ip, const char *ip6) {
    boot_ip = ip;
    boot_ip6 = ip6;
    said_expected = true;
    rig_start(RAM, 0);
    struct netif *n = &netglue_get(0)->netif;
    CHECK(netif_default == n);
    return n;
}

static bool has_fixed6(const struct netif *n, const char *text) {
    ip_addr_t a;
    CHECK(ipaddr_aton(text, &a));
    s8_t at = netif_get_ip6_addr_match((struct netif *)n, ip_2_ip6(&a));
    return at > 0 && netif_ip6_addr_state(n, at) == IP6_ADDR_PREFERRED && netif_ip6_addr_isstatic(n, at);
}

#define LABEL_63 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-abcdefghi"

void boot_words(void) {
    const struct netif *n =
        begin("10.0.0.2/28,gw=10.0.0.1,dns=10.0.0.3,dns2=10.0.0.4,ip6=2001:db8::9/64", "2001:db8::5/64");
    CHECK(said[0] == 0);
    // Neither addresses nor names: nobody is asked.
    static const char *const no_names[] = {"2001:db8::g", "",    ".",          ".a",
                                           "a..b",        "a..", LABEL_63 "a", "a." LABEL_63 "a.b"};
    for (unsigned i = 0; i < LWIP_ARRAYSIZE(no_names); i++) {
        sock_query_t *q = sock_query_start(no_names[i], 0);
        CHECK(q != NULL && sock_query_done(q) && q->v4 == -ENOENT && q->v6 == -ENOENT);
        sock_query_release(q);
    }
    static const char *const names[] = {"a", "a.", "a_b.c", "a." LABEL_63 ".", LABEL_63};
    for (unsigned i = 0; i < LWIP_ARRAYSIZE(names); i++) {
        sock_query_t *q = sock_query_start(names[i], SOCK_AF_INET);
        CHECK(q != NULL && !sock_query_done(q));
        sock_query_release(q);
    }
    CHECK(lwip_ntohl(netif_ip4_addr(n)->addr) == OUR_IP && lwip_ntohl(netif_ip4_gw(n)->addr) == PEER_IP);
    CHECK(lwip_ntohl(netif_ip4_netmask(n)->addr) == 0xfffffff0);
    CHECK(lwip_ntohl(ip_2_ip4(dns_getserver(0))->addr) == OUR_IP + 1);
    CHECK(lwip_ntohl(ip_2_ip4(dns_getserver(1))->addr) == OUR_IP + 2);
    CHECK(has_fixed6(n, "2001:db8::9") && !has_fixed6(n, "2001:db8::5")); // one takes the other's place
    CHECK(netcfg_is_up(n) && netcfg_has_ip6() && !netcfg_pending(false) && !netcfg_pending(true));
    const char *name = netif_get_hostname(n);
    CHECK(!netcfg_dhcp_on(n) && name != NULL && strcmp(name, netcfg_hostname()) == 0);
}

void boot_words_wrong(void) {
    const struct netif *n = begin("10.0.0.2/24,gw=2001:db8::1", "10.0.0.9");
    CHECK(strcmp(said, "net: cannot read boot argument ip6=: 10.0.0.9\n"
                       "net: cannot read boot argument ip=: 10.0.0.2/24,gw=2001:db8::1\n") == 0);
    CHECK(netif_ip4_addr(n)->addr == 0 && netif_is_up(n) && !netcfg_is_up(n) && !netcfg_has_ip6());
    CHECK(!netcfg_dhcp_on(n) && !netcfg_pending(false));
}

// The card is as if the rest had not been said either.
void boot_words_odd(void) {
    const struct netif *n = begin("10.0.0.2/24,gw=10.0.0.x", NULL);
    CHECK(strcmp(said, "net: cannot read boot argument ip=: 10.0.0.2/24,gw=10.0.0.x\n") == 0);
    CHECK(netif_ip4_addr(n)->addr == 0 && netif_is_up(n) && !netcfg_is_up(n));
}

void boot_words_none(void) {
    const struct netif *n = begin("none", "none");
    rig_sleep_ms(2000);
    CHECK(said[0] == 0);
    CHECK(!netif_is_up(n) && !netcfg_is_up(n) && !netcfg_has_ip6() && netcfg_ip6_is_off(n));
    CHECK(!netcfg_dhcp_on(n) && !netcfg_pending(false) && !netcfg_pending(true));
}

void boot_words_dhcp(void) {
    struct netif *n = begin("dhcp", "auto");
    CHECK(said[0] == 0);
    CHECK(netcfg_dhcp_on(n) && netcfg_pending(false) && netcfg_pending(true) && !netcfg_is_up(n));
    CHECK(!netcfg_ip6_is_off(n));
    rig_sleep_ms(4000);
    CHECK(said[0] == 0);
    rig_sleep_ms(26000); // and said once
    CHECK(strcmp(said, "net: card 0: no answer from DHCP; it is asked again and again\n") == 0);
    CHECK(netcfg_pending(false) && !netcfg_pending(true)); // no router is waited for any more
    ip4_addr_t own = {lwip_htonl(OUR_IP)}, mask = netcfg_mask(24), gw = {lwip_htonl(PEER_IP)};
    netcfg_set_ip4(n, &own, &mask, &gw);
    CHECK(!netcfg_dhcp_on(n) && netcfg_is_up(n) && !netcfg_pending(false));
    CHECK(netcfg_start_dhcp(n) && netcfg_dhcp_on(n));
    netcfg_stop_dhcp(n);
    CHECK(!netcfg_dhcp_on(n) && !netcfg_pending(false));
}

// Nobody waits for a lease where another card has an address.
void pending(void) {
    begin("dhcp", "none");
    CHECK(netcfg_pending(false) && packet_vlan_add(0, VLAN) == 1);
    struct netif *n = &netglue_get(1)->netif;
    netif_set_up(n);
    CHECK(netcfg_pending(false));
    ip4_addr_t own = {lwip_htonl(OUR_IP)}, mask = netcfg_mask(24), gw = {0};
    netcfg_set_ip4(n, &own, &mask, &gw);
    CHECK(netcfg_is_up(n) && !netcfg_pending(false));
    netif_set_link_down(n);
    CHECK(netcfg_pending(false));
}
