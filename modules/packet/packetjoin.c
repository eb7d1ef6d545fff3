// SPDX-License-Identifier: MIT
// The joint between the engine, the cards and lwIP: frames come by netglue's interception and leave by nettx_forward(),
// neighbours are those of lwIP's tables, and the cards' addresses make routes of themselves. Owns the engine, and what
// it last saw of the cards. Not here: what becomes of a packet (packetfwd.c). Context: main loop.

#include "packetjoin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "lwip/etharp.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "netglue.h"
#include "netstack.h"
#include "packetbridgecard.h"
#include "packetover.h"
#include "packetsend.h"
#include "packetvlan.h"

enum { IP6_NET_BITS = 64, AUTOMATIC_MAX = NETDEV_MAX * (4 + 2 * LWIP_IPV6_NUM_ADDRESSES) + 1 };
enum { FLOWS_LEAST = 1024, FLOWS_MOST = 65536, AGE_WORK = 2048 };
enum { ROUTES_SHARE = 8, FLOWS_SHARE = 8 }; // of RAM
#define CHECK_ALL \
    (NETIF_CHECKSUM_CHECK_IP | NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_ICMP | \
     NETIF_CHECKSUM_CHECK_ICMP6)
#define LOOK_NS 100000000ull // how often the cards' addresses are looked at

// What routes are made from.
typedef struct {
    struct {
        bool up;
        uint8_t mac[NETDEV_MAC_LEN];
        ip4_addr_t ip4, mask, gateway;
        ip6_addr_t ip6[LWIP_IPV6_NUM_ADDRESSES]; // any: none
    } card[NETDEV_MAX];
    ip6_addr_t router;
    uint8_t router_card;
} seen_t;

typedef struct {
    uint8_t family, bits, prefix[16];
} automatic_t;

static packet_fwd_t *engine;
static netglue_t *first; // card 0
static seen_t seen;
static automatic_t automatic[AUTOMATIC_MAX];
static unsigned automatic_count;
static uint64_t looked_ns;
static bool forwarding, vlans, bridges;
static bool no_flows; // there was no memory for them: that is not tried again for each packet

// netglue's cards lie one behind the other: this is per packet.
static inline netglue_t *glue_of(unsigned card) { return first + card; }
static inline unsigned card_of(const netglue_t *g) { return (unsigned)(g - first); }
static struct netif *netif_of(unsigned card) { return &glue_of(card)->netif; }

// ---- neighbours -----------------------------------------------------------------------------------

static ip6_addr_t ip6_of(struct netif *n, const uint8_t *address) {
    ip6_addr_t a;
    memcpy(a.addr, address, sizeof a.addr);
    ip6_addr_clear_zone(&a);
    ip6_addr_assign_zone(&a, IP6_UNICAST, n);
    return a;
}

// As lwIP does when it sends to one: an entry that is stale is found out about, and used meanwhile (RFC 4861, 7.3.3).
static bool neighbour6(struct netif *n, const uint8_t *address, uint8_t *mac) {
    ip6_addr_t a = ip6_of(n, address);
    for (unsigned i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
        struct nd6_neighbor_cache_entry *e = &neighbor_cache[i];
        if (e->state < ND6_REACHABLE || e->netif != n || !ip6_addr_eq(&e->next_hop_address, &a)) {
            continue;
        }
        if (e->state == ND6_STALE) {
            e->state = ND6_DELAY;
            e->counter.delay_time = LWIP_ND6_DELAY_FIRST_PROBE_TIME / ND6_TMR_INTERVAL;
        }
        memcpy(mac, e->lladdr, NETDEV_MAC_LEN);
        return true;
    }
    return false;
}

static bool neighbour(unsigned card, unsigned family, const uint8_t *address, uint8_t *mac) {
    struct netif *n = netif_of(card);
    if (family == 6) {
        return neighbour6(n, address, mac);
    }
    ip4_addr_t a;
    const ip4_addr_t *found;
    struct eth_addr *eth;
    memcpy(&a.addr, address, sizeof a.addr);
    if (etharp_find_addr(n, &a, &eth, &found) < 0) {
        return false;
    }
    memcpy(mac, eth->addr, NETDEV_MAC_LEN);
    return true;
}

static void ask(unsigned card, unsigned family, const uint8_t *address) {
    struct netif *n = netif_of(card);
    if (family == 6) {
        const u8_t *mac;
        ip6_addr_t a = ip6_of(n, address);
        nd6_get_next_hop_addr_or_queue(n, NULL, &a, &mac); // a new entry asks; there is nothing to queue
        return;
    }
    ip4_addr_t a;
    memcpy(&a.addr, address, sizeof a.addr);
    etharp_request(n, &a);
}

// ---- frames ---------------------------------------------------------------------------------------

static bool keep(unsigned card, unsigned pieces) {
    netglue_t *g = glue_of(card), *each;
    if (netglue_keep_frame(g, pieces)) {
        return true;
    }
    for (unsigned i = 0; (each = netglue_get(i)) != NULL; i++) { // some may have left
        nettx_reclaim(each);
    }
    return netglue_keep_frame(g, pieces);
}

static void give_back(unsigned card, void *cookie, unsigned pieces) {
    netglue_give_back(glue_of(card), cookie, pieces);
}

static int send(unsigned card, netdev_frame_t *f) {
    void *cookie = f->cookie;
    f->cookie = (void *)((uintptr_t)cookie | NETTX_FORWARDED);
    int r = nettx_forward(glue_of(card), f);
    f->cookie = cookie;
    return r;
}

static void deliver(unsigned card, const netdev_frame_t *f) {
    netglue_t *g = glue_of(card);
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)f->seg[0].len, PBUF_RAM);
    if (p == NULL) {
        g->dev->stats.rx_dropped++;
        return;
    }
    memcpy(p->payload, f->seg[0].base, f->seg[0].len);
    g->netif.chksum_flags = g->gen_flags | CHECK_ALL;
    netglue_sender = (const uint8_t *)p->payload + NETDEV_MAC_LEN;
    if (g->netif.input(p, &g->netif) != ERR_OK) {
        pbuf_free(p);
    }
    netglue_sender = NULL;
}

static void forwarded(void *cookie) {
    if (((uintptr_t)cookie & PACKET_OVER_COOKIE) != 0) {
        packet_over_sent(cookie);
        return;
    }
    packet_send_done(&engine->base, (packet_ref_t *)((uintptr_t)cookie & ~(uintptr_t)NETTX_FORWARDED));
}

// ---- routes of themselves ---------------------------------------------------------------------------

static void look(seen_t *s) {
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < netglue_count(); i++) {
        const struct netif *n = netif_of(i);
        s->card[i].up = netif_is_up(n) && netif_is_link_up(n);
        memcpy(s->card[i].mac, n->hwaddr, NETDEV_MAC_LEN);
        s->card[i].ip4 = *netif_ip4_addr(n);
        s->card[i].mask = *netif_ip4_netmask(n);
        s->card[i].gateway = *netif_ip4_gw(n);
        for (s8_t k = 0; k < LWIP_IPV6_NUM_ADDRESSES; k++) {
            if (ip6_addr_isvalid(netif_ip6_addr_state(n, k))) {
                memcpy(s->card[i].ip6[k].addr, netif_ip6_addr(n, k)->addr, sizeof s->card[i].ip6[k].addr);
            }
        }
    }
    for (unsigned i = 0; i < LWIP_ND6_NUM_ROUTERS; i++) {
        const struct nd6_router_list_entry *r = &default_router_list[i];
        if (r->neighbor_entry != NULL && r->invalidation_timer > 0) {
            memcpy(s->router.addr, r->neighbor_entry->next_hop_address.addr, sizeof s->router.addr);
            s->router_card = (uint8_t)card_of(r->neighbor_entry->netif->state);
            return;
        }
    }
}

// Add one, unless somebody wants it otherwise; this machine's own addresses are never another's.
static void add(unsigned family, const void *address, unsigned bits, packet_hop_t hop) {
    automatic_t a = {.family = (uint8_t)family, .bits = (uint8_t)bits};
    memcpy(a.prefix, address, family == 4 ? 4 : 16);
    for (unsigned i = bits; i < (family == 4 ? 32u : 128u); i++) {
        a.prefix[i / 8] &= (uint8_t)~(0x80 >> i % 8);
    }
    const packet_hop_t *old = packet_route_get(&engine->routes, family, a.prefix, bits);
    bool own = hop.kind == PACKET_ROUTE_LOCAL || hop.kind == PACKET_ROUTE_BROADCAST;
    if ((old != NULL && !own) || automatic_count == AUTOMATIC_MAX) {
        return; // the first card of those on one network has it
    }
    if (packet_route_add(&engine->routes, family, a.prefix, bits, &hop) == 0) {
        automatic[automatic_count++] = a;
    }
}

static void add4(unsigned card) {
    static const uint8_t any[4];
    uint32_t ip = seen.card[card].ip4.addr, mask = seen.card[card].mask.addr, all = ip | ~mask;
    packet_hop_t hop = {.kind = PACKET_ROUTE_LOCAL, .card = (uint8_t)card};
    if (ip == 0) {
        return;
    }
    add(4, &ip, 32, hop);
    unsigned bits = 0;
    for (uint32_t m = lwip_ntohl(mask); m != 0; m <<= 1) {
        bits++;
    }
    if (bits < 31) {
        hop.kind = PACKET_ROUTE_BROADCAST;
        add(4, &all, 32, hop);
    }
    hop.kind = PACKET_ROUTE_CONNECTED;
    add(4, &ip, bits, hop);
    if (seen.card[card].gateway.addr != 0) {
        hop.kind = PACKET_ROUTE_DEFAULT;
        hop.gateway = true;
        memcpy(hop.via, &seen.card[card].gateway.addr, 4);
        add(4, any, 0, hop);
    }
}

static void add6(unsigned card, const ip6_addr_t *a) {
    packet_hop_t hop = {.kind = PACKET_ROUTE_LOCAL, .card = (uint8_t)card};
    if (ip6_addr_isany_val(*a)) {
        return;
    }
    add(6, a->addr, 128, hop);
    if (!ip6_addr_islinklocal(a)) {
        hop.kind = PACKET_ROUTE_CONNECTED;
        add(6, a->addr, IP6_NET_BITS, hop);
    }
}

static void fill_card(unsigned card) {
    packet_card_t *c = &engine->base.card[card];
    *c = (packet_card_t){.dev = glue_of(card)->dev, .up = seen.card[card].up, .vlan = packet_vlan_tag(card)};
    memcpy(c->mac, seen.card[card].mac, sizeof c->mac);
    memcpy(c->ip4, &seen.card[card].ip4.addr, sizeof c->ip4);
    for (unsigned k = 0; k < LWIP_IPV6_NUM_ADDRESSES; k++) {
        const ip6_addr_t *a = &seen.card[card].ip6[k];
        if (!ip6_addr_isany_val(*a) && !ip6_addr_islinklocal(a)) {
            memcpy(c->ip6, a->addr, sizeof c->ip6);
            return;
        }
    }
}

// Look at the cards again, and make their routes anew where something is another.
static void update(bool anyway) {
    static seen_t now;
    look(&now);
    if (!anyway && memcmp(&now, &seen, sizeof now) == 0) {
        return;
    }
    seen = now;
    for (; automatic_count > 0; automatic_count--) {
        const automatic_t *a = &automatic[automatic_count - 1];
        const packet_hop_t *h = packet_route_get(&engine->routes, a->family, a->prefix, a->bits);
        if (h != NULL && h->kind != PACKET_ROUTE_STATIC) {
            packet_route_remove(&engine->routes, a->family, a->prefix, a->bits);
        }
    }
    for (unsigned i = 0; i < netglue_count(); i++) {
        fill_card(i);
        add4(i);
        for (unsigned k = 0; k < LWIP_IPV6_NUM_ADDRESSES; k++) {
            add6(i, &seen.card[i].ip6[k]);
        }
    }
    if (!ip6_addr_isany_val(seen.router) && seen.router_card < netglue_count()) {
        packet_hop_t hop = {.kind = PACKET_ROUTE_DEFAULT, .card = seen.router_card, .gateway = true};
        static const uint8_t any[16];
        memcpy(hop.via, seen.router.addr, sizeof hop.via);
        add(6, any, 0, hop);
    }
}

// ---- running ----------------------------------------------------------------------------------------

// What lwIP sends, for the flows alone: only the headers are looked at, which lie in the first piece.
static void heard(netglue_t *g, const struct pbuf *p) {
    netdev_frame_t f = {.nsegs = 2};
    f.seg[0] = (netdev_seg_t){p->payload, p->len};
    f.seg[1] = (netdev_seg_t){NULL, (uint32_t)p->tot_len - p->len};
    packet_fwd_sent(engine, card_of(g), &f, hal_clock_ns());
}

uint32_t packet_join_flows_default(void) {
    size_t share = hal_mem_total() / FLOWS_SHARE, each = packet_flow_size(FLOWS_LEAST) / FLOWS_LEAST;
    return share / each > FLOWS_MOST ? FLOWS_MOST : share / each < FLOWS_LEAST ? FLOWS_LEAST : (uint32_t)(share / each);
}

int packet_join_track(uint32_t flows) {
    size_t size = packet_flow_size(flows);
    uint64_t seed[2];
    if (size == 0) {
        return -EINVAL;
    }
    void *memory = packet_join() != NULL ? malloc(size) : NULL;
    if (memory == NULL) {
        return -ENOMEM;
    }
    hal_entropy_get(seed, sizeof seed);
    free(engine->flows);
    packet_fwd_track(engine, packet_flow_init(memory, flows, seed));
    nettx_heard = heard;
    return 0;
}

// Rules look at flows.
static void follow_rules(void) {
    if (engine->flows == NULL && !no_flows && packet_rules_in_use() != NULL) {
        no_flows = packet_join_track(packet_join_flows_default()) != 0;
    }
}

static netglue_fate_t intercept(netglue_t *g, netdev_frame_t *f, uint64_t now) {
    netglue_fate_t fate = vlans ? packet_vlan_receive(g, f) : NETGLUE_PASSED;
    packet_bridge_t *bridge = bridges ? packet_bridge_of(card_of(g)) : NULL;
    if (fate != NETGLUE_PASSED || (!forwarding && bridge == NULL)) {
        return fate;
    }
    static const netglue_fate_t fates[] = {
        [PACKET_PASSED] = NETGLUE_PASSED, [PACKET_DROPPED] = NETGLUE_DROPPED, [PACKET_KEPT] = NETGLUE_KEPT};
    if (now - looked_ns >= LOOK_NS) {
        looked_ns = now;
        update(false);
        if (engine->flows != NULL) {
            packet_flow_age(engine->flows, now, AGE_WORK);
            packet_fwd_age(engine, now);
        }
    }
    follow_rules();
    return fates[bridge != NULL ? packet_bridge_frame(engine, bridge, card_of(g), f, now)
                                : packet_fwd_frame(engine, card_of(g), f, now)];
}

static bool run(void *arg) {
    (void)arg;
    return engine->neigh.waiting > 0 && packet_fwd_run(engine, hal_clock_ns());
}

static uint64_t deadline(void *arg) {
    (void)arg;
    return packet_fwd_deadline(engine);
}

static bool start(void) {
    static const packet_host_t host = {neighbour, ask, keep, give_back, send, deliver};
    static hal_event_source_t source = {.run = run, .deadline = deadline};
    packet_fwd_t *w = malloc(sizeof *w);
    if (w == NULL || !packet_fwd_init(w, &host, hal_mem_total() / ROUTES_SHARE)) {
        free(w);
        return false;
    }
    engine = w;
    nettx_forwarded = forwarded;
    hal_event_add(&source);
    return true;
}

packet_fwd_t *packet_join(void) {
    netstack_start();
    bool begin = engine == NULL;
    first = netglue_get(0);
    if (begin && !start()) {
        return NULL;
    }
    update(begin);
    return engine;
}

static void reseed(void) {
    uint64_t seed[2];
    if (engine != NULL && hal_entropy_get(seed, sizeof seed)) {
        packet_fwd_copied(engine, seed);
        looked_ns = 0; // cards have other addresses
    }
}

static void copied(const hal_identity_t *id) {
    (void)id;
    reseed();
}
HAL_COPIED(HAL_COPIED_ABOVE, copied);

static void suspended(hal_suspend_t what) {
    if (what == HAL_RESUMED) {
        reseed();
    }
}
HAL_SUSPEND(suspended);

static void listen(void) { *netglue_forwarder = forwarding || vlans || bridges ? intercept : NULL; }

void packet_join_forward(bool on) {
    forwarding = on && packet_join() != NULL;
    listen();
}

int packet_join_bridge(unsigned cards, bool filter) {
    int r = packet_join() != NULL ? packet_bridge_add(&engine->base, cards, filter) : -ENOMEM;
    bridges |= r >= 0;
    listen();
    if (r >= 0) {
        update(true);
    }
    return r;
}

int packet_join_vlan(unsigned card, unsigned tag) {
    int r = packet_join() != NULL ? packet_vlan_add(card, tag) : -ENOMEM;
    vlans |= r >= 0;
    listen();
    if (r >= 0) {
        update(true);
    }
    return r;
}

int packet_join_add(unsigned family, const uint8_t *prefix, unsigned bits, const uint8_t *gateway, unsigned card) {
    packet_hop_t hop = {.kind = PACKET_ROUTE_STATIC, .card = (uint8_t)card, .gateway = gateway != NULL};
    if (packet_join() == NULL) {
        return -ENOMEM;
    }
    if (gateway != NULL) {
        const packet_hop_t *way = packet_route_find(&engine->routes, family, gateway);
        bool near = way != NULL && way->kind == PACKET_ROUTE_CONNECTED;
        if (card == PACKET_NO_CARD && !near) {
            return -EHOSTUNREACH;
        }
        hop.card = card == PACKET_NO_CARD ? way->card : (uint8_t)card;
        memcpy(hop.via, gateway, family == 4 ? 4 : 16);
    }
    if (hop.card >= netglue_count()) {
        return -ENODEV;
    }
    const packet_hop_t *old = packet_route_get(&engine->routes, family, prefix, bits);
    if (old != NULL && (old->kind == PACKET_ROUTE_LOCAL || old->kind == PACKET_ROUTE_BROADCAST)) {
        return -EEXIST;
    }
    return packet_route_add(&engine->routes, family, prefix, bits, &hop);
}

int packet_join_remove(unsigned family, const uint8_t *prefix, unsigned bits) {
    if (packet_join() == NULL) {
        return -ENOMEM;
    }
    const packet_hop_t *h = packet_route_get(&engine->routes, family, prefix, bits);
    if (h == NULL || h->kind != PACKET_ROUTE_STATIC) {
        return -ENOENT;
    }
    int r = packet_route_remove(&engine->routes, family, prefix, bits);
    update(true); // it may have stood in the place of one
    return r;
}
