// SPDX-License-Identifier: MIT
// What neighbours say about addresses, checked before lwIP believes it: neighbour discovery (RFC 4861, 6.1, 7.1, 8.1;
// RFC 4862, 5.4; RFC 6980), multicast listener discovery (RFC 2710, 5) and conflicts seen in ARP (RFC 5227, 2.4).
// An address in use stays in use whoever claims it; only a tentative one is given up, and an automatic one replaced.
// Owns nothing. Not here: the caches (lwIP's nd6.c, etharp.c). Context: inside lwIP, in the main loop.

#include "netneigh.h"

#include <stdio.h>
#include <string.h>

#include "hal.h"
#include "lwip/etharp.h"
#include "lwip/icmp6.h"
#include "lwip/ip.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/prot/etharp.h"
#include "lwip/prot/nd6.h"
#include "netglue.h"
#include "netrand.h"

enum {
    OPTION_LEN = 8,                   // of a link-layer address of Ethernet; every option's is a multiple of it
    DRAWS_MAX = 3,                    // of a new interface identifier (RFC 7217, section 6: IDGEN_RETRIES)
    TOLD_4 = LWIP_IPV6_NUM_ADDRESSES, // netglue_t.told: slot of the IPv4 address
};

// One line on the console for an address, however often it is claimed.
static void tell(struct netif *n, unsigned slot, const ip_addr_t *address, const uint8_t *mac, const char *then) {
    netglue_t *g = n->state;
    uint32_t word = IP_IS_V6(address) ? ip_2_ip6(address)->addr[3] : ip4_addr_get_u32(ip_2_ip4(address));
    if (g->told[slot] == word) {
        return;
    }
    g->told[slot] = word;
    char line[160], who[24] = "another machine";
    if (mac != NULL) {
        snprintf(who, sizeof who, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    }
    char *text = ipaddr_ntoa(address);
    for (char *p = text; *p != 0; p++) {
        *p |= 0x20; // hexadecimal digits in lower case, the rest as it is
    }
    int len = snprintf(line, sizeof line, "net: address %s is in use by %s too; %s\n", text, who, then);
    hal_console_log(line, (size_t)len);
}

// A tentative address turns out to be another's. Automatic ones get another interface identifier; of the link-local
// one all that were made from it, unless they are in use.
static void give_up(struct netif *n, s8_t slot, const uint8_t *mac) {
    netglue_t *g = n->state;
    bool draw = (slot == 0 || !netif_ip6_addr_isstatic(n, slot)) && g->draws < DRAWS_MAX;
    tell(n, (unsigned)slot, netif_ip_addr6(n, slot), mac, draw ? "another is drawn" : "it is not used");
    g->draws += draw;
    uint32_t id[2] = {netrand_u32(), netrand_u32()};
    for (s8_t i = slot; i < (slot == 0 ? LWIP_IPV6_NUM_ADDRESSES : slot + 1); i++) {
        if (i != slot && (!ip6_addr_istentative(netif_ip6_addr_state(n, i)) || netif_ip6_addr_isstatic(n, i))) {
            continue;
        }
        netif_ip6_addr_set_state(n, i, IP6_ADDR_DUPLICATED);
        if (draw) {
            const ip6_addr_t *old = netif_ip6_addr(n, i);
            netif_ip6_addr_set_parts(n, i, old->addr[0], old->addr[1], id[0], id[1]);
            netif_ip6_addr_set_state(n, i, IP6_ADDR_TENTATIVE);
        }
    }
}

// Options fill the message and none is empty. Those of link-layer addresses: found in *own, or NULL.
static bool options_fit(struct pbuf *p, unsigned at, uint8_t own_type, uint8_t **own) {
    uint8_t *m = p->payload;
    *own = NULL;
    while (at < p->len) {
        unsigned left = p->len - at, size = left >= 2 ? m[at + 1] * (unsigned)OPTION_LEN : 0;
        if (size == 0 || size > left) {
            return false;
        }
        if (m[at] == own_type && *own == NULL) {
            *own = m + at;
        }
        at += size;
    }
    return true;
}

// lwIP takes the first option for the link-layer address, whatever it is: leave that one, or none.
static void keep_option(struct pbuf *p, unsigned at, const uint8_t *own) {
    if (own != NULL) {
        memmove((uint8_t *)p->payload + at, own, OPTION_LEN);
        at += OPTION_LEN;
    }
    pbuf_realloc(p, (u16_t)at);
}

// A solicitation or an advertisement of a neighbour. False: nothing that lwIP shall see.
static bool neighbour_ok(struct pbuf *p, struct netif *n, bool solicitation) {
    _Static_assert(sizeof(struct na_header) == sizeof(struct ns_header), "one layout");
    const struct na_header *h = p->payload;
    uint8_t *own;
    bool to_many = ip6_addr_ismulticast(ip6_current_dest_addr());
    bool from_nobody =
        ip6_addr_isany(ip6_current_src_addr()); // to a solicited-node address: ip6_input() has seen to it
    ip6_addr_t target;
    if (p->len < sizeof *h ||
        !options_fit(p, sizeof *h, solicitation ? ND6_OPTION_TYPE_SOURCE_LLADDR : ND6_OPTION_TYPE_TARGET_LLADDR,
                     &own) ||
        (solicitation ? from_nobody && own != NULL : to_many && (h->flags & ND6_FLAG_SOLICITED) != 0)) {
        return false;
    }
    ip6_addr_copy_from_packed(target, h->target_address);
    ip6_addr_assign_zone(&target, IP6_UNICAST, n);
    s8_t slot = netif_get_ip6_addr_match(n, &target);
    if (slot >= 0 && (!solicitation || from_nobody)) {
        const uint8_t *mac = own == NULL ? NULL : own + 2;
        uint8_t state = netif_ip6_addr_state(n, slot);
        if (ip6_addr_istentative(state)) {
            give_up(n, slot, mac);
            return false;
        }
        if (!solicitation) { // for an address of ours there is nothing to learn from it
            if (ip6_addr_isvalid(state)) {
                tell(n, (unsigned)slot, netif_ip_addr6(n, slot), mac, "it stays in use here");
            }
            return false;
        }
    }
    keep_option(p, sizeof *h, own);
    return true;
}

static bool icmp6_ok(struct pbuf *p, struct netif *n) {
    const struct icmp6_hdr *h = p->payload;
    const struct ip6_hdr *ip = ip6_current_header();
    uint8_t *own;
    bool local = ip6_addr_islinklocal(ip6_current_src_addr());
    if (h->type == ICMP6_TYPE_MLQ || h->type == ICMP6_TYPE_MLR || h->type == ICMP6_TYPE_MLD) {
        return IP6H_HOPLIM(ip) == 1 && (local || (h->type != ICMP6_TYPE_MLQ && ip6_addr_isany(ip6_current_src_addr())));
    }
    if ((n->flags & NETIF_FLAG_ETHERNET) == 0 || IP6H_HOPLIM(ip) != ND6_HOPLIM || IP6H_NEXTH(ip) != IP6_NEXTH_ICMP6 ||
        h->code != 0) {
        return false;
    }
    if (h->type == ICMP6_TYPE_RA) {
        return n->ip6_autoconfig_enabled && local && p->next == NULL && p->len >= sizeof(struct ra_header) &&
               options_fit(p, sizeof(struct ra_header), 0, &own);
    }
    return p->next == NULL && neighbour_ok(p, n, h->type == ICMP6_TYPE_NS);
}

void netneigh_icmp6(struct pbuf *p, struct netif *n) {
    uint8_t type = *(const uint8_t *)p->payload;
    if (type == ICMP6_TYPE_PTB) {
        nd6_input(p, n);
    } else if (type == ICMP6_TYPE_RD || !icmp6_ok(p, n)) { // who is no router of ours is not told from one that is
        pbuf_free(p);
    } else if (type == ICMP6_TYPE_RA || type == ICMP6_TYPE_NS || type == ICMP6_TYPE_NA) {
        nd6_input(p, n);
    } else {
        mld6_input(p, n);
    }
}

void netneigh_arp(struct pbuf *p, struct netif *n) {
    const struct etharp_hdr *h = p->payload;
    ip_addr_t sender;
    if (p->len >= sizeof *h) {
        IPADDR_WORDALIGNED_COPY_TO_IP4_ADDR_T(ip_2_ip4(&sender), &h->sipaddr);
        IP_SET_TYPE_VAL(sender, IPADDR_TYPE_V4);
        if (ip4_addr_eq(ip_2_ip4(&sender), netif_ip4_addr(n)) && !ip4_addr_isany_val(*netif_ip4_addr(n)) &&
            memcmp(h->shwaddr.addr, n->hwaddr, ETH_HWADDR_LEN) != 0) {
            tell(n, TOLD_4, &sender, h->shwaddr.addr, "it stays in use here");
        }
    }
    etharp_input(p, n);
}
