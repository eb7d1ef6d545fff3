// SPDX-License-Identifier: MIT
// A copy of a running VM is another machine on the network: what belongs to the one that it was copied from ends here
// without a packet, and cards get addresses of their own. A connection within this machine goes on: both its ends are
// here. Owns nothing. Not here: keys (netrand.c, netsyn.c). Context: main loop, between two runs of the stack.

#include "netcopied.h"

#include <string.h>

#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"
#include "netcfg.h"
#include "netevent.h"
#include "netglue.h"
#include "sock.h"

enum { RX_MAX = 4096 }; // frames of one card: more come only from a card that makes them up

// ---- connections ----------------------------------------------------------------------------------

// What has come is the other machine's to answer.
static void forget_received(sock_t *s) {
    struct pbuf *p;
    while ((p = s->rx_head) != NULL) {
        s->rx_head = p->next;
        p->next = NULL;
        pbuf_free(p);
    }
    s->rx_offset = 0;
}

static void end_connection(struct tcp_pcb *pcb) {
    tcp_err_fn tell = pcb->errf;
    void *socket = pcb->callback_arg;
    err_t why = pcb->state == SYN_SENT ? ERR_CONN : ERR_RST;
    tcp_err(pcb, NULL);
    tcp_abandon(pcb, 0);
    if (tell != NULL) {
        forget_received(socket);
        tell(socket, why);
    }
}

static void end_connections(struct tcp_pcb *pcb) {
    while (pcb != NULL) {
        struct tcp_pcb *next = pcb->next;
        if (!ip_addr_isloopback(&pcb->remote_ip)) {
            end_connection(pcb);
        }
        pcb = next;
    }
}

// A socket that listened at the card's old address does so at its new one, or at any while that is asked for.
static void move_listeners(const ip_addr_t *from, const ip_addr_t *to) {
    if (ip_addr_isany(from)) {
        return;
    }
    for (struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l != NULL; l = l->next) {
        if (ip_addr_eq(&l->local_ip, from)) {
            ip_addr_copy(l->local_ip, *to);
        }
    }
    for (struct udp_pcb *u = udp_pcbs; u != NULL; u = u->next) {
        if (ip_addr_eq(&u->local_ip, from)) {
            ip_addr_copy(u->local_ip, *to);
        }
    }
}

// ---- what routers have said -----------------------------------------------------------------------

// Of a card that goes down, lwIP forgets routers and prefixes with the neighbours. What they have said holds in a copy,
// too, or it had no route before they speak again.
typedef struct {
    bool prefix[LWIP_ND6_NUM_PREFIXES];
    struct {
        bool known;
        uint8_t flags;
        ip6_addr_t address;
    } router[LWIP_ND6_NUM_ROUTERS];
} routers_t;

static void remember_routers(const struct netif *n, routers_t *all) {
    for (unsigned i = 0; i < LWIP_ND6_NUM_PREFIXES; i++) {
        all->prefix[i] = prefix_list[i].netif == n;
    }
    for (unsigned i = 0; i < LWIP_ND6_NUM_ROUTERS; i++) {
        const struct nd6_router_list_entry *r = &default_router_list[i];
        all->router[i].known = r->neighbor_entry != NULL && r->neighbor_entry->netif == n;
        if (all->router[i].known) {
            all->router[i].flags = r->flags;
            all->router[i].address = r->neighbor_entry->next_hop_address;
        }
    }
}

// Lifetimes have stayed in lwIP's lists. Where a router is, is asked at once.
static void recall_routers(struct netif *n, const routers_t *all) {
    for (unsigned i = 0; i < LWIP_ND6_NUM_PREFIXES; i++) {
        if (all->prefix[i]) {
            prefix_list[i].netif = n;
        }
    }
    for (unsigned i = 0; i < LWIP_ND6_NUM_ROUTERS; i++) {
        const ip6_addr_t *address = &all->router[i].address;
        const uint8_t *mac;
        if (!all->router[i].known) {
            continue;
        }
        nd6_get_next_hop_addr_or_queue(n, NULL, address, &mac); // nothing to be queued: it makes the entry, and asks
        for (unsigned j = 0; j < LWIP_ND6_NUM_NEIGHBORS; j++) {
            struct nd6_neighbor_cache_entry *e = &neighbor_cache[j];
            if (e->netif == n && ip6_addr_eq(&e->next_hop_address, address)) {
                e->isrouter = 1;
                default_router_list[i].neighbor_entry = e;
                default_router_list[i].flags = all->router[i].flags;
            }
        }
    }
}

// ---- cards ----------------------------------------------------------------------------------------

// Frames that came, and what lwIP has queued.
static void drop_frames(netglue_t *g) {
    netdev_frame_t f;
    for (unsigned i = 0; i < RX_MAX && !g->dev->dead && g->dev->ops->rx_take(g->dev, &f) == 0; i++) {
        g->dev->ops->rx_return(g->dev, f.cookie);
    }
    nettx_t *t = &g->tx;
    while (t->count > 0) {
        pbuf_free(t->queue[t->head]);
        t->head = (uint16_t)((t->head + 1) % NETTX_QUEUE);
        t->count--;
    }
    t->refused = false;
    g->kick = true;
}

// Automatic addresses are made of the MAC address: those of a new one have the same prefixes and lifetimes, and are
// probed before they are used.
static void renew_ip6(struct netif *n) {
    ip_addr_t old[LWIP_IPV6_NUM_ADDRESSES];
    memcpy(old, n->ip6_addr, sizeof old);
    netif_ip6_addr_set_state(n, 0, IP6_ADDR_INVALID); // leaves its group
    netif_create_ip6_linklocal_address(n, 1);
    move_listeners(&old[0], &n->ip6_addr[0]);
    const ip6_addr_t *made = netif_ip6_addr(n, 0);
    for (s8_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (!ip6_addr_isinvalid(netif_ip6_addr_state(n, i)) && !netif_ip6_addr_isstatic(n, i)) {
            const ip6_addr_t *prefix = ip_2_ip6(&old[i]);
            netif_ip6_addr_set_state(n, i, IP6_ADDR_TENTATIVE);
            netif_ip6_addr_set_parts(n, i, prefix->addr[0], prefix->addr[1], made->addr[2], made->addr[3]);
            move_listeners(&old[i], &n->ip6_addr[i]);
        }
    }
}

static void take_mac(netglue_t *g, const uint8_t mac[NETDEV_MAC_LEN]) {
    memcpy(g->dev->mac, mac, NETDEV_MAC_LEN);
    memcpy(g->netif.hwaddr, mac, NETDEV_MAC_LEN);
    g->draws = 0;
    if (!netcfg_ip6_is_off(&g->netif)) {
        renew_ip6(&g->netif);
    }
}

// A gateway stays where the new network has it.
static void take_ip4(struct netif *n, const ip4_addr_t *addr, unsigned bits, const ip4_addr_t *gateway) {
    ip4_addr_t mask = netcfg_mask(bits);
    netif_set_addr(n, addr, &mask, ip4_addr_net_eq(gateway, addr, &mask) ? gateway : IP4_ADDR_ANY4);
}

// What the identity says of a card: its word of the address, and what that means. With another MAC address it is on a
// network that the other machine is on, too: an address that is not told is that one's.
typedef struct {
    enum { AS_IT_WAS, NONE, LOST, LEASE, FIXED } ip4;
    ip_addr_t addr; // FIXED
    unsigned bits;
    ip_addr_t addr6;    // or any
    const uint8_t *mac; // NULL: as it was
} change_t;

static change_t read_change(const struct netif *n, const char *word, const char *word6, const uint8_t *mac) {
    change_t c = {.ip4 = AS_IT_WAS, .addr = *IP4_ADDR_ANY, .bits = 24, .addr6 = *IP6_ADDR_ANY, .mac = mac};
    ip_addr_t addr6;
    unsigned bits6;
    if (netcfg_parse(word6, strlen(word6), &addr6, &bits6) && IP_IS_V6(&addr6)) {
        c.addr6 = addr6;
    }
    if (strcmp(word, "none") == 0) {
        c.ip4 = NONE;
    } else if (strcmp(word, "dhcp") == 0) {
        c.ip4 = LEASE;
    } else if (word[0] != '\0' && netcfg_parse(word, strlen(word), &c.addr, &c.bits)) {
        c.ip4 = IP_IS_V6(&c.addr) ? AS_IT_WAS : FIXED;
    } else if (mac != NULL && !netcfg_dhcp_on(n)) {
        c.ip4 = LOST;
    } else if (netcfg_dhcp_on(n) && (mac != NULL || !dhcp_supplied_address(n))) {
        c.ip4 = LEASE; // another card's is none of ours; and what was asked for, the other machine hears
    }
    return c;
}

// At most one was told; where another one of it is told, who listened there does so at that one.
static void renew_fixed_ip6(struct netif *n, const change_t *c) {
    bool told = !ip_addr_isany(&c->addr6);
    if (netcfg_ip6_is_off(n) || (!told && c->mac == NULL)) {
        return;
    }
    ip_addr_t old = *IP6_ADDR_ANY;
    for (s8_t i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        if (!ip6_addr_isinvalid(netif_ip6_addr_state(n, i)) && netif_ip6_addr_isstatic(n, i)) {
            old = n->ip6_addr[i];
        }
    }
    netcfg_set_ip6(n, told ? ip_2_ip6(&c->addr6) : NULL);
    move_listeners(&old, &c->addr6);
}

// Down and up again: that empties the tables of neighbours, and tells them of us. What is queued before the card is up
// again, such as the release of a lease that is the other machine's, never leaves.
static void renew(netglue_t *g, const change_t *c) {
    struct netif *n = &g->netif;
    bool up = netif_is_up(n) ? c->ip4 != NONE : c->ip4 == LEASE || c->ip4 == FIXED;
    ip_addr_t old = n->ip_addr;
    ip4_addr_t gateway = *netif_ip4_gw(n);
    if (c->ip4 != AS_IT_WAS) {
        netcfg_set_ip4(n, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
    }
    if (c->mac != NULL) {
        take_mac(g, c->mac);
    }
    routers_t routers;
    remember_routers(n, &routers);
    netif_set_down(n);
    drop_frames(g);
    if (c->ip4 == FIXED) {
        take_ip4(n, ip_2_ip4(&c->addr), c->bits, &gateway);
    }
    renew_fixed_ip6(n, c);
    move_listeners(&old, &n->ip_addr);
    if (up) {
        netif_set_up(n);
        recall_routers(n, &routers);
    }
    if (c->ip4 == LEASE) {
        g->dhcp_missed = false;
        netcfg_start_dhcp(n);
    }
}

// The end of a long name tells copies apart.
static void take_name(const char *name) {
    char text[NETCFG_HOSTNAME_MAX];
    size_t len = strlen(name), n = len < sizeof text ? len : sizeof text;
    memcpy(text, name + len - n, n);
    for (char *dot; (dot = memchr(text, '.', n)) != NULL;) {
        *dot = '-';
    }
    netcfg_set_hostname(text, n);
}

void netcopied_became(const hal_identity_t *id) {
    end_connections(tcp_active_pcbs);
    end_connections(tcp_tw_pcbs);
    sock_udp_copied();
    if (id->name[0] != '\0') {
        take_name(id->name);
    }
    netglue_t *g;
    for (unsigned i = 0; i < HAL_CARDS_MAX && (g = netglue_get(i)) != NULL; i++) {
        const uint8_t *mac = id->card[i].has_mac ? id->card[i].mac : NULL;
        change_t c = read_change(&g->netif, id->card[i].ip, id->card[i].ip6, mac);
        renew(g, &c);
    }
    dns_ask_anew();
    netevent_raise();
}
