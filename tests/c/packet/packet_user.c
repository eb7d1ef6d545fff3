// SPDX-License-Identifier: MIT
// The packet engine with three cards in memory, whose networks are 10.N.0.0/16 and 2001:db8:N::/64. Commands:
//   route FAMILY HEX BITS CARD HEX|-, unroute FAMILY HEX BITS: 0 or -errno    find FAMILY HEX: a hop or "none"
//   routes FAMILY: all    empty LIMIT, bytes: of the table    neighbour CARD FAMILY HEX MAC
//   card N MTU FEATURES UP ROOM
//   frame CARD CSUM_START CSUM_OFFSET GSO GSO_SIZE HEX [HEX...], a piece each: what was sent, asked or came in for this
//   machine after it had waited, then "passed", "dropped" or "kept"
//   run NS: the clock goes on, what waits is looked at    left: what is in flight has left
//   rules HEX: a program, "-" for none    track FLOWS    sends CARD HEX: what this machine does
//   bridge CARDS FILTER: a bridge of these cards, a bit each, whose own one is the fourth
//   copies: of fragments that may still be made    age: those that wait in vain are given up
//   copied SEED SEED: the machine is a copy of another one
//   count NAME    lent: frames that were not given back    fuzz SEED COUNT
// Each piece of a received frame is a heap block of its size. Context: a process on the host, under sanitizers.

#include "../port/talk.h"

#include "modules/packet/packetbridge.h"
#include "modules/packet/packetbytes.h"
#include "modules/packet/packetfwd.h"
#include "modules/packet/packetsend.h"
#include "port/hal/hal.h"

TALK_PANIC(abort())

enum { CARDS = 3, LENT_MAX = 96, FLIGHT_MAX = 512, KNOWN_MAX = 64 };

typedef struct {
    uint8_t *piece[NETDEV_MAX_SEGS];
    unsigned pieces;
    unsigned card;
} lent_t;

static packet_fwd_t w;
static packet_bridge_t bridge;
static netdev_t device[CARDS];
static unsigned room[CARDS]; // frames that a card still takes
static unsigned lent;
static packet_ref_t *flight[FLIGHT_MAX];
static unsigned in_flight;
static struct {
    unsigned card, family;
    uint8_t address[16], mac[NETDEV_MAC_LEN];
} known[KNOWN_MAX];
static unsigned known_count;
static uint64_t now_ns = 1000000000;
static bool quiet;

static void check(bool ok, const char *what) {
    if (!ok) {
        printf("WRONG %s\n", what);
        fflush(stdout);
        abort();
    }
}

static bool neighbour(unsigned card, unsigned family, const uint8_t *address, uint8_t *mac) {
    for (unsigned i = 0; i < known_count; i++) {
        if (known[i].card == card && known[i].family == family &&
            memcmp(known[i].address, address, family == 4 ? 4 : 16) == 0) {
            memcpy(mac, known[i].mac, NETDEV_MAC_LEN);
            return true;
        }
    }
    return false;
}

static void ask(unsigned card, unsigned family, const uint8_t *address) {
    if (!quiet) {
        printf("ask %u %u ", card, family);
        talk_print_bytes(address, family == 4 ? 4 : 16);
    }
}

static bool keep(unsigned card, unsigned pieces) {
    check(card < CARDS && pieces > 0 && pieces <= NETDEV_MAX_SEGS, "kept");
    bool ok = lent < LENT_MAX;
    lent += ok;
    return ok;
}

static void hand_in(unsigned card, const netdev_frame_t *f) {
    check(f->nsegs == 1 && card < CARDS, "a copy");
    if (!quiet) {
        printf("in %u ", card);
        talk_print_bytes(f->seg[0].base, f->seg[0].len);
    }
}

static void free_lent(lent_t *l) {
    for (unsigned i = 0; i < l->pieces; i++) {
        free(l->piece[i]);
    }
    free(l);
}

static void give_back(unsigned card, void *cookie, unsigned pieces) {
    check(pieces > 0 && pieces <= ((lent_t *)cookie)->pieces, "pieces");
    check(((lent_t *)cookie)->card == card, "given back to another card");
    free_lent(cookie);
    check(lent > 0, "given back twice");
    lent--;
}

static int send(unsigned card, netdev_frame_t *f) {
    const netdev_t *d = &device[card];
    uint32_t total = packet_frame_len(f);
    bool tagged = packet_get16((const uint8_t *)f->seg[0].base + 12) == 0x8100;
    check(f->nsegs > 0 && f->nsegs <= NETDEV_MAX_SEGS, "number of pieces");
    check(!f->csum_needed || (d->features & NETDEV_F_TX_CSUM) != 0, "checksum of a card that makes none");
    check(!f->csum_needed || (uint32_t)f->csum_start + f->csum_offset + 2 <= total, "place of the checksum");
    check(f->gso == NETDEV_GSO_NONE || (d->features & (NETDEV_F_TX_TSO4 << (f->gso - 1))) != 0, "cutting");
    check(f->gso == NETDEV_GSO_NONE ? total <= d->mtu + (tagged ? 18u : 14u)
                                    : f->gso_size > 0 && f->hdr_len < total && f->csum_needed,
          "length");
    if (room[card] == 0 || in_flight == FLIGHT_MAX) {
        return -EAGAIN;
    }
    room[card]--;
    uint8_t *all = malloc(total);
    uint32_t at = 0;
    for (unsigned i = 0; i < f->nsegs; i++) {
        memcpy(all + at, f->seg[i].base, f->seg[i].len);
        at += f->seg[i].len;
    }
    if (!quiet) {
        printf("sent %u %u %u %u %u %u ", card, f->csum_needed ? f->csum_start : 0, f->csum_needed ? f->csum_offset : 0,
               f->gso, f->gso_size, f->hdr_len);
        talk_print_bytes(all, total);
    }
    free(all);
    flight[in_flight++] = f->cookie;
    return 0;
}

static void all_left(void) {
    while (in_flight > 0) {
        packet_send_done(&w.base, flight[--in_flight]);
    }
}

static void start(void) {
    static const packet_host_t host = {neighbour, ask, keep, give_back, send, hand_in};
    check(packet_fwd_init(&w, &host, 16u << 20), "no memory");
    for (unsigned i = 0; i < CARDS; i++) {
        packet_card_t *c = &w.base.card[i];
        device[i].mtu = 1500;
        room[i] = 1000000;
        *c = (packet_card_t){.dev = &device[i], .up = true};
        memcpy(c->mac, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)i}, NETDEV_MAC_LEN);
        memcpy(c->ip4, (uint8_t[]){10, (uint8_t)i, 0, 1}, 4);
        memcpy(c->ip6, (uint8_t[16]){0x20, 1, 0x0d, 0xb8, 0, (uint8_t)i, [15] = 1}, 16);
        packet_hop_t hop = {.kind = PACKET_ROUTE_LOCAL, .card = (uint8_t)i};
        check(packet_route_add(&w.routes, 4, c->ip4, 32, &hop) == 0, "route");
        check(packet_route_add(&w.routes, 6, c->ip6, 128, &hop) == 0, "route");
        hop.kind = PACKET_ROUTE_CONNECTED;
        check(packet_route_add(&w.routes, 4, (uint8_t[]){10, (uint8_t)i, 0, 0}, 16, &hop) == 0, "route");
        check(packet_route_add(&w.routes, 6, (uint8_t[16]){0x20, 1, 0x0d, 0xb8, 0, (uint8_t)i}, 64, &hop) == 0,
              "route");
        hop.kind = PACKET_ROUTE_BROADCAST;
        check(packet_route_add(&w.routes, 4, (uint8_t[]){10, (uint8_t)i, 255, 255}, 32, &hop) == 0, "route");
    }
}

static void address(const talk_t *t, int i, uint8_t *out) {
    size_t len;
    uint8_t *p = talk_bytes(t, i, &len);
    memset(out, 0, 16);
    memcpy(out, p, len < 16 ? len : 16);
    free(p);
}

static void print_hop(void *arg, const uint8_t *prefix, unsigned bits, const packet_hop_t *hop) {
    unsigned size = *(unsigned *)arg == 4 ? 4 : 16;
    if (prefix != NULL) {
        for (unsigned i = 0; i < size; i++) {
            printf("%02x", prefix[i]);
        }
        printf("/%u ", bits);
    }
    printf("%u %u ", hop->card, hop->kind);
    if (hop->gateway) {
        talk_print_bytes(hop->via, size);
    } else {
        printf("-\n");
    }
}

static void route(const talk_t *t) {
    uint8_t prefix[16];
    packet_hop_t hop = {.kind = PACKET_ROUTE_STATIC, .card = (uint8_t)talk_number(t, 4)};
    address(t, 2, prefix);
    hop.gateway = strcmp(t->word[5], "-") != 0;
    if (hop.gateway) {
        address(t, 5, hop.via);
    }
    printf("%d\n", packet_route_add(&w.routes, (unsigned)talk_number(t, 1), prefix, (unsigned)talk_number(t, 3), &hop));
}

static void deliver(packet_bridge_t *b, netdev_frame_t *f) {
    check(b == &bridge, "the bridge");
    if (!quiet) {
        printf("own ");
        talk_print_bytes(f->seg[0].base, f->seg[0].len);
    }
    packet_base_put(&w.base, f->cookie);
}

static void make_bridge(const talk_t *t) {
    static netdev_t own = {.mtu = 1500};
    packet_card_t *c = &w.base.card[CARDS];
    packet_bridge_init(&bridge, (uint8_t)talk_number(t, 1), CARDS);
    bridge.filter = talk_number(t, 2) != 0;
    bridge.deliver = deliver;
    *c = (packet_card_t){.dev = &own, .up = true, .mac = {2, 0, 0, 0, 0, CARDS}};
}

// A frame of these pieces, which are the engine's from here on.
static void receive(unsigned card, netdev_frame_t *f, lent_t *l) {
    f->cookie = l;
    l->card = card;
    l->pieces = f->nsegs;
    for (unsigned i = 0; i < f->nsegs; i++) {
        l->piece[i] = f->seg[i].base;
    }
    bool bridged = (bridge.members >> card & 1) != 0;
    packet_fate_t fate =
        bridged ? packet_bridge_frame(&w, &bridge, card, f, now_ns) : packet_fwd_frame(&w, card, f, now_ns);
    if (fate != PACKET_KEPT) {
        free_lent(l);
    }
    if (!quiet) {
        printf("%s\n", fate == PACKET_KEPT ? "kept" : fate == PACKET_DROPPED ? "dropped" : "passed");
    }
}

static void frame(const talk_t *t) {
    netdev_frame_t f = {0};
    f.csum_start = (uint16_t)talk_number(t, 2);
    f.csum_offset = (uint16_t)talk_number(t, 3);
    f.csum_needed = f.csum_start != 0 || f.csum_offset != 0;
    f.gso = (uint8_t)talk_number(t, 4);
    f.gso_size = (uint16_t)talk_number(t, 5);
    for (int i = 6; i < t->n && f.nsegs < NETDEV_MAX_SEGS; i++) {
        size_t len;
        uint8_t *p = talk_bytes(t, i, &len);
        f.seg[f.nsegs++] = (netdev_seg_t){p, (uint32_t)len};
    }
    receive((unsigned)talk_number(t, 1), &f, calloc(1, sizeof(lent_t)));
}

// ---- at random ------------------------------------------------------------------------------------

static uint32_t state;
static uint32_t pick(uint32_t below) {
    state = state * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)state * below) >> 32);
}

static uint32_t make4(uint8_t *p, uint32_t size) {
    uint32_t hlen = pick(8) == 0 ? 20 + 4 * pick(11) : 20, len = size - PACKET_ETH;
    uint8_t *ip = p + PACKET_ETH;
    packet_put16(p + 12, PACKET_TYPE_IP4);
    ip[0] = (uint8_t)(0x40 | (pick(20) == 0 ? pick(16) : hlen / 4));
    packet_put16(ip + 2, pick(10) == 0 ? pick(65536) : len);
    packet_put16(ip + 6, pick(6) == 0 ? pick(65536) : 0);
    if (pick(4) == 0) { // of few datagrams, such that some have waited for another
        packet_put16(ip + 4, pick(4));
        packet_put16(ip + 6, pick(2) * 0x2000 | pick(3) * 4);
    }
    ip[8] = (uint8_t)(pick(5) == 0 ? pick(3) : 64);
    ip[9] = (uint8_t[]){PACKET_TCP, PACKET_UDP, PACKET_ICMP, 47}[pick(4)];
    memcpy(ip + 12, (uint8_t[]){10, (uint8_t)pick(4), 0, (uint8_t)(pick(9) == 0 ? 1 : 2 + pick(2))}, 4);
    memcpy(ip + 16,
           (uint8_t[]){10, (uint8_t)pick(4), (uint8_t)(pick(9) == 0 ? 255 : 0), (uint8_t)(pick(9) == 0 ? pick(4) : 2)},
           4);
    for (uint32_t i = 20; i < hlen && pick(2) == 0; i++) {
        ip[i] = (uint8_t[]){0, 1, 2, 4, 7, 130, 131, 148}[pick(8)];
    }
    memset(ip + 10, 0, 2);
    uint32_t summed = (ip[0] & 15u) * 4;
    packet_put_sum(ip + 10, packet_sum(ip, summed < len ? summed : len, 0));
    if (len > hlen + 13) {
        ip[hlen + 12] = (uint8_t)(pick(4) == 0 ? pick(256) : 0x50);
    }
    return hlen;
}

static uint32_t make6(uint8_t *p, uint32_t size) {
    static const uint8_t next[] = {0, 43, 44, 51, 60, 59, 6, 17, 58};
    uint8_t *ip = p + PACKET_ETH;
    packet_put16(p + 12, PACKET_TYPE_IP6);
    ip[0] = (uint8_t)(pick(20) == 0 ? pick(256) : 0x60);
    packet_put16(ip + 4, pick(10) == 0 ? pick(65536) : size - PACKET_ETH - PACKET_IP6);
    ip[6] = next[pick(sizeof next)];
    ip[7] = (uint8_t)(pick(5) == 0 ? pick(3) : 64);
    memcpy(ip + 8,
           (uint8_t[16]){0x20, 1, 0x0d, 0xb8, 0, (uint8_t)pick(4), [15] = (uint8_t)(pick(9) == 0 ? 1 : 2 + pick(2))},
           16);
    memcpy(ip + 24,
           (uint8_t[16]){(uint8_t)(pick(9) == 0 ? 0xfe : 0x20), 1, 0x0d, 0xb8, 0, (uint8_t)pick(4),
                         [15] = (uint8_t)(pick(9) == 0 ? pick(4) : 2)},
           16);
    for (uint32_t at = PACKET_ETH + PACKET_IP6; at + 8 < size && pick(3) != 0; at += 8) {
        p[at] = next[pick(sizeof next)];
        p[at + 1] = (uint8_t)(pick(4) == 0 ? pick(256) : 0);
    }
    return PACKET_IP6;
}

static void fuzz_one(void) {
    static uint8_t p[70000];
    uint32_t size = pick(30) == 0  ? 60000 + pick(5535)
                    : pick(4) == 0 ? PACKET_ETH + PACKET_IP4_MIN + pick(60)
                                   : 60 + pick(3000);
    unsigned card = pick(CARDS);
    for (uint32_t i = 0; i < size && i < 200; i++) {
        p[i] = (uint8_t)pick(256);
    }
    memcpy(p, w.base.card[card].mac, NETDEV_MAC_LEN);
    if (bridge.members != 0) {
        memcpy(p, (uint8_t[]){(uint8_t)(2 + (pick(6) == 0)), 0, 0, 0, 0, (uint8_t)pick(CARDS + 2)}, NETDEV_MAC_LEN);
        memcpy(p + NETDEV_MAC_LEN, (uint8_t[]){2, 0, 0, 0, 1, (uint8_t)pick(200)}, NETDEV_MAC_LEN);
    }
    uint32_t hlen = 0;
    bool v6 = pick(2) == 0 && size > PACKET_ETH + PACKET_IP6;
    if (pick(20) != 0) {
        hlen = (v6 ? make6 : make4)(p, size);
    }
    netdev_frame_t f = {0};
    f.csum_needed = pick(3) == 0;
    f.csum_start = (uint16_t)(pick(8) == 0 ? pick(65536) : pick(2) == 0 ? PACKET_ETH + hlen : 0);
    f.csum_offset = (uint16_t)(pick(9) == 0 ? pick(65536) : 16);
    f.gso = (uint8_t)(!f.csum_needed ? 0 : pick(3) != 0 ? (v6 ? NETDEV_GSO_TCP6 : NETDEV_GSO_TCP4) : pick(3));
    f.gso_size = (uint16_t)(pick(4) == 0 ? pick(65536) : f.gso != 0 ? 1 + pick(1448) : 0);
    uint32_t cut = pick(3) == 0 ? pick(size) : size, most = 1 + pick(NETDEV_MAX_SEGS);
    for (uint32_t at = 0; at < size && f.nsegs < NETDEV_MAX_SEGS; f.nsegs++) {
        uint32_t left = size - at, len = f.nsegs + 1u == most || f.nsegs + 1 == NETDEV_MAX_SEGS ? left : pick(left) + 1;
        len = f.nsegs == 0 && cut > 100 && cut < left ? cut : len;
        f.seg[f.nsegs] = (netdev_seg_t){malloc(len), len};
        memcpy(f.seg[f.nsegs].base, p + at, len);
        at += len;
    }
    receive(card, &f, calloc(1, sizeof(lent_t)));
}

static unsigned free_copies(void) {
    unsigned found = 0;
    for (const packet_ref_t *ref = w.base.pool.free[PACKET_REF_HELD]; ref != NULL; ref = ref->next) {
        found++;
    }
    return found;
}

// All that waits has its end: by an answer, or because there was none, and then the error about it has its own. Then
// everything is given back.
static void settle(void) {
    for (unsigned i = 0; i < 8; i++) {
        now_ns += 1000000000;
        packet_fwd_run(&w, now_ns);
        packet_fwd_age(&w, now_ns);
        all_left();
    }
    check(w.hold.count == 0 && (!w.can_hold || free_copies() == 40), "a copy was not given back");
    check(lent == 0, "a frame was not given back");
    check(w.neigh.waiting == 0 && packet_fwd_deadline(&w) == UINT64_MAX, "something still waits");
}

static void fuzz(const talk_t *t) {
    state = (uint32_t)talk_number(t, 1);
    quiet = true;
    for (uint64_t n = talk_number(t, 2); n > 0; n--) {
        fuzz_one();
        now_ns += pick(2000000);
        if (pick(10) == 0) {
            all_left();
        }
        if (pick(50) == 0) {
            packet_fwd_run(&w, now_ns);
        }
        if (pick(100) == 0) {
            unsigned card = pick(CARDS);
            device[card].features = pick(16);
            device[card].features |= (device[card].features & 6) != 0 ? NETDEV_F_TX_CSUM : 0;
            device[card].mtu = (uint16_t)(pick(4) == 0 ? 68 + pick(1000) : 1280 + pick(700));
            room[card] = pick(8) == 0 ? 0 : 1000000;
            w.base.card[card].up = pick(8) != 0;
        }
        if (n % 5000 == 0) {
            settle();
        }
    }
    settle();
    printf("%llu %llu %llu %llu\n", (unsigned long long)w.base.count[PACKET_N_FORWARDED],
           (unsigned long long)w.base.count[PACKET_N_SEGMENTED], (unsigned long long)w.base.count[PACKET_N_FRAGMENTED],
           (unsigned long long)w.base.count[PACKET_N_ICMP]);
}

static void know(const talk_t *t) {
    size_t len;
    uint8_t *mac = talk_bytes(t, 4, &len);
    check(known_count < KNOWN_MAX && len == NETDEV_MAC_LEN, "neighbour");
    known[known_count].card = (unsigned)talk_number(t, 1);
    known[known_count].family = (unsigned)talk_number(t, 2);
    address(t, 3, known[known_count].address);
    memcpy(known[known_count++].mac, mac, len);
    free(mac);
}

static void use_rules(const talk_t *t) {
    size_t len;
    uint8_t *program = talk_bytes(t, 1, &len);
    packet_rules_t *made = NULL;
    if (len > 0) {
        void *memory = malloc(packet_rules_room(program, len));
        made = packet_rules_load(memory, program, len, packet_rules_in_use(), NULL);
        check(made != NULL, "no program");
    }
    free(packet_rules_use(made));
    free(program);
}

static void track(uint32_t flows) {
    free(w.flows);
    packet_fwd_track(&w,
                     flows == 0 ? NULL : packet_flow_init(malloc(packet_flow_size(flows)), flows, (uint64_t[]){1, 2}));
}

static void sends(const talk_t *t) {
    size_t len;
    uint8_t *data = talk_bytes(t, 2, &len);
    netdev_frame_t f = {.nsegs = 1};
    f.seg[0] = (netdev_seg_t){data, (uint32_t)len};
    packet_fwd_sent(&w, (unsigned)talk_number(t, 1), &f, now_ns);
    free(data);
}

static void command(const talk_t *t) {
    unsigned family = (unsigned)talk_number(t, 1);
    uint8_t a[16];
    if (talk_is(t, "route")) {
        route(t);
    } else if (talk_is(t, "unroute")) {
        address(t, 2, a);
        printf("%d\n", packet_route_remove(&w.routes, family, a, (unsigned)talk_number(t, 3)));
    } else if (talk_is(t, "find")) {
        address(t, 2, a);
        const packet_hop_t *hop = packet_route_find(&w.routes, family, a);
        if (hop == NULL) {
            printf("none\n");
        } else {
            print_hop(&family, NULL, 0, hop);
        }
    } else if (talk_is(t, "routes")) {
        packet_route_walk(&w.routes, family, print_hop, &family);
    } else if (talk_is(t, "empty")) {
        packet_routes_free(&w.routes);
        check(packet_routes_init(&w.routes, (size_t)talk_number(t, 1)), "no memory");
    } else if (talk_is(t, "bytes")) {
        printf("%u %zu\n", w.routes.count, w.routes.bytes);
    } else if (talk_is(t, "neighbour")) {
        know(t);
    } else if (talk_is(t, "card")) {
        unsigned n = (unsigned)talk_number(t, 1);
        device[n].mtu = (uint16_t)talk_number(t, 2);
        device[n].features = (uint32_t)talk_number(t, 3);
        w.base.card[n].up = talk_number(t, 4) != 0;
        room[n] = (unsigned)talk_number(t, 5);
    } else if (talk_is(t, "bare")) {
        memset(w.base.card[talk_number(t, 1)].ip4, 0, 4);
    } else if (talk_is(t, "frame")) {
        frame(t);
    } else if (talk_is(t, "rules")) {
        use_rules(t);
    } else if (talk_is(t, "track")) {
        track((uint32_t)talk_number(t, 1));
    } else if (talk_is(t, "sends")) {
        sends(t);
    } else if (talk_is(t, "run")) {
        now_ns += talk_number(t, 1);
        packet_fwd_run(&w, now_ns);
    } else if (talk_is(t, "bridge")) {
        make_bridge(t);
    } else if (talk_is(t, "copies")) {
        printf("%u\n", free_copies());
    } else if (talk_is(t, "age")) {
        packet_fwd_age(&w, now_ns);
    } else if (talk_is(t, "copied")) {
        packet_fwd_copied(&w, (uint64_t[]){talk_number(t, 1), talk_number(t, 2)});
    } else if (talk_is(t, "left")) {
        all_left();
    } else if (talk_is(t, "lent")) {
        printf("%u\n", lent);
    } else if (talk_is(t, "count")) {
        for (unsigned i = 0; i < PACKET_N_COUNT; i++) {
            if (strcmp(packet_stat_names[i], t->word[1]) == 0) {
                printf("%llu\n", (unsigned long long)w.base.count[i]);
            }
        }
    } else if (talk_is(t, "fuzz")) {
        fuzz(t);
    }
}

int main(void) {
    start();
    return talk(command);
}
