// SPDX-License-Identifier: MIT
// NAT44: see packetnat.h. Owns nothing. Context: main loop; host tests.

#include "packetnat.h"

#include <errno.h>
#include <string.h>

#include "packetbytes.h"
#include "packetparse.h"
#include "packetsum.h"
#include "packettable.h"

enum {
    IP4_SUM = 10,
    IP4_SRC = 12,
    IP4_DST = 16,
    TCP_SUM = 16,
    UDP_SUM = 6,
    ICMP_SUM = 2,
    ICMP_ID = 4,
    ICMP_ECHO_REPLY = 0,
    ICMP_ECHO = 8
};
enum { DCCP = 33, UDP_LITE = 136 };
// Ports behind 32767 are those of this machine's own connections (modules/lwip/netrand.c); identifiers are free.
enum { PORT_FIRST = 1024, PORT_LAST = 32767, TRIES = 256 };

// ---- what a flow is translated to -----------------------------------------------------------------

static bool is_new(const packet_look_t *look) {
    return look->state == PACKET_NEW && look->flow == NULL && look->tuple[0].family == 4;
}

static bool makes_sense(const packet_nat_t *to) {
    return to->bits <= 32 && to->first <= to->last && (to->first > 0) == (to->last > 0);
}

// The first bits of one address and the rest of the other.
static void join(uint8_t out[4], const packet_nat_t *to, const uint8_t *rest) {
    uint32_t mask = to->bits == 0 || to->bits >= 32 ? 0 : UINT32_MAX >> to->bits; // of what stays
    packet_put32(out, (packet_get32(to->address) & ~mask) | (packet_get32(rest) & mask));
}

static bool has_ports(packet_kind_t kind) { return kind == PACKET_KIND_TCP || kind == PACKET_KIND_UDP; }

int packet_nat_dst(packet_flows_t *t, packet_look_t *look, const packet_nat_t *to) {
    packet_tuple_t *reply = &look->tuple[1];
    if (!is_new(look) || !makes_sense(to)) {
        return -EINVAL;
    }
    join(reply->src, to, look->tuple[0].dst);
    if (!has_ports(packet_tuple_kind(reply)) || to->last == 0) {
        return 0;
    }
    uint32_t count = to->last - to->first + 1u, port = look->tuple[0].dport;
    if (to->base != 0) {
        port = to->first + (uint16_t)(port - to->base) % count;
    } else if (port < to->first || port > to->last) {
        port = to->first + packet_table_draw(t) % count;
    }
    reply->sport = (uint16_t)port;
    return 0;
}

// Whether replies of this tuple are another flow's. One that is over gives its tuples to the packet that was looked at.
static bool taken(packet_flows_t *t, const packet_look_t *look, const packet_tuple_t *reply) {
    uint8_t dir;
    packet_flow_t *f = packet_table_find(t, reply, &dir);
    return (f != NULL && f != look->over) || memcmp(reply, &look->tuple[0], sizeof *reply) == 0;
}

static uint32_t place_of(const packet_flows_t *t, const packet_tuple_t *from, const packet_tuple_t *reply) {
    uint64_t words[3] = {(uint64_t)packet_get32(from->src) << 32 | packet_get32(reply->dst),
                         (uint64_t)from->sport << 8 | from->proto, 0};
    return (uint32_t)packet_table_hash(t, words, 3);
}

// Find a port for the replies. A small range is looked through, of a large one some are tried by chance.
static bool choose(packet_flows_t *t, const packet_look_t *look, packet_tuple_t *reply, uint32_t first, uint32_t last) {
    uint16_t *port = packet_tuple_kind(reply) == PACKET_KIND_QUERY ? &reply->sport : &reply->dport;
    uint32_t count = last - first + 1, place = place_of(t, &look->tuple[0], reply);
    for (unsigned i = 0; i < TRIES && i < count; i++) {
        *port = (uint16_t)(first + place % count);
        if (!taken(t, look, reply)) {
            return true;
        }
        place = count <= TRIES ? place % count + 1 : packet_table_draw(t);
    }
    return false;
}

int packet_nat_src(packet_flows_t *t, packet_look_t *look, const packet_nat_t *to) {
    packet_tuple_t reply = look->tuple[1];
    packet_kind_t kind = packet_tuple_kind(&reply);
    if (!is_new(look) || (to != NULL && !makes_sense(to))) {
        return -EINVAL;
    }
    if (to != NULL) {
        join(reply.dst, to, look->tuple[0].src);
    }
    bool fixed = (to != NULL && to->keep) || (!has_ports(kind) && kind != PACKET_KIND_QUERY);
    bool found = (fixed || to == NULL) && !taken(t, look, &reply);
    if (!found && !fixed) {
        bool any = to == NULL || to->last == 0, query = kind == PACKET_KIND_QUERY;
        uint32_t first = query ? 0 : PORT_FIRST, last = query ? UINT16_MAX : PORT_LAST;
        found = choose(t, look, &reply, any ? first : to->first, any ? last : to->last);
    }
    if (!found) {
        t->stats.ports_exhausted++;
        return -EADDRINUSE;
    }
    look->tuple[1] = reply;
    return 0;
}

// ---- packets -------------------------------------------------------------------------------------

// Ports of a transport header, or a query's identifier. which: those that are to be put.
static packet_change_t put_ports(uint8_t *l4, packet_kind_t kind, unsigned which, uint16_t sport, uint16_t dport) {
    packet_change_t change = 0;
    if (kind == PACKET_KIND_QUERY) {
        return packet_sum_put16(change, l4 + ICMP_ID, sport);
    }
    if (has_ports(kind) && (which & PACKET_NAT_SRC) != 0) {
        change = packet_sum_put16(change, l4, sport);
    }
    if (has_ports(kind) && (which & PACKET_NAT_DST) != 0) {
        change = packet_sum_put16(change, l4 + 2, dport);
    }
    return change;
}

// Where the checksum over a pseudo-header is; 0: there is none.
static unsigned sum_at(unsigned proto) {
    return proto == PACKET_TCP ? TCP_SUM : proto == PACKET_UDP || proto == UDP_LITE || proto == DCCP ? UDP_SUM : 0;
}

// Mend a transport checksum, if it is there. Returns what that changed.
static packet_change_t mend_l4(uint8_t *l4, unsigned room, unsigned proto, packet_change_t addresses,
                               packet_change_t ports) {
    unsigned at = proto == PACKET_ICMP ? ICMP_SUM : sum_at(proto);
    if (at == 0 || at + 2 > room) {
        return 0;
    }
    return packet_sum_mend(l4 + at, proto == PACKET_ICMP ? ports : addresses + ports,
                           proto == PACKET_UDP ? PACKET_SUM_UDP : PACKET_SUM_PLAIN);
}

// Whether a device completes the transport checksum: then it is the pseudo-header's alone.
static bool is_partial(const packet_t *p) {
    const netdev_frame_t *f = p->frame;
    return f->csum_needed && f->csum_start == p->l4 - (const uint8_t *)f->seg[0].base &&
           f->csum_offset == sum_at(p->key.proto) && f->csum_offset + 2u <= p->l4_room;
}

// Put the addresses of an IPv4 header, NULL: as it is.
static packet_change_t put_addresses(uint8_t *ip, const uint8_t *src, const uint8_t *dst) {
    packet_change_t change = 0;
    if (src != NULL) {
        change = packet_sum_put(change, ip + IP4_SRC, src, 4);
    }
    if (dst != NULL) {
        change = packet_sum_put(change, ip + IP4_DST, dst, 4);
    }
    return change;
}

// The packet in an error becomes what its sender has sent, and the error's own checksum covers all of that.
static void translate_quote(packet_t *p, const packet_tuple_t *sent) {
    packet_quote_t q;
    if (!packet_tuple_quoted(p, &q)) {
        return; // look has seen that it is there
    }
    packet_change_t addresses = put_addresses(q.ip, sent->src, sent->dst);
    packet_change_t all = addresses + packet_sum_mend(q.ip + IP4_SUM, addresses, PACKET_SUM_PLAIN);
    packet_change_t ports =
        put_ports(q.l4, packet_tuple_kind(sent), PACKET_NAT_DST | PACKET_NAT_SRC, sent->sport, sent->dport);
    all += ports + mend_l4(q.l4, q.l4_room, sent->proto, addresses, ports);
    (void)packet_sum_mend(p->l4 + ICMP_SUM, all, PACKET_SUM_PLAIN);
}

static void translate_l4(packet_t *p, const packet_tuple_t *out, packet_change_t addresses, unsigned which) {
    packet_change_t ports = put_ports(p->l4, packet_tuple_kind(out), which, out->sport, out->dport);
    if (is_partial(p)) {
        (void)packet_sum_mend(p->l4 + sum_at(p->key.proto), addresses, PACKET_SUM_PARTIAL);
    } else {
        (void)mend_l4(p->l4, p->l4_room, p->key.proto, addresses, ports);
    }
    if (has_ports(packet_tuple_kind(out))) {
        p->key.sport = (which & PACKET_NAT_SRC) != 0 ? out->sport : p->key.sport;
        p->key.dport = (which & PACKET_NAT_DST) != 0 ? out->dport : p->key.dport;
    } else if (p->key.proto == PACKET_ICMP && (p->key.icmp_type == ICMP_ECHO || p->key.icmp_type == ICMP_ECHO_REPLY)) {
        p->key.sport = out->sport;
    }
}

// What of a reply is translated.
static unsigned undone(unsigned nat) {
    return ((nat & PACKET_NAT_DST) != 0 ? PACKET_NAT_SRC : 0) | ((nat & PACKET_NAT_SRC) != 0 ? PACKET_NAT_DST : 0);
}

// Put a tuple, of ports too where they are.
static void put(packet_t *p, const packet_tuple_t *out, unsigned which) {
    bool src = (which & PACKET_NAT_SRC) != 0, dst = (which & PACKET_NAT_DST) != 0;
    packet_change_t addresses = put_addresses(p->ip, src ? out->src : NULL, dst ? out->dst : NULL);
    (void)packet_sum_mend(p->ip + IP4_SUM, addresses, PACKET_SUM_PLAIN);
    if (src) {
        memcpy(p->key.src, out->src, sizeof p->key.src);
    }
    if (dst) {
        memcpy(p->key.dst, out->dst, sizeof p->key.dst);
    }
    if (p->key.state != PACKET_RELATED && p->key.fragment != PACKET_LATER_FRAGMENT && p->l4 != NULL) {
        translate_l4(p, out, addresses, which);
    }
}

static bool is_translated(const packet_t *p, const packet_look_t *look) {
    return p->key.family == 4 && (look->flow == NULL ? look->state == PACKET_NEW : look->flow->nat != 0);
}

void packet_nat_translate(packet_t *p, const packet_look_t *look, unsigned which) {
    if (!is_translated(p, look)) {
        return;
    }
    const packet_flow_t *f = look->flow;
    bool error = look->state == PACKET_RELATED;
    if (f != NULL && !error) {
        which &= look->dir == PACKET_DIR_FIRST ? f->nat : undone(f->nat);
        if (which == 0) {
            return; // the other end alone is translated
        }
    }
    const packet_tuple_t *tuple = f == NULL ? look->tuple : f->tuple;
    packet_tuple_t out = packet_tuple_reverse(&tuple[!look->dir]);
    if (error && (which & PACKET_NAT_DST) != 0) {
        translate_quote(p, &tuple[!look->dir]);
    }
    if (error && memcmp(tuple[look->dir].src, out.src, sizeof out.src) == 0) {
        which &= ~(unsigned)PACKET_NAT_SRC; // of whatever router on the way it is
    }
    put(p, &out, which);
}

void packet_nat_restore(packet_t *p, const packet_look_t *look) {
    if (is_translated(p, look) && look->state != PACKET_RELATED) {
        const packet_tuple_t *tuple = look->flow == NULL ? look->tuple : look->flow->tuple;
        put(p, &tuple[look->dir], PACKET_NAT_DST | PACKET_NAT_SRC);
    }
}
