// SPDX-License-Identifier: MIT
// Addresses of the interfaces. Each ip= word of the kernel command line is for one interface, in order:
//   ip=dhcp   ip=none   ip=10.0.0.2/24,gw=10.0.0.1,dns=10.0.0.1   (also dns2=, and ip6=2001:db8::2/64)
//   ip6=auto   ip6=none   ip6=2001:db8::2/64
// An interface without a word asks for a lease; IPv6 is autoconfigured unless ip=none or ip6=none. Owns the host name.
// Not here: the Python names (mod_network.c). Context: main loop.

#include "netcfg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "lwip/dhcp.h"
#include "lwip/ethip6.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/prot/dhcp.h"
#include "netdns.h"
#include "netevent.h"
#include "netglue.h"

enum {
    WORD_MAX = 256,
    DHCP_TRIES = 3, // the third follows 6 s after the first: then it is said that nobody answers
};

#define ROUTER_WAIT_NS 5000000000ull // after boot; the link-local address alone takes a second

static char hostname[NETCFG_HOSTNAME_MAX + 1] = "floe";

static void say(const char *what, const char *word) {
    char line[WORD_MAX + 64];
    int n = snprintf(line, sizeof line, "net: %s: %s\n", what, word);
    hal_console_log(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

// lwIP's reader of IPv6 addresses stops at what is no part of one, and takes a colon too many and blocks of any length.
// A zone may follow.
static bool is_spelled(const char *text) {
    const char *p = text;
    size_t digits;
    while ((digits = strspn(p, "0123456789abcdefABCDEF")) <= 4 && (p[digits] == ':' || p[digits] == '.')) {
        p += digits + 1;
    }
    return digits <= 4 && (p[digits] == 0 || p[digits] == '%') && (text[0] != ':' || text[1] == ':') &&
           (digits > 0 || p[-2] == ':');
}

bool netcfg_parse(const char *s, size_t len, ip_addr_t *addr, unsigned *bits) {
    char text[IPADDR_STRLEN_MAX];
    const char *slash = memchr(s, '/', len);
    size_t n = slash != NULL ? (size_t)(slash - s) : len;
    if (n >= sizeof text) {
        return false;
    }
    memcpy(text, s, n);
    text[n] = 0;
    if (!ipaddr_aton(text, addr) || (IP_IS_V6(addr) && !is_spelled(text))) {
        return false;
    }
    if (slash != NULL) {
        unsigned v = 0, digits = 0;
        for (const char *p = slash + 1; p < s + len; p++, digits++) {
            if (*p < '0' || *p > '9' || digits == 3) {
                return false;
            }
            v = v * 10 + (unsigned)(*p - '0');
        }
        if (digits == 0 || v > (IP_IS_V6(addr) ? 128u : 32u)) {
            return false;
        }
        *bits = v;
    }
    return true;
}

ip4_addr_t netcfg_mask(unsigned bits) {
    ip4_addr_t mask;
    ip4_addr_set_u32(&mask, lwip_htonl(bits == 0 ? 0 : 0xffffffffu << (32 - bits)));
    return mask;
}

bool netcfg_dhcp_on(const struct netif *n) {
    const struct dhcp *d = netif_dhcp_data(n);
    return d != NULL && d->state != DHCP_STATE_OFF;
}

bool netcfg_start_dhcp(struct netif *n) { return dhcp_start(n) == ERR_OK; }

void netcfg_stop_dhcp(struct netif *n) {
    if (netif_dhcp_data(n) != NULL) {
        dhcp_release_and_stop(n);
    }
}

void netcfg_set_ip4(struct netif *n, const ip4_addr_t *addr, const ip4_addr_t *mask, const ip4_addr_t *gw) {
    if (netif_dhcp_data(n) != NULL) {
        dhcp_release_and_stop(n);
    }
    netif_set_addr(n, addr, mask, gw);
}

bool netcfg_set_ip6(struct netif *n, const ip6_addr_t *addr) {
    for (s8_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (!ip6_addr_isinvalid(netif_ip6_addr_state(n, i)) && netif_ip6_addr_isstatic(n, i)) {
            netif_ip6_addr_set_state(n, i, IP6_ADDR_INVALID);
        }
    }
    if (addr == NULL) {
        return true;
    }
    s8_t at;
    if (netif_add_ip6_address(n, addr, &at) != ERR_OK) {
        return false;
    }
    netif_ip6_addr_set_valid_life(n, at, IP6_ADDR_LIFE_STATIC);
    netif_ip6_addr_set_pref_life(n, at, IP6_ADDR_LIFE_STATIC);
    netif_ip6_addr_set_state(n, at, IP6_ADDR_PREFERRED);
    return true;
}

static err_t no_ip6_output(struct netif *n, struct pbuf *p, const ip6_addr_t *to) {
    (void)n;
    (void)p;
    (void)to;
    return ERR_RTE;
}

bool netcfg_ip6_is_off(const struct netif *n) { return n->output_ip6 == no_ip6_output; }

void netcfg_ip6_on(struct netif *n, bool on) {
    if (on != netcfg_ip6_is_off(n)) {
        return;
    }
    if (on) {
        n->output_ip6 = ethip6_output;
        netif_set_flags(n, NETIF_FLAG_MLD6);
        netif_create_ip6_linklocal_address(n, 1);
        return;
    }
    netif_set_ip6_autoconfig_enabled(n, 0);
    for (s8_t i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        netif_ip6_addr_set_state(n, i, IP6_ADDR_INVALID);
    }
    mld6_stop(n);
    netif_clear_flags(n, NETIF_FLAG_MLD6);
    n->output_ip6 = no_ip6_output;
}

void netcfg_set_autoconf6(struct netif *n, bool on) {
    if (on) {
        netcfg_ip6_on(n, true);
    }
    netif_set_ip6_autoconfig_enabled(n, on);
    if (!on) {
        nd6_cleanup_netif(n); // routers and prefixes that were believed before
        for (s8_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
            if (ip6_addr_isvalid(netif_ip6_addr_state(n, i)) && !netif_ip6_addr_isstatic(n, i)) {
                netif_ip6_addr_set_state(n, i, IP6_ADDR_INVALID);
            }
        }
        netdns_forget_routers();
    }
    struct netif *other;
    NETIF_FOREACH(other) { // whose routers are asked for what they told, too: name servers are of no card
        if (other->ip6_autoconfig_enabled) {
            nd6_restart_netif(other);
        }
    }
}

int netcfg_ip6_input(struct pbuf *p, struct netif *n) {
    if (!netcfg_ip6_is_off(n)) {
        return 0;
    }
    pbuf_free(p);
    return 1;
}

const char *netcfg_hostname(void) { return hostname; }

void netcfg_set_hostname(const char *name, size_t len) {
    hal_assert(len <= NETCFG_HOSTNAME_MAX);
    memcpy(hostname, name, len);
    hostname[len] = 0;
}

static bool has_ip6(const struct netif *n) {
    for (s8_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (ip6_addr_isvalid(netif_ip6_addr_state(n, i))) {
            return true;
        }
    }
    return false;
}

bool netcfg_is_up(const struct netif *n) {
    return netif_is_up(n) && netif_is_link_up(n) && (!ip4_addr_isany_val(*netif_ip4_addr(n)) || has_ip6(n));
}

bool netcfg_has_ip6(void) {
    for (unsigned i = 0; i < netglue_count(); i++) {
        const struct netif *n = &netglue_get(i)->netif;
        if (netif_is_up(n) && netif_is_link_up(n) && has_ip6(n)) {
            return true;
        }
    }
    return false;
}

bool netcfg_pending(bool v6) {
    bool pending = false;
    for (unsigned i = 0; i < netglue_count(); i++) {
        const struct netif *n = &netglue_get(i)->netif;
        if (!netif_is_up(n) || !netif_is_link_up(n)) {
            continue;
        }
        if (v6 ? has_ip6(n) : !ip4_addr_isany_val(*netif_ip4_addr(n))) {
            return false;
        }
        pending |= v6 ? n->ip6_autoconfig_enabled && hal_clock_ns() < ROUTER_WAIT_NS : netcfg_dhcp_on(n);
    }
    return pending;
}

// One comma-separated part of an ip= word. Collects into addr, mask, gw; the rest is applied at once.
typedef struct {
    ip4_addr_t addr, mask, gw;
} netcfg_static_t;

static bool apply_part(struct netif *n, netcfg_static_t *st, const char *part, size_t len) {
    static const char *const keys[] = {"gw=", "dns=", "dns2=", "ip6="};
    size_t key = 0;
    size_t skip = 0;
    for (; key < HAL_ARRAY_LEN(keys); key++) {
        size_t klen = strlen(keys[key]);
        if (len > klen && memcmp(part, keys[key], klen) == 0) {
            skip = klen;
            break;
        }
    }
    ip_addr_t a;
    unsigned bits = 24;
    if (!netcfg_parse(part + skip, len - skip, &a, &bits)) {
        return false;
    }
    switch (key) {
        case 0:
            st->gw = *ip_2_ip4(&a);
            return IP_IS_V4(&a);
        case 1:
        case 2:
            if (!netdns_add(&a)) { // of the interface all else is set
                say("no room for one more name server", part);
            }
            return true;
        case 3:
            return IP_IS_V6(&a) && netcfg_set_ip6(n, ip_2_ip6(&a));
        default:
            st->addr = *ip_2_ip4(&a);
            st->mask = netcfg_mask(bits);
            return IP_IS_V4(&a);
    }
}

static bool apply_static(struct netif *n, const char *word) {
    netcfg_static_t st;
    memset(&st, 0, sizeof st);
    for (const char *p = word;;) {
        size_t len = strcspn(p, ",");
        if (!apply_part(n, &st, p, len)) {
            return false;
        }
        if (p[len] == 0) {
            break;
        }
        p += len + 1;
    }
    netif_set_addr(n, &st.addr, &st.mask, &st.gw);
    return true;
}

static void say_card(const struct netif *n, const char *what, const char *word) {
    char line[96];
    unsigned card = 0;
    while (&netglue_get(card)->netif != n) {
        card++;
    }
    int len = snprintf(line, sizeof line, "net: card %u: %s%s\n", card, what, word);
    hal_console_log(line, (size_t)len);
}

static void netif_changed(struct netif *n) {
    netglue_t *g = n->state;
    if (g->dhcp_missed && dhcp_supplied_address(n)) {
        g->dhcp_missed = false;
        say_card(n, "DHCP has given ", ip4addr_ntoa(netif_ip4_addr(n)));
    }
    netdns_keep();
    netevent_raise();
}

void netcfg_dhcp_tick(void) {
    dhcp_fine_tmr();
    for (unsigned i = 0; i < netglue_count(); i++) {
        netglue_t *g = netglue_get(i);
        const struct dhcp *d = netif_dhcp_data(&g->netif);
        if (d != NULL && d->state == DHCP_STATE_SELECTING && d->tries >= DHCP_TRIES && !g->dhcp_missed) {
            g->dhcp_missed = true;
            say_card(&g->netif, "no answer from DHCP", "; it is asked again and again");
        }
    }
}

static void configure(struct netif *n, const char *word) {
    netif_set_hostname(n, hostname);
    netif_set_status_callback(n, netif_changed);
    if (strcmp(word, "none") == 0) {
        return;
    }
    netif_set_ip6_autoconfig_enabled(n, !netcfg_ip6_is_off(n));
    netif_set_up(n);
    if (strcmp(word, "dhcp") == 0) {
        if (!netcfg_start_dhcp(n)) {
            say("no memory for DHCP", word);
        }
    } else if (!apply_static(n, word)) {
        say("cannot read boot argument ip=", word);
    }
}

// An ip6= word: none, auto, or a fixed address.
static bool configure_ip6(struct netif *n, const char *word, int len) {
    ip_addr_t a;
    unsigned bits;
    if (strcmp(word, "none") == 0) {
        netcfg_ip6_on(n, false);
        return true;
    }
    return strcmp(word, "auto") == 0 || (len < WORD_MAX && netcfg_parse(word, (size_t)len, &a, &bits) && IP_IS_V6(&a) &&
                                         netcfg_set_ip6(n, ip_2_ip6(&a)));
}

void netcfg_init(void) {
    char word[WORD_MAX];
    size_t pos = 0;
    int n = hal_cmdline_next("hostname", &pos, word, sizeof word);
    if (n > 0 && n <= NETCFG_HOSTNAME_MAX) {
        netcfg_set_hostname(word, (size_t)n);
    }
    size_t ip_pos = 0;
    size_t ip6_pos = 0;
    for (unsigned i = 0; i < netglue_count(); i++) {
        struct netif *nif = &netglue_get(i)->netif;
        n = hal_cmdline_next("ip6", &ip6_pos, word,
                             sizeof word); // first: nothing of IPv6 leaves a card that shall have none
        if (n > 0 && !configure_ip6(nif, word, n)) {
            say("cannot read boot argument ip6=", word);
        }
        n = hal_cmdline_next("ip", &ip_pos, word, sizeof word);
        if (n < 0) {
            strcpy(word, "dhcp");
        } else if (n >= (int)sizeof word) {
            say("boot argument too long: ip=", word);
            continue;
        }
        configure(nif, word);
        if (i == 0) {
            netif_set_default(nif);
        }
    }
}
