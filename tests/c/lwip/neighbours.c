// SPDX-License-Identifier: MIT
// checks.c's "claimed", "redirected", "duplicate", "malformed": what neighbours may say about addresses, and what they
// may not. Owns the peer's state. Not here: the machine (rig.c). Context: one thread on the host.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "lwip/dns.h"
#include "lwip/netif.h"
#include "netcfg.h"
#include "netdns.h"
#include "rig.h"

#define CHECK(e) ((e) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #e), abort()))

enum { ETH = 14, IP = 40, ICMP = 58, RS = 133, RA = 134, NS = 135, NA = 136, REDIRECT = 137, PING = 128, PONG = 129 };
enum { MLD_QUERY = 130, MLD_REPORT = 131, SOLICITED = 0x40, OVERRIDE = 0x20 };

static const uint8_t us[16] = {0x20, 1, 0x0d, 0xb8, [15] = 2}, them[16] = {0x20, 1, 0x0d, 0xb8, [15] = 1},
                     all[16] = {0xff, 2, [15] = 1}, local[16] = {0xfe, 0x80, [15] = 0x99}, nobody[16],
                     own_local[16] = {0xfe, 0x80, [11] = 0xff, [12] = 0xfe, [15] = 2};
static const uint8_t evil[6] = {2, 0x66, 0x66, 0x66, 0x66, 0x66};

static uint8_t hop_limit = 255;
static unsigned pongs, reports, asked, advertised; // seen
static uint8_t pong_to[6];                         // hardware address of the last
static bool owned;                                 // somebody has every address that is asked for from nobody
static uint8_t tried[8][16];                       // the last addresses asked for so

static unsigned count(const char *text) {
    unsigned n = 0;
    for (const char *p = said; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }
    return n;
}

void send_icmp6(const uint8_t *from, const uint8_t *to, const uint8_t *body, uint32_t len) {
    uint8_t frame[600] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60};
    uint8_t *icmp = frame + ETH + IP;
    uint32_t sum = ICMP + len;
    for (unsigned i = 0; i < 16; i += 2) {
        sum += get16(from + i) + get16(to + i);
    }
    memcpy(icmp, body, len);
    put16(icmp + 2, 0);
    put16(icmp + 2, naive_sum(icmp, len, sum));
    put16(frame + ETH + 4, len);
    frame[ETH + 6] = ICMP;
    frame[ETH + 7] = hop_limit;
    memcpy(frame + ETH + 8, from, 16);
    memcpy(frame + ETH + 24, to, 16);
    rig_receive(frame, ETH + IP + len, false, 1);
}

// An advertisement (or a solicitation) for an address with one option.
static void send_about(uint8_t type, const uint8_t *from, const uint8_t *to, const uint8_t *target, uint8_t flags,
                       const uint8_t *option) {
    uint8_t m[32] = {type, 0, 0, 0, flags};
    memcpy(m + 8, target, 16);
    if (option != NULL) {
        memcpy(m + 24, option, 8);
    }
    send_icmp6(from, to, m, option != NULL ? 32 : 24);
}

static void ping(void) {
    static const uint8_t echo[8] = {PING};
    send_icmp6(them, us, echo, sizeof echo);
    rig_sleep_ms(1500);
}

static void sees(const sent_t *f) {
    static const uint8_t mac[8] = {2, 1, 2, 0, 0, 0, 0, 1};
    const uint8_t *ip = f->data + ETH, *icmp = ip + IP;
    if (get16(f->data + 12) != 0x86dd) {
        return;
    }
    icmp += ip[6] == 0 ? 8 : 0; // behind a router alert
    if (icmp[0] == NS && memcmp(ip + 8, nobody, 16) == 0) {
        memcpy(tried[asked++ % 8], icmp + 8, 16);
        if (owned) {
            send_about(NA, icmp + 8, all, icmp + 8, OVERRIDE, mac);
        }
    } else if (icmp[0] == NS && memcmp(icmp + 8, them, 16) == 0) {
        send_about(NA, them, ip + 8, them, SOLICITED | OVERRIDE, mac);
    }
    pongs += icmp[0] == PONG;
    reports += icmp[0] == MLD_REPORT;
    advertised += icmp[0] == NA;
    if (icmp[0] == PONG) {
        memcpy(pong_to, f->data, 6);
    }
}

static void start(void) {
    ip_addr_t own;
    on_sent = sees;
    said_expected = true;
    rig_start(32 << 20, 0);
    CHECK(ipaddr_aton("2001:db8::2", &own) && netcfg_set_ip6(netif_default, ip_2_ip6(&own)));
    rig_sleep_ms(3000);
    CHECK(ip6_addr_isvalid(netif_ip6_addr_state(netif_default, 0)));
    ping();
    CHECK(pongs == 1);
}

// Addresses in use: one line each on the console, and they stay in use.
void claimed(void) {
    uint8_t option[8] = {2, 1}, arp[64];
    memcpy(option + 2, evil, 6);
    start();
    for (unsigned i = 0; i < 3; i++) {
        send_about(NA, them, all, us, OVERRIDE, option);
        send_about(NA, own_local, all, own_local, OVERRIDE, NULL);
        send_about(NA, them, us, us, SOLICITED | OVERRIDE, option);
        rig_receive(arp, make_arp(arp, 1, OUR_IP), false, 1);
        ping();
        CHECK(pongs == i + 2 && ip6_addr_isvalid(netif_ip6_addr_state(netif_default, 0)));
    }
    CHECK(count("net: ") == 3);
    CHECK(count("net: address 2001:db8::2 is in use by 02:66:66:66:66:66 too; it stays in use here\n") == 1);
    CHECK(count("net: address fe80::ff:fe00:2 is in use by another machine too; it stays in use here\n") == 1);
    CHECK(count("net: address 10.0.0.2 is in use by 02:00:00:00:00:01 too; it stays in use here\n") == 1);
    send_about(NS, nobody, (const uint8_t[16]){0xff, 2, [11] = 1, 0xff, [15] = 2}, us, 0, NULL);
    unsigned before = advertised;
    rig_sleep_ms(100);
    CHECK(advertised == before + 1); // whoever wants one of ours is told
}

void redirected(void) {
    uint8_t m[48] = {REDIRECT};
    start();
    memcpy(m + 8, local, 16);
    memcpy(m + 24, them, 16);
    memcpy(m + 40, "\2\1\2\x66\x66\x66\x66\x66", 8);
    send_icmp6(local, us, m, sizeof m);
    ping();
    CHECK(pongs == 2 && memcmp(pong_to, evil, 6) != 0);
}

// A tentative address that another has: the next is drawn, three times; the one after that is not used.
static void drawn(bool forever) {
    uint8_t ra[16 + 32] = {RA, 0, 0, 0, 64, 0, 2, 0, [16] = 3, 4, 64, 0xc0, 0, 0, 2, 0, 0, 0, 2, 0};
    memcpy(ra + 32, them, 8);
    on_sent = sees;
    said_expected = true;
    owned = true;
    rig_start(32 << 20, 0);
    send_icmp6(local, all, ra, sizeof ra);
    rig_sleep_ms(1100);
    CHECK(asked > 0 && memcmp(tried[0], own_local, 16) == 0 && count("; another is drawn\n") > 0);
    owned = forever;
    rig_sleep_ms(12000);
    bool valid = ip6_addr_isvalid(netif_ip6_addr_state(netif_default, 0));
    CHECK(valid != forever && count("; it is not used\n") == (forever ? 1 : 0));
    if (!forever) {
        CHECK(memcmp(netif_ip6_addr(netif_default, 0), own_local, 16) != 0);
        CHECK(ip6_addr_isvalid(netif_ip6_addr_state(netif_default, 1)));
        CHECK(memcmp(netif_ip6_addr(netif_default, 1), them, 8) == 0);
        CHECK(memcmp((const uint8_t *)netif_ip6_addr(netif_default, 1) + 8, own_local + 8, 8) != 0);
    }
}

void duplicate(void) { drawn(false); }
void duplicates(void) { drawn(true); }

// Once routers are not believed any more, nor are the name servers that they told; those that are fixed stay.
void disbelieved(void) {
    uint8_t ra[16 + 24] = {RA, 0, 0, 0, 64, 0, 2, 0, [16] = 25, 3, 0, 0, 0, 0, 2, 0};
    ip_addr_t fixed;
    memcpy(ra + 24, them, 16);
    start();
    CHECK(netcfg_parse("2001:db8::7", strlen("2001:db8::7"), &fixed, NULL) && netdns_add(&fixed));
    send_icmp6(local, all, ra, sizeof ra);
    rig_sleep_ms(1100);
    CHECK(ip_addr_eq(dns_getserver(1), &fixed) && memcmp(ip_2_ip6(dns_getserver(2)), them, 16) == 0);
    netcfg_set_autoconf6(netif_default, false);
    send_icmp6(local, all, ra, sizeof ra);
    rig_sleep_ms(1100);
    CHECK(ip_addr_eq(dns_getserver(1), &fixed) && ip_addr_isany(dns_getserver(2))); // the first is ip='s
    netcfg_set_autoconf6(netif_default, true);
    send_icmp6(local, all, ra, sizeof ra);
    rig_sleep_ms(1100);
    CHECK(ip_addr_eq(dns_getserver(1), &fixed) && memcmp(ip_2_ip6(dns_getserver(2)), them, 16) == 0);
}

// What MUST be ignored is ignored: each of these would make the stack answer to, or ask, a wrong machine.
void malformed(void) {
    static const uint8_t nonce[8] = {14, 1, 2, 0x66, 0x66, 0x66, 0x66, 0x66};
    static const uint8_t empty[8] = {2, 0, 2, 0x66, 0x66, 0x66, 0x66, 0x66}, large[8] = {2, 2, 2, 0x66, 0x66, 0x66};
    static const uint8_t good[8] = {2, 1, 2, 0x66, 0x66, 0x66, 0x66, 0x66};
    uint8_t query[24] = {MLD_QUERY}, two[40] = {NA, 0, 0, 0, OVERRIDE};
    start();
    send_about(NA, them, all, them, OVERRIDE, nonce);
    send_about(NA, them, all, them, OVERRIDE, empty);
    send_about(NA, them, all, them, OVERRIDE, large);
    send_about(NA, them, all, them, SOLICITED | OVERRIDE, good);
    hop_limit = 254;
    send_about(NA, them, all, them, OVERRIDE, good);
    ping();
    CHECK(pongs == 2 && memcmp(pong_to, evil, 6) != 0);
    rig_sleep_ms(2000);
    reports = 0;
    send_icmp6(them, all, query, sizeof query);
    send_icmp6(local, all, query, sizeof query);
    rig_sleep_ms(500);
    CHECK(reports == 0);
    hop_limit = 1;
    send_icmp6(local, all, query, sizeof query);
    rig_sleep_ms(500);
    CHECK(reports > 0);
    hop_limit = 255;
    memcpy(two + 8, them, 16);
    memcpy(two + 24, nonce, 8);
    memcpy(two + 32, "\2\1\2\x77\x77\x77\x77\x77", 8);
    send_icmp6(them, all, two, sizeof two); // an option that is not known is no reason to ignore the one that is
    ping();
    CHECK(pongs == 3 && pong_to[1] == 0x77);
}
