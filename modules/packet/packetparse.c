// SPDX-License-Identifier: MIT
// A received frame, read as Ethernet and IP: RFC 791 with the checks of RFC 1812, 5.2.2; RFC 8200. Every length may
// lie. Owns nothing. Not here: what is done with the packet (packetfwd.c). Context: main loop; host tests.

#include "packetparse.h"

#include <stdbool.h>
#include <string.h>

#include "packetbytes.h"

enum { EXTENSIONS_MAX = 8, TCP_MIN = 20, UDP_MIN = 8, ICMP_MIN = 8 };
enum { IP4_OPTION_END = 0, IP4_OPTION_NOP = 1, IP4_OPTION_LSRR = 131, IP4_OPTION_SSRR = 137 };
enum { ICMP_ECHO_REPLY = 0, ICMP_ECHO = 8, ICMP6_ECHO = 128, ICMP6_ECHO_REPLY = 129 };

// Cut the frame down to so many bytes, which it has.
static void trim(netdev_frame_t *f, uint32_t len) {
    for (unsigned i = 0; i < f->nsegs; i++) {
        if (f->seg[i].len >= len) {
            f->seg[i].len = len;
            f->nsegs = (uint16_t)(i + 1);
            return;
        }
        len -= f->seg[i].len;
    }
}

// Options have lengths that fit, and none is a source route: whoever may set the path gets around what others drop.
static bool ip4_options_ok(const uint8_t *o, unsigned len) {
    while (len > 0 && o[0] != IP4_OPTION_END) {
        unsigned size = o[0] == IP4_OPTION_NOP ? 1 : len >= 2 ? o[1] : 0;
        if (size == 0 || (size < 2 && o[0] != IP4_OPTION_NOP) || size > len || o[0] == IP4_OPTION_LSRR ||
            o[0] == IP4_OPTION_SSRR) {
            return false;
        }
        o += size;
        len -= size;
    }
    return true;
}

static packet_parsed_t parse4(packet_t *p, uint32_t first, uint32_t total) {
    packet_key_t *k = &p->key;
    const uint8_t *ip = p->ip;
    if (first < PACKET_IP4_MIN) {
        return PACKET_SPLIT;
    }
    unsigned hlen = (ip[0] & 15u) * 4, length = packet_get16(ip + 2);
    if (ip[0] >> 4 != 4 || hlen < PACKET_IP4_MIN || length < hlen || length > total) {
        return PACKET_BAD;
    }
    if (first < hlen) {
        return PACKET_SPLIT;
    }
    if (packet_fold(packet_sum(ip, hlen, 0)) != 0xffff || !ip4_options_ok(ip + PACKET_IP4_MIN, hlen - PACKET_IP4_MIN)) {
        return PACKET_BAD;
    }
    unsigned place = packet_get16(ip + 6), offset = place & 0x1fff;
    k->family = 4;
    k->proto = ip[9];
    k->ttl = ip[8];
    k->dscp = ip[1] >> 2;
    k->length = (uint16_t)length;
    k->fragment = offset > 0 ? PACKET_LATER_FRAGMENT : (place & 0x2000) != 0 ? PACKET_FIRST_FRAGMENT : PACKET_WHOLE;
    memcpy(k->src, ip + 12, 4);
    memcpy(k->dst, ip + 16, 4);
    if (offset * 8 + length - hlen > 65535u - PACKET_IP4_MIN) {
        return PACKET_BAD; // put together it would be longer than any packet
    }
    p->l4 = p->ip + hlen;
    return PACKET_PARSED;
}

// Follow the extension headers; l4 is NULL where they end beyond what can be looked at.
static void skip_extensions(packet_t *p, uint32_t room) {
    packet_key_t *k = &p->key;
    uint32_t at = PACKET_IP6;
    uint8_t next = p->ip[6];
    for (unsigned n = 0; n < EXTENSIONS_MAX; n++) {
        bool fragment = next == PACKET_IP6_FRAGMENT;
        if (!fragment && next != PACKET_IP6_HOPOPT && next != PACKET_IP6_ROUTING && next != PACKET_IP6_DSTOPT &&
            next != PACKET_IP6_AH) {
            k->proto = next;
            p->l4 = k->fragment == PACKET_LATER_FRAGMENT || next == PACKET_IP6_NONE || at > room ? NULL : p->ip + at;
            return;
        }
        k->proto = next;
        if (at + 8 > room) {
            break;
        }
        const uint8_t *h = p->ip + at;
        next = h[0];
        if (fragment) {
            unsigned place = packet_get16(h + 2);
            if ((place & 0xfff8) != 0) {
                k->fragment = PACKET_LATER_FRAGMENT;
                k->proto = next;
                break; // what follows is the middle of something
            }
            k->fragment = (place & 1) != 0 ? PACKET_FIRST_FRAGMENT : k->fragment;
        }
        at += fragment ? 8 : k->proto == PACKET_IP6_AH ? (h[1] + 2u) * 4 : (h[1] + 1u) * 8;
    }
    p->l4 = NULL;
}

static packet_parsed_t parse6(packet_t *p, uint32_t first, uint32_t total) {
    packet_key_t *k = &p->key;
    const uint8_t *ip = p->ip;
    if (first < PACKET_IP6) {
        return PACKET_SPLIT;
    }
    uint32_t length = PACKET_IP6 + packet_get16(ip + 4);
    if (ip[0] >> 4 != 6 || length > total || length > UINT16_MAX) {
        return PACKET_BAD; // jumbograms (RFC 2675) are no use on Ethernet
    }
    k->family = 6;
    k->ttl = ip[7];
    k->dscp = (uint8_t)((ip[0] & 15) << 2 | ip[1] >> 6);
    k->length = (uint16_t)length;
    k->fragment = PACKET_WHOLE;
    memcpy(k->src, ip + 8, 16);
    memcpy(k->dst, ip + 24, 16);
    skip_extensions(p, first < length ? first : length);
    return PACKET_PARSED;
}

// Ports, flags, types: of a first or only fragment whose header is there.
static void parse4th(packet_t *p, uint32_t first) {
    packet_key_t *k = &p->key;
    uint32_t end = first < k->length ? first : k->length;
    if (k->fragment == PACKET_LATER_FRAGMENT) {
        p->l4 = NULL;
    }
    if (p->l4 == NULL) {
        return;
    }
    uint32_t room = end - (uint32_t)(p->l4 - p->ip);
    bool icmp = k->proto == (k->family == 4 ? PACKET_ICMP : PACKET_ICMP6);
    unsigned least = k->proto == PACKET_TCP ? TCP_MIN : k->proto == PACKET_UDP ? UDP_MIN : icmp ? ICMP_MIN : 0;
    if (room < least) {
        p->l4 = NULL;
        return;
    }
    p->l4_room = (uint16_t)room;
    if (icmp) {
        k->icmp_type = p->l4[0];
        k->icmp_code = p->l4[1];
        bool echo = k->family == 4 ? k->icmp_type == ICMP_ECHO || k->icmp_type == ICMP_ECHO_REPLY
                                   : k->icmp_type == ICMP6_ECHO || k->icmp_type == ICMP6_ECHO_REPLY;
        k->sport = echo ? packet_get16(p->l4 + 4) : 0;
    } else if (least > 0) {
        k->sport = packet_get16(p->l4);
        k->dport = packet_get16(p->l4 + 2);
        k->tcp_flags = k->proto == PACKET_TCP ? p->l4[13] : 0;
    }
}

packet_parsed_t packet_parse(packet_t *p, netdev_frame_t *f, uint8_t in) {
    memset(p, 0, sizeof *p);
    uint32_t first = f->seg[0].len, total = packet_frame_len(f);
    if (first < PACKET_ETH) {
        return total < PACKET_ETH ? PACKET_BAD : PACKET_SPLIT;
    }
    p->frame = f;
    p->eth = f->seg[0].base;
    p->ip = p->eth + PACKET_ETH;
    p->key.in = in;
    p->key.out = PACKET_NO_CARD;
    memcpy(p->key.smac, p->eth + NETDEV_MAC_LEN, NETDEV_MAC_LEN);
    unsigned type = packet_get16(p->eth + 12);
    if (type != PACKET_TYPE_IP4 && type != PACKET_TYPE_IP6) {
        return PACKET_OTHER;
    }
    first -= PACKET_ETH;
    total -= PACKET_ETH;
    packet_parsed_t r = type == PACKET_TYPE_IP4 ? parse4(p, first, total) : parse6(p, first, total);
    if (r == PACKET_PARSED) {
        parse4th(p, first);
        trim(f, PACKET_ETH + p->key.length);
    }
    return r;
}
