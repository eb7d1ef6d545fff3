// SPDX-License-Identifier: MIT
// Tuples read from packets: see packettuple.h. Every length may lie.
// Owns nothing. Context: main loop; host tests.

#include "packettuple.h"

#include <string.h>

#include "packetbytes.h"
#include "packetparse.h"

enum { TCP_MIN = 20, QUOTED_MIN = 8, ICMP_HEADER = 8, EXTENSIONS_MAX = 8 };
enum { ICMP_UNREACHABLE = 3, ICMP_ROUTER = 9, ICMP_SOLICIT = 10, ICMP_EXCEEDED = 11, ICMP_PARAMETER = 12 };
enum { ICMP_ECHO = 8, ICMP_TIMESTAMP = 13, ICMP_MASK_REPLY = 18, ICMP6_ECHO = 128, ICMP6_ECHO_REPLY = 129 };
enum { ICMP6_UNREACHABLE = 1, ICMP6_PARAMETER = 4, ICMP6_MLD = 130, ICMP6_DISCOVERY_LAST = 137, ICMP6_MLD2 = 143 };

static bool is_icmp(unsigned family, unsigned proto) { return proto == (family == 4 ? PACKET_ICMP : PACKET_ICMP6); }

// The type that answers a query, or that asked what this answers; -1: neither.
static int other_type(unsigned family, unsigned type) {
    if (family == 6) {
        return type == ICMP6_ECHO || type == ICMP6_ECHO_REPLY ? (int)(type ^ 1) : -1;
    }
    if (type == 0 || type == ICMP_ECHO) {
        return (int)(ICMP_ECHO - type);
    }
    if (type >= ICMP_TIMESTAMP && type <= ICMP_MASK_REPLY) {
        return (int)((type - ICMP_TIMESTAMP) % 2 == 0 ? type + 1 : type - 1);
    }
    return -1;
}

static packet_kind_t kind_of_icmp(unsigned family, unsigned type) {
    if (other_type(family, type) >= 0) {
        return PACKET_KIND_QUERY;
    }
    if (family == 6) {
        bool local = (type >= ICMP6_MLD && type <= ICMP6_DISCOVERY_LAST) || type == ICMP6_MLD2;
        bool error = type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER;
        return error ? PACKET_KIND_ERROR : local ? PACKET_KIND_LOCAL : PACKET_KIND_BAD;
    }
    // Redirects (5) and source quenches (4, RFC 6633) have no business behind a router.
    bool error = type == ICMP_UNREACHABLE || type == ICMP_EXCEEDED || type == ICMP_PARAMETER;
    bool local = type == ICMP_ROUTER || type == ICMP_SOLICIT;
    return error ? PACKET_KIND_ERROR : local ? PACKET_KIND_LOCAL : PACKET_KIND_BAD;
}

packet_kind_t packet_tuple_kind(const packet_tuple_t *t) {
    if (is_icmp(t->family, t->proto)) {
        return kind_of_icmp(t->family, t->dport);
    }
    return t->proto == PACKET_TCP ? PACKET_KIND_TCP : t->proto == PACKET_UDP ? PACKET_KIND_UDP : PACKET_KIND_OTHER;
}

// What stands in a transport header of which eight bytes are there.
static void read_ports(packet_tuple_t *t, const uint8_t *l4) {
    if (is_icmp(t->family, t->proto)) {
        t->sport = packet_get16(l4 + 4);
        t->dport = l4[0];
    } else if (t->proto == PACKET_TCP || t->proto == PACKET_UDP) {
        t->sport = packet_get16(l4);
        t->dport = packet_get16(l4 + 2);
    }
}

packet_kind_t packet_tuple_of(const packet_t *p, packet_tuple_t *t) {
    const packet_key_t *k = &p->key;
    bool icmp = is_icmp(k->family, k->proto), ports = icmp || k->proto == PACKET_TCP || k->proto == PACKET_UDP;
    unsigned least = k->proto == PACKET_TCP ? TCP_MIN : ports ? QUOTED_MIN : 0;
    bool empty = k->family == 6 && k->proto == PACKET_IP6_NONE;
    if (!empty && (p->l4 == NULL || p->l4_room < least)) {
        return PACKET_KIND_BAD;
    }
    if (icmp) {
        packet_kind_t kind = kind_of_icmp(k->family, p->l4[0]);
        if (kind != PACKET_KIND_QUERY) {
            return kind;
        }
    }
    memcpy(t->src, k->src, sizeof t->src);
    memcpy(t->dst, k->dst, sizeof t->dst);
    t->sport = t->dport = 0;
    t->proto = k->proto;
    t->family = k->family;
    memset(t->zero, 0, sizeof t->zero);
    if (ports) {
        read_ports(t, p->l4);
    }
    return packet_tuple_kind(t);
}

packet_tuple_t packet_tuple_reverse(const packet_tuple_t *t) {
    packet_tuple_t r = {.sport = t->dport, .dport = t->sport, .proto = t->proto, .family = t->family};
    memcpy(r.src, t->dst, sizeof r.src);
    memcpy(r.dst, t->src, sizeof r.dst);
    if (is_icmp(t->family, t->proto)) {
        r.sport = t->sport;
        r.dport = (uint16_t)other_type(t->family, t->dport);
    }
    return r;
}

bool packet_tuple_asks(const packet_tuple_t *t) {
    return t->family == 6 ? t->dport == ICMP6_ECHO : t->dport == ICMP_ECHO || t->dport % 2 != 0;
}

bool packet_tuple_chain(const uint8_t *ip6, uint32_t room, packet_ip6_chain_t *chain) {
    *chain = (packet_ip6_chain_t){.proto = ip6[6], .l4 = PACKET_IP6};
    for (unsigned n = 0; n < EXTENSIONS_MAX; n++) {
        uint8_t kind = chain->proto;
        bool fragment = kind == PACKET_IP6_FRAGMENT;
        if (!fragment && kind != PACKET_IP6_HOPOPT && kind != PACKET_IP6_ROUTING && kind != PACKET_IP6_DSTOPT &&
            kind != PACKET_IP6_AH) {
            return chain->l4 <= room;
        }
        if (chain->l4 + 8 > room) {
            return false;
        }
        const uint8_t *h = ip6 + chain->l4;
        chain->proto = h[0];
        if (fragment) {
            chain->fragment = chain->l4;
        }
        chain->l4 += fragment ? 8 : kind == PACKET_IP6_AH ? (h[1] + 2u) * 4 : (h[1] + 1u) * 8;
        if (fragment && (packet_get16(h + 2) & 0xfff8) != 0) {
            chain->later = true;
            return true;
        }
    }
    return false;
}

// The quoted header; false: it does not lead to a transport header.
static bool quoted_header(packet_quote_t *q, unsigned room) {
    packet_tuple_t *t = &q->tuple;
    if (t->family == 4) {
        unsigned header = room < PACKET_IP4_MIN ? 0 : (q->ip[0] & 15u) * 4;
        if (header < PACKET_IP4_MIN || q->ip[0] >> 4 != 4 || (packet_get16(q->ip + 6) & 0x1fff) != 0 ||
            header + QUOTED_MIN > room) {
            return false;
        }
        t->proto = q->ip[9];
        memcpy(t->src, q->ip + 12, 4);
        memcpy(t->dst, q->ip + 16, 4);
        q->l4 = q->ip + header;
        q->l4_room = (uint16_t)(room - header);
        return true;
    }
    packet_ip6_chain_t chain;
    if (room < PACKET_IP6 || q->ip[0] >> 4 != 6 || !packet_tuple_chain(q->ip, room, &chain) || chain.later ||
        chain.l4 + QUOTED_MIN > room) {
        return false;
    }
    t->proto = chain.proto;
    memcpy(t->src, q->ip + 8, 16);
    memcpy(t->dst, q->ip + 24, 16);
    q->l4 = q->ip + chain.l4;
    q->l4_room = (uint16_t)(room - chain.l4);
    return true;
}

bool packet_tuple_quoted(const packet_t *p, packet_quote_t *q) {
    memset(q, 0, sizeof *q);
    if (p->l4 == NULL || p->l4_room < ICMP_HEADER) {
        return false;
    }
    q->tuple.family = p->key.family;
    q->ip = p->l4 + ICMP_HEADER;
    if (!quoted_header(q, p->l4_room - ICMP_HEADER)) {
        return false;
    }
    if (is_icmp(q->tuple.family, q->tuple.proto) && kind_of_icmp(q->tuple.family, q->l4[0]) != PACKET_KIND_QUERY) {
        return false;
    }
    read_ports(&q->tuple, q->l4);
    return true;
}
