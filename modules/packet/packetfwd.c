// SPDX-License-Identifier: MIT
// The pipeline: is it a packet, for whom, may it go there, out of which card, to which next hop. A router as RFC 1812,
// 5.2 and RFC 8200 describe one. Nothing is copied: the bytes that a card received are those that another one sends.
// Owns nothing of its own (packet_fwd_t is the caller's). Not here: the last step (packetsend.c), routes and next hops
// (packetroute.c, packetneigh.c). Context: main loop; host tests.

#include "packetfwd.h"

#include <string.h>

#include "packetbytes.h"
#include "packetsend.h"

enum { RESET = -1 }; // in an ICMP error's place
enum { DONT_FRAGMENT = 0x40, GSO_SIZE_MIN = 48, TCP_SUM_AT = 16, UDP_SUM_AT = 6, LINK_MTU6 = 1280 };
enum { DHCP_SERVER = 67, DHCP_CLIENT = 68 };

const char *const packet_stat_names[PACKET_N_COUNT] = {
    [PACKET_N_FORWARDED] = "forwarded", [PACKET_N_FORWARDED_BYTES] = "forwarded_bytes",
    [PACKET_N_LOCAL] = "local",         [PACKET_N_NOT_OURS] = "not_ours",
    [PACKET_N_FILTERED] = "filtered",   [PACKET_N_REJECTED] = "rejected",
    [PACKET_N_NO_FLOW] = "no_flow",     [PACKET_N_BAD] = "bad",
    [PACKET_N_MARTIAN] = "martian",     [PACKET_N_SPOOFED] = "spoofed",
    [PACKET_N_BROADCAST] = "broadcast", [PACKET_N_BRIDGED] = "bridged",
    [PACKET_N_NO_ROUTE] = "no_route",   [PACKET_N_EXPIRED] = "expired",
    [PACKET_N_TOO_BIG] = "too_big",     [PACKET_N_FRAGMENTED] = "fragmented",
    [PACKET_N_SEGMENTED] = "segmented", [PACKET_N_UNREACHABLE] = "unreachable",
    [PACKET_N_NO_ROOM] = "no_room",     [PACKET_N_CARD_FULL] = "card_full",
    [PACKET_N_ICMP] = "icmp",           [PACKET_N_ICMP_LIMITED] = "icmp_limited",
    [PACKET_N_HELD] = "held",           [PACKET_N_HELD_LOST] = "held_lost",
};

static const uint8_t zero[16];

bool packet_fwd_init(packet_fwd_t *w, const packet_host_t *host, size_t routes_limit) {
    memset(w, 0, sizeof *w);
    w->base.host = host;
    w->errors.left = PACKET_ERRORS_BURST;
    packet_neigh_init(&w->neigh);
    return packet_routes_init(&w->routes, routes_limit) && packet_pool_init(&w->base.pool);
}

void packet_fwd_track(packet_fwd_t *w, packet_flows_t *flows) {
    packet_hold_forget(&w->hold, &w->base); // each table has a hash of its own
    w->flows = flows;
    if (flows != NULL && !w->can_hold) {
        w->can_hold = packet_pool_fill(&w->base.pool, PACKET_REF_HELD); // without memory for it nothing waits
    }
}

static packet_fate_t drop(packet_fwd_t *w, packet_stat_t why) {
    w->base.count[why]++;
    return PACKET_DROPPED;
}

// ---- who it is from, and for ----------------------------------------------------------------------

static bool is_own(packet_fwd_t *w, const packet_key_t *k) {
    const packet_hop_t *h = packet_route_find(&w->routes, k->family, k->src);
    return h != NULL && h->kind == PACKET_ROUTE_LOCAL;
}

// An address that no packet comes from or goes to beyond one link: RFC 6890's that are not forwarded, and groups.
static bool martian4(const uint8_t *a) {
    return a[0] == 0 || a[0] == 127 || a[0] >= 224 || (a[0] == 169 && a[1] == 254);
}
static bool martian6(const uint8_t *a) {
    bool nobody = memcmp(a, zero, 15) == 0 && a[15] <= 1, mapped = memcmp(a, zero, 10) == 0 && a[10] == 0xff;
    return nobody || mapped || a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

// Everybody on this link, a group, a link-local address: this machine may be meant, no other beyond it.
static bool on_link_only(const packet_key_t *k) {
    if (k->family == 4) {
        return k->dst[0] >= 224 || (k->dst[0] == 169 && k->dst[1] == 254);
    }
    return k->dst[0] == 0xff || (k->dst[0] == 0xfe && (k->dst[1] & 0xc0) == 0x80);
}

static bool is_martian(const packet_key_t *k) {
    return k->family == 4 ? martian4(k->src) || martian4(k->dst) : martian6(k->src) || martian6(k->dst);
}

// ---- what the device is to do for us ---------------------------------------------------------------

bool packet_fwd_offloads(packet_t *p) {
    netdev_frame_t *f = p->frame;
    bool tcp = p->key.proto == PACKET_TCP, udp = p->key.proto == PACKET_UDP;
    if (f->gso != NETDEV_GSO_NONE) {
        uint8_t family = f->gso == NETDEV_GSO_TCP4 ? 4 : 6;
        if (p->key.family != family || !tcp || p->l4 == NULL || p->key.fragment != PACKET_WHOLE || !f->csum_needed ||
            f->gso_size < GSO_SIZE_MIN) {
            return false;
        }
        unsigned own = (unsigned)(p->l4[12] >> 4) * 4;
        if (own < 20 || own > p->l4_room) {
            return false;
        }
        f->hdr_len = (uint16_t)(p->l4 - p->eth + own);
        if (packet_frame_len(f) <= (uint32_t)f->hdr_len + f->gso_size) { // one piece: an ordinary frame
            f->gso = NETDEV_GSO_NONE;
        }
    }
    if (f->gso == NETDEV_GSO_NONE) {
        f->gso_size = f->hdr_len = 0;
    }
    if (!f->csum_needed) {
        return true;
    }
    if (f->csum_start == 0 || f->gso != NETDEV_GSO_NONE) { // TCP's or UDP's own
        if (p->l4 == NULL || (!tcp && !udp)) {
            return false;
        }
        f->csum_start = (uint16_t)(p->l4 - p->eth);
        f->csum_offset = tcp ? TCP_SUM_AT : UDP_SUM_AT;
    }
    return f->csum_start >= PACKET_ETH && (uint32_t)f->csum_start + f->csum_offset + 2 <= f->seg[0].len;
}

// Whether it fits the link, or can be made to.
static bool fits(packet_t *p, uint16_t mtu) {
    netdev_frame_t *f = p->frame;
    bool may_cut = p->key.family == 4 && (p->ip[6] & DONT_FRAGMENT) == 0;
    if (f->gso == NETDEV_GSO_NONE) {
        return p->key.length <= mtu || may_cut;
    }
    uint32_t head = f->hdr_len - (uint32_t)PACKET_ETH;
    if (head + f->gso_size > mtu && may_cut && mtu > head + GSO_SIZE_MIN) {
        f->gso_size = (uint16_t)(mtu - head);
    }
    return head + f->gso_size <= mtu;
}

// ---- the way out ----------------------------------------------------------------------------------

// Out of a card, to a next hop whose MAC address may have to be asked for. Takes the frame's reference over.
static void output(packet_fwd_t *w, const packet_hop_t *hop, unsigned family, const uint8_t *dst, netdev_frame_t *f) {
    uint8_t *eth = f->seg[0].base;
    const uint8_t *next = hop->gateway ? hop->via : dst;
    const uint8_t *mac = packet_neigh_find(&w->neigh, &w->base, hop->card, family, next);
    memcpy(eth + NETDEV_MAC_LEN, w->base.card[hop->card].mac, NETDEV_MAC_LEN);
    if (mac != NULL) {
        memcpy(eth, mac, NETDEV_MAC_LEN);
        packet_send(&w->base, hop->card, f);
    } else if (w->copy != NULL || // who has waited does not again: next hops that nobody has would take all the room
               !packet_neigh_hold(&w->neigh, &w->base, hop->card, family, next, f)) {
        w->base.count[PACKET_N_NO_ROOM]++;
        packet_base_put(&w->base, f->cookie);
    }
}

static bool goes_out(const packet_hop_t *hop) {
    return hop != NULL && hop->kind != PACKET_ROUTE_LOCAL && hop->kind != PACKET_ROUTE_BROADCAST;
}

// An address of this machine's for an error: of the card it leaves by, of the one that the packet came by, of any.
static const uint8_t *source_for(const packet_fwd_t *w, unsigned family, unsigned out, unsigned in) {
    for (unsigned i = 0; i < NETDEV_MAX + 2; i++) {
        unsigned card = i == 0 ? out : i == 1 ? in : i - 2;
        if (card < NETDEV_MAX) {
            const packet_card_t *c = &w->base.card[card];
            const uint8_t *a = family == 4 ? c->ip4 : c->ip6;
            if (memcmp(a, zero, family == 4 ? sizeof c->ip4 : sizeof c->ip6) != 0) {
                return a;
            }
        }
    }
    return NULL;
}

// Tell the sender of a packet, if that may be; the packet stays whose it was. error RESET: by a TCP reset.
static void report(packet_fwd_t *w, const packet_t *p, int error, uint16_t mtu) {
    unsigned family = p->key.family;
    const packet_hop_t *hop = packet_route_find(&w->routes, family, p->key.src);
    if (!packet_icmp_may(p) || !goes_out(hop) || !w->base.card[hop->card].up) {
        return;
    }
    const uint8_t *source = source_for(w, family, hop->card, p->key.in);
    packet_ref_t *ref = NULL;
    if (source != NULL && packet_bucket_take(&w->errors, w->base.now_ns)) {
        ref = packet_ref_get(&w->base.pool, PACKET_REF_LARGE, NULL);
    }
    if (ref == NULL) {
        w->base.count[PACKET_N_ICMP_LIMITED]++;
        return;
    }
    netdev_frame_t f = {.nsegs = 1, .cookie = ref};
    uint8_t *out = packet_ref_data(ref);
    bool reset = error == RESET;
    uint32_t len = reset ? packet_icmp_reset(out, p) : packet_icmp_make(out, p, (packet_error_t)error, mtu, source);
    if (len == 0) {
        packet_base_put(&w->base, ref);
        return;
    }
    f.seg[0] = (netdev_seg_t){out, len};
    w->base.count[PACKET_N_ICMP]++;
    output(w, hop, family, p->key.src, &f);
}

// A packet that came as far as the rules goes no further.
static packet_fate_t refuse(packet_fwd_t *w, packet_t *p, const packet_pass_t *s, packet_stat_t why, int error,
                            uint16_t mtu) {
    packet_filter_undo(s, p);
    report(w, p, error, mtu);
    return drop(w, why);
}

// What the rules have said no to.
static packet_fate_t stop(packet_fwd_t *w, packet_t *p, packet_step_t step, const packet_pass_t *s) {
    static const int errors[PACKET_REJECT_KINDS] = {
        [PACKET_REJECT_PORT] = PACKET_ERROR_PORT,
        [PACKET_REJECT_HOST] = PACKET_ERROR_HOST,
        [PACKET_REJECT_NET] = PACKET_ERROR_NET,
        [PACKET_REJECT_ADMIN] = PACKET_ERROR_ADMIN,
        [PACKET_REJECT_RESET] = RESET,
    };
    if (step == PACKET_REFUSED) {
        return refuse(w, p, s, PACKET_N_REJECTED, errors[s->reject], 0);
    }
    return drop(w, step == PACKET_STOPS ? PACKET_N_FILTERED : PACKET_N_NO_FLOW);
}

// One hop less. The header's checksum changes by as much (RFC 1141).
static void count_hop(packet_t *p) {
    if (p->key.family == 6) {
        p->ip[7]--;
        return;
    }
    uint32_t sum = packet_get16(p->ip + 10) + 0x100u;
    p->ip[8]--;
    packet_put16(p->ip + 10, sum + (sum >= 0xffff));
}

// A reference to a received frame, which stays here. NULL: there is no room.
static packet_ref_t *keep(packet_fwd_t *w, const packet_t *p) {
    packet_ref_t *ref = packet_ref_get(&w->base.pool, PACKET_REF_FRAME, NULL);
    if (ref == NULL || !w->base.host->keep(p->key.in, p->frame->nsegs)) {
        if (ref != NULL) {
            packet_ref_put(&w->base.pool, ref);
        }
        return NULL;
    }
    ref->card = p->key.in;
    ref->pieces = (uint8_t)p->frame->nsegs;
    ref->cookie = p->frame->cookie;
    return ref;
}

// Hand a packet that may go on over to its card.
static packet_fate_t pass_on(packet_fwd_t *w, packet_t *p, const packet_hop_t *hop, packet_pass_t *s) {
    packet_key_t *k = &p->key;
    packet_ref_t *ref = w->copy != NULL ? w->copy : keep(w, p);
    if (ref == NULL) {
        return drop(w, PACKET_N_NO_ROOM);
    }
    packet_step_t step = packet_filter_leaves(s, p, w->base.card[hop->card].ip4);
    if (step != PACKET_GOES) {
        (void)stop(w, p, step, s);
        packet_base_put(&w->base, ref); // gives the frame back
        return PACKET_KEPT;
    }
    p->frame->cookie = ref;
    count_hop(p);
    w->base.count[PACKET_N_FORWARDED]++;
    w->base.count[PACKET_N_FORWARDED_BYTES] += k->length;
    output(w, hop, k->family, k->dst, p->frame);
    return PACKET_KEPT;
}

static packet_fate_t forward(packet_fwd_t *w, packet_t *p, const packet_hop_t *hop, packet_pass_t *s) {
    packet_key_t *k = &p->key;
    if (hop != NULL && hop->kind == PACKET_ROUTE_BROADCAST) {
        return drop(w, PACKET_N_BROADCAST); // RFC 2644
    }
    k->out = hop != NULL ? hop->card : PACKET_NO_CARD;
    packet_step_t step = packet_filter_forward(s, p);
    if (step != PACKET_GOES) {
        return stop(w, p, step, s);
    }
    if (k->ttl <= 1) {
        return refuse(w, p, s, PACKET_N_EXPIRED, PACKET_ERROR_TTL, 0);
    }
    if (hop == NULL) {
        return refuse(w, p, s, PACKET_N_NO_ROUTE, PACKET_ERROR_NO_ROUTE, 0);
    }
    const packet_card_t *out = &w->base.card[hop->card];
    if (!out->up) {
        return refuse(w, p, s, PACKET_N_UNREACHABLE, PACKET_ERROR_HOST, 0);
    }
    if (!fits(p, out->dev->mtu)) {
        uint16_t mtu = k->family == 6 && out->dev->mtu < LINK_MTU6 ? LINK_MTU6 : out->dev->mtu;
        return refuse(w, p, s, PACKET_N_TOO_BIG, PACKET_ERROR_TOO_BIG, mtu);
    }
    return pass_on(w, p, hop, s);
}

// For everybody, or for a group: this machine may be meant.
static packet_fate_t group(packet_fwd_t *w, packet_t *p) {
    packet_pass_t s = {.flows = w->flows, .now_ns = w->base.now_ns};
    if (is_own(w, &p->key)) {
        return drop(w, PACKET_N_SPOOFED);
    }
    return packet_filter_group(&s, p) == PACKET_GOES ? PACKET_PASSED : drop(w, PACKET_N_FILTERED);
}

// An answer of DHCP to a card that has no address yet, sent to the one that it is offered (RFC 2131, section 4.1).
static bool is_lease(const packet_fwd_t *w, const packet_key_t *k) {
    static const uint8_t none[4];
    return k->family == 4 && k->proto == PACKET_UDP && k->sport == DHCP_SERVER && k->dport == DHCP_CLIENT &&
           k->fragment == PACKET_WHOLE && memcmp(w->base.card[k->in].ip4, none, sizeof none) == 0;
}

// A fragment that came before its first one waits for that, as a copy.
static packet_fate_t hold(packet_fwd_t *w, const packet_t *p, const packet_look_t *look) {
    bool held = packet_hold_put(&w->hold, &w->base, p, &look->fragment, look->from);
    return drop(w, held ? PACKET_N_HELD : PACKET_N_HELD_LOST);
}

static packet_fate_t route(packet_fwd_t *w, packet_t *p, packet_pass_t *s) {
    packet_key_t *k = &p->key;
    if (is_own(w, k)) {
        return drop(w, PACKET_N_SPOOFED);
    }
    packet_step_t step = packet_filter_came(s, p);
    if (step != PACKET_GOES) {
        return step == PACKET_EARLY ? hold(w, p, &s->look) : stop(w, p, step, s);
    }
    const packet_hop_t *hop = packet_route_find(&w->routes, k->family, k->dst);
    if (on_link_only(k) || is_lease(w, k) ||
        (hop != NULL &&
         (hop->kind == PACKET_ROUTE_LOCAL || (hop->kind == PACKET_ROUTE_BROADCAST && hop->card == k->in)))) {
        step = packet_filter_input(s, p);
        w->base.count[PACKET_N_LOCAL] += step == PACKET_GOES;
        return step == PACKET_GOES ? PACKET_PASSED : stop(w, p, step, s);
    }
    if (is_martian(k)) {
        return drop(w, PACKET_N_MARTIAN);
    }
    return packet_fwd_offloads(p) ? forward(w, p, hop, s) : drop(w, PACKET_N_BAD);
}

// The fragments that have waited for a first one, which was accepted, go its way.
static void release(packet_fwd_t *w, const packet_frag_key_t *key) {
    packet_ref_t *ref;
    while ((ref = packet_hold_take(&w->hold, &w->base, key)) != NULL) {
        packet_held_t *held = (packet_held_t *)(void *)packet_ref_data(ref);
        unsigned card = held->card;
        packet_t p;
        netdev_frame_t f = {.nsegs = 1, .cookie = ref};
        packet_pass_t s = {.flows = w->flows, .now_ns = w->base.now_ns};
        f.seg[0] = (netdev_seg_t){held->frame, held->len};
        packet_fate_t fate = PACKET_DROPPED;
        if (packet_parse(&p, &f, held->card) == PACKET_PARSED) { // as it was before
            p.key.vlan = w->base.card[card].vlan;
            w->copy = ref;
            fate = route(w, &p, &s);
            w->copy = NULL;
        }
        if (fate == PACKET_PASSED) {
            w->base.host->deliver(card, &f);
        }
        if (fate != PACKET_KEPT) {
            packet_base_put(&w->base, ref);
        }
    }
}

static packet_fate_t came(packet_fwd_t *w, packet_t *p) {
    packet_pass_t s = {.flows = w->flows, .now_ns = w->base.now_ns, .may_wait = true};
    bool awaited = w->hold.count > 0 && p->key.fragment == PACKET_FIRST_FRAGMENT;
    packet_fate_t fate = route(w, p, &s);
    if (awaited && s.noted) {
        release(w, &s.look.fragment);
    }
    return fate;
}

packet_fate_t packet_fwd_frame(packet_fwd_t *w, unsigned card, netdev_frame_t *f, uint64_t now_ns) {
    packet_t p;
    const uint8_t *eth = f->seg[0].base;
    bool filtered = packet_rules_in_use() != NULL;
    w->base.now_ns = now_ns;
    if (f->seg[0].len < PACKET_ETH) {
        return filtered ? drop(w, PACKET_N_BAD) : PACKET_PASSED;
    }
    bool many = (eth[0] & 1) != 0;
    if (many && !filtered) {
        return PACKET_PASSED;
    }
    if (!many && memcmp(eth, w->base.card[card].mac, NETDEV_MAC_LEN) != 0) {
        return drop(w, PACKET_N_NOT_OURS); // a bridge does not know yet where that machine is
    }
    switch (packet_parse(&p, f, (uint8_t)card)) {
        case PACKET_PARSED:
            p.key.vlan = w->base.card[card].vlan;
            return many ? group(w, &p) : came(w, &p);
        case PACKET_BAD:
            return drop(w, PACKET_N_BAD);
        case PACKET_SPLIT: // no card does that with headers; no rule would see it
            return filtered ? drop(w, PACKET_N_BAD) : PACKET_PASSED;
        default:
            return PACKET_PASSED;
    }
}

void packet_fwd_sent(packet_fwd_t *w, unsigned card, netdev_frame_t *f, uint64_t now_ns) {
    packet_t p;
    packet_pass_t s = {.flows = w->flows, .now_ns = now_ns};
    if (w->flows != NULL && packet_parse(&p, f, PACKET_NO_CARD) == PACKET_PARSED && (p.eth[0] & 1) == 0) {
        p.key.out = (uint8_t)card;
        packet_filter_sent(&s, &p);
    }
}

// ---- what waits -------------------------------------------------------------------------------------

// Nobody has answered for the next hop of a packet.
static void unreachable(void *arg, unsigned card, netdev_frame_t *f) {
    packet_fwd_t *w = arg;
    packet_ref_t *ref = f->cookie;
    packet_t p;
    w->base.count[PACKET_N_UNREACHABLE]++;
    if (ref->kind == PACKET_REF_FRAME && packet_parse(&p, f, ref->card) == PACKET_PARSED) {
        memcpy(p.eth, w->base.card[card].mac, NETDEV_MAC_LEN); // it was sent to us, and nobody else
        report(w, &p, PACKET_ERROR_HOST, 0);
    }
    packet_base_put(&w->base, ref);
}

bool packet_fwd_run(packet_fwd_t *w, uint64_t now_ns) {
    w->base.now_ns = now_ns;
    return w->neigh.waiting > 0 && packet_neigh_run(&w->neigh, &w->base, unreachable, w);
}

void packet_fwd_copied(packet_fwd_t *w, const uint64_t seed[2]) {
    packet_neigh_forget(&w->neigh, &w->base);
    packet_hold_forget(&w->hold, &w->base);
    if (w->flows != NULL) {
        packet_flow_reseed(w->flows, seed);
    }
}

uint64_t packet_fwd_deadline(const packet_fwd_t *w) { return packet_neigh_deadline(&w->neigh); }

void packet_fwd_age(packet_fwd_t *w, uint64_t now_ns) {
    w->base.now_ns = now_ns;
    packet_hold_age(&w->hold, &w->base);
}
