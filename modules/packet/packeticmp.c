// SPDX-License-Identifier: MIT
// ICMP errors for IPv4 (RFC 792, RFC 1191, RFC 1812, 4.3.2) and IPv6 (RFC 4443). Owns nothing. Not here: sending them
// (packetfwd.c). Context: main loop; host tests.

#include "packeticmp.h"

#include <string.h>

#include "packetbuf.h"
#include "packetbytes.h"

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16, TCP_HEAD = 20 };
enum {
    HOPS = 64,
    QUOTE4_MAX = 576,
    QUOTE6_MAX = 1280,
    ICMP_HEAD = 8
}; // of the whole error: RFC 1812, 4.3.2.3; RFC 4443, 2.4
_Static_assert(PACKET_ETH + QUOTE6_MAX <= (int)PACKET_LARGE_ROOM, "an error fits");

static const struct {
    uint8_t type4, code4, type6, code6;
} errors[] = {
    [PACKET_ERROR_TTL] = {11, 0, 3, 0},    [PACKET_ERROR_NO_ROUTE] = {3, 0, 1, 0}, [PACKET_ERROR_HOST] = {3, 1, 1, 3},
    [PACKET_ERROR_TOO_BIG] = {3, 4, 2, 0}, [PACKET_ERROR_ADMIN] = {3, 13, 1, 1},   [PACKET_ERROR_PORT] = {3, 3, 1, 4},
    [PACKET_ERROR_NET] = {3, 0, 1, 0},
};

bool packet_bucket_take(packet_bucket_t *l, uint64_t now_ns) {
    uint64_t more = (now_ns - l->since_ns) / (1000000000ull / PACKET_ERRORS_PER_S);
    if (more > 0) {
        l->left = more > PACKET_ERRORS_BURST - l->left ? PACKET_ERRORS_BURST : l->left + (uint32_t)more;
        l->since_ns = now_ns;
    }
    if (l->left == 0) {
        return false;
    }
    l->left--;
    return true;
}

// An ICMP error, or ICMP of a kind that cannot be seen.
static bool about_error(const packet_key_t *k, bool seen) {
    if (k->family == 4) {
        return k->proto == PACKET_ICMP &&
               (!seen || (k->icmp_type != 0 && k->icmp_type != 8 && (k->icmp_type < 13 || k->icmp_type > 18)));
    }
    return k->proto == PACKET_ICMP6 && (!seen || k->icmp_type < 128);
}

bool packet_icmp_may(const packet_t *p) {
    const packet_key_t *k = &p->key;
    if ((p->eth[0] & 1) != 0 || k->fragment == PACKET_LATER_FRAGMENT || about_error(k, p->l4 != NULL)) {
        return false;
    }
    if (k->family == 4) {
        return k->src[0] != 0 && k->src[0] != 127 && k->src[0] < 224 && k->dst[0] < 224;
    }
    static const uint8_t nobody[16];
    return k->src[0] != 0xff && k->dst[0] != 0xff && memcmp(k->src, nobody, sizeof nobody) != 0;
}

// The first bytes of the frame from `skip` on, at most `room` of them.
static uint32_t copy_out(uint8_t *to, const netdev_frame_t *f, uint32_t skip, uint32_t room) {
    uint32_t done = 0;
    for (unsigned i = 0; i < f->nsegs && done < room; i++) {
        uint32_t len = f->seg[i].len;
        if (len <= skip) {
            skip -= len;
            continue;
        }
        uint32_t part = len - skip < room - done ? len - skip : room - done;
        memcpy(to + done, (const uint8_t *)f->seg[i].base + skip, part);
        done += part;
        skip = 0;
    }
    return done;
}

static void head4(uint8_t *ip, uint8_t proto, uint32_t len, const uint8_t *source, const uint8_t *to) {
    memset(ip, 0, PACKET_IP4_MIN);
    ip[0] = 0x45;
    packet_put16(ip + 2, len);
    ip[6] = 0x40; // no fragment, so that it needs no identification (RFC 6864)
    ip[8] = HOPS;
    ip[9] = proto;
    memcpy(ip + 12, source, 4);
    memcpy(ip + 16, to, 4);
}

static void head6(uint8_t *ip, uint8_t proto, uint32_t len, const uint8_t *source, const uint8_t *to) {
    memset(ip, 0, PACKET_IP6);
    ip[0] = 0x60;
    packet_put16(ip + 4, len - PACKET_IP6);
    ip[6] = proto;
    ip[7] = HOPS;
    memcpy(ip + 8, source, 16);
    memcpy(ip + 24, to, 16);
}

static uint32_t make4(uint8_t *ip, const packet_t *p, packet_error_t error, uint16_t mtu, const uint8_t *source) {
    uint8_t *icmp = ip + PACKET_IP4_MIN;
    uint32_t quoted = copy_out(icmp + ICMP_HEAD, p->frame, PACKET_ETH, QUOTE4_MAX - PACKET_IP4_MIN - ICMP_HEAD);
    uint32_t len = PACKET_IP4_MIN + ICMP_HEAD + quoted;
    head4(ip, PACKET_ICMP, len, source, p->key.src);
    memset(icmp, 0, ICMP_HEAD);
    ip[1] = 0xc0; // internetwork control (RFC 1812, 4.3.2.5)
    packet_put_sum(ip + 10, packet_sum(ip, PACKET_IP4_MIN, 0));
    icmp[0] = errors[error].type4;
    icmp[1] = errors[error].code4;
    packet_put16(icmp + 6, mtu);
    packet_put_sum(icmp + 2, packet_sum(icmp, ICMP_HEAD + quoted, 0));
    return len;
}

static uint32_t make6(uint8_t *ip, const packet_t *p, packet_error_t error, uint16_t mtu, const uint8_t *source) {
    uint8_t *icmp = ip + PACKET_IP6, pseudo[8] = {0, 0, 0, 0, 0, 0, 0, PACKET_ICMP6};
    uint32_t quoted = copy_out(icmp + ICMP_HEAD, p->frame, PACKET_ETH, QUOTE6_MAX - PACKET_IP6 - ICMP_HEAD);
    head6(ip, PACKET_ICMP6, PACKET_IP6 + ICMP_HEAD + quoted, source, p->key.src);
    memset(icmp, 0, ICMP_HEAD);
    icmp[0] = errors[error].type6;
    icmp[1] = errors[error].code6;
    packet_put16(icmp + 6, mtu);
    packet_put16(pseudo + 2, ICMP_HEAD + quoted);
    uint64_t sum = packet_sum(pseudo, sizeof pseudo, packet_sum(ip + 8, 32, 0));
    packet_put_sum(icmp + 2, packet_sum(icmp, ICMP_HEAD + quoted, sum));
    return PACKET_IP6 + ICMP_HEAD + quoted;
}

uint32_t packet_icmp_make(uint8_t *out, const packet_t *p, packet_error_t error, uint16_t mtu, const uint8_t *source) {
    bool v6 = p->key.family == 6;
    packet_put16(out + 12, v6 ? PACKET_TYPE_IP6 : PACKET_TYPE_IP4);
    return PACKET_ETH + (v6 ? make6 : make4)(out + PACKET_ETH, p, error, mtu, source);
}

uint32_t packet_icmp_reset(uint8_t *out, const packet_t *p) {
    const uint8_t *tcp = p->l4;
    if (p->key.proto != PACKET_TCP || tcp == NULL || (tcp[13] & TCP_RST) != 0) {
        return 0;
    }
    bool v6 = p->key.family == 6, acked = (tcp[13] & TCP_ACK) != 0;
    uint8_t *ip = out + PACKET_ETH, *to = ip + (v6 ? PACKET_IP6 : PACKET_IP4_MIN);
    uint32_t len = (uint32_t)(to - ip) + TCP_HEAD;
    uint32_t payload = p->key.length - (uint32_t)(tcp - p->ip), own = tcp[12] / 16 * 4u;
    uint32_t used = (payload > own ? payload - own : 0) + ((tcp[13] & TCP_SYN) != 0) + (tcp[13] & TCP_FIN);
    packet_put16(out + 12, v6 ? PACKET_TYPE_IP6 : PACKET_TYPE_IP4);
    (v6 ? head6 : head4)(ip, PACKET_TCP, len, p->key.dst, p->key.src);
    memset(to, 0, TCP_HEAD);
    memcpy(to, tcp + 2, 2);
    memcpy(to + 2, tcp, 2);
    packet_put32(to + 4, acked ? packet_get32(tcp + 8) : 0);
    packet_put32(to + 8, acked ? 0 : packet_get32(tcp + 4) + used);
    to[12] = TCP_HEAD / 4 << 4;
    to[13] = acked ? TCP_RST : TCP_RST | TCP_ACK;
    uint8_t tail[4] = {0, PACKET_TCP, 0, TCP_HEAD};
    uint64_t sum = packet_sum(tail, sizeof tail, v6 ? packet_sum(ip + 8, 32, 0) : packet_sum(ip + 12, 8, 0));
    packet_put_sum(to + 16, packet_sum(to, TCP_HEAD, sum));
    if (!v6) {
        packet_put_sum(ip + 10, packet_sum(ip, PACKET_IP4_MIN, 0));
    }
    return PACKET_ETH + len;
}
