// SPDX-License-Identifier: MIT
// The last step: a frame goes to the card as it is, or as the card can take it. TCP that a card does not cut is cut
// here, as it would (the headers anew for each piece, the payload where it lies); IPv4 fragments: RFC 791, 3.2.
// Owns nothing. Not here: routes, neighbours (packetfwd.c, packetneigh.c). Context: main loop; host tests.

#include "packetsend.h"

#include <errno.h>
#include <string.h>

#include "packetbytes.h"
#include "packetparse.h"

enum { TCP_FIN_PSH = 0x09, TCP_CWR = 0x80, TCP_SUM_AT = 16, MORE_FRAGMENTS = 0x2000, OPTION_COPIED = 0x80 };

static bool can_cut(const packet_card_t *c, const netdev_frame_t *f) {
    uint32_t feature = f->gso == NETDEV_GSO_TCP4 ? NETDEV_F_TX_TSO4 : NETDEV_F_TX_TSO6;
    return (c->dev->features & feature) != 0 && (c->dev->features & NETDEV_F_TX_CSUM) != 0;
}

// Sum the frame from `skip` on.
static uint64_t sum_from(const netdev_frame_t *f, uint32_t skip) {
    uint64_t sum = 0;
    bool odd = false;
    for (unsigned i = 0; i < f->nsegs; i++) {
        uint32_t len = f->seg[i].len;
        if (len <= skip) {
            skip -= len;
            continue;
        }
        uint16_t part = packet_fold(packet_sum((const uint8_t *)f->seg[i].base + skip, len - skip, 0));
        sum += odd ? (uint16_t)(part << 8 | part >> 8) : part; // it begins at an odd place of the whole
        odd ^= ((len - skip) & 1) != 0;
        skip = 0;
    }
    return sum;
}

// Complete a checksum that was left to the device. Its place lies in the first piece, or it is left as it is: whoever
// gave us the frame did not say the truth.
void packet_send_sum(netdev_frame_t *f) {
    uint32_t at = (uint32_t)f->csum_start + f->csum_offset;
    if (at + 2 <= f->seg[0].len) {
        uint8_t *sum = (uint8_t *)f->seg[0].base + at;
        packet_put_sum(sum, sum_from(f, f->csum_start));
    }
    f->csum_needed = false;
}

// Hand a frame that fits the card over to it.
static void hand_over(packet_base_t *b, unsigned card, netdev_frame_t *f) {
    if (f->csum_needed && (b->card[card].dev->features & NETDEV_F_TX_CSUM) == 0) {
        packet_send_sum(f);
    }
    if (b->host->send(card, f) != 0) {
        b->count[PACKET_N_CARD_FULL]++;
        packet_base_put(b, f->cookie);
    }
}

// A piece: `head` bytes of headers, copied, then `len` bytes of the whole from `at` on. NULL: no buffer.
static uint8_t *piece(packet_base_t *b, netdev_frame_t *out, const netdev_frame_t *whole, uint32_t head, uint32_t at,
                      uint32_t len) {
    packet_ref_t *ref = packet_ref_get(&b->pool, PACKET_REF_SMALL, whole->cookie);
    if (ref == NULL) {
        b->count[PACKET_N_NO_ROOM]++;
        return NULL;
    }
    uint8_t *copy = packet_ref_data(ref);
    memcpy(copy, whole->seg[0].base, head);
    *out = (netdev_frame_t){.nsegs = 1, .cookie = ref};
    out->seg[0] = (netdev_seg_t){copy, head};
    for (unsigned i = 0; i < whole->nsegs && len > 0 && out->nsegs < NETDEV_MAX_SEGS; i++) {
        uint32_t have = whole->seg[i].len;
        if (have <= at) {
            at -= have;
            continue;
        }
        uint32_t part = have - at < len ? have - at : len;
        out->seg[out->nsegs++] = (netdev_seg_t){(uint8_t *)whole->seg[i].base + at, part};
        len -= part;
        at = 0;
    }
    return copy;
}

static void set_ip_length(const packet_t *p, uint8_t *ip, uint32_t len) {
    if (p->key.family == 6) {
        packet_put16(ip + 4, len - PACKET_IP6);
        return;
    }
    packet_put16(ip + 2, len);
    memset(ip + 10, 0, 2);
    packet_put_sum(ip + 10, packet_sum(ip, (size_t)(ip[0] & 15) * 4, 0));
}

// The pseudo header's sum of a TCP segment, to be completed.
static void set_partial(const packet_t *p, const uint8_t *ip, uint8_t *tcp, uint32_t len) {
    uint8_t tail[4] = {0, PACKET_TCP, (uint8_t)(len >> 8), (uint8_t)len};
    uint64_t sum = p->key.family == 6 ? packet_sum(ip + 8, 32, 0) : packet_sum(ip + 12, 8, 0);
    uint16_t folded = packet_fold(packet_sum(tail, sizeof tail, sum));
    memcpy(tcp + TCP_SUM_AT, &folded, sizeof folded);
}

static void cut_tcp(packet_base_t *b, unsigned card, const packet_t *p) {
    netdev_frame_t *whole = p->frame, out;
    uint32_t ip_at = PACKET_ETH, tcp_at = (uint32_t)(p->l4 - p->eth), head = whole->hdr_len;
    uint32_t total = packet_frame_len(whole), seq = packet_get32(p->l4 + 4), id = packet_get16(p->ip + 4);
    b->count[PACKET_N_SEGMENTED]++;
    for (uint32_t at = head, n = 0; at < total; at += whole->gso_size, n++) {
        uint32_t len = total - at < whole->gso_size ? total - at : whole->gso_size;
        uint8_t *copy = piece(b, &out, whole, head, at, len);
        if (copy == NULL) {
            break;
        }
        uint8_t *tcp = copy + tcp_at;
        packet_put32(tcp + 4, seq + (at - head));
        tcp[13] &= (uint8_t)~((at + len < total ? TCP_FIN_PSH : 0) | (n > 0 ? TCP_CWR : 0));
        if (p->key.family == 4) {
            packet_put16(copy + ip_at + 4, id + n);
        }
        set_ip_length(p, copy + ip_at, head - ip_at + len);
        set_partial(p, copy + ip_at, tcp, head - tcp_at + len);
        out.csum_needed = true;
        out.csum_start = (uint16_t)tcp_at;
        out.csum_offset = TCP_SUM_AT;
        hand_over(b, card, &out);
    }
    packet_base_put(b, whole->cookie);
}

// Options that later fragments have too, behind the header without any. Returns the header's length.
static uint32_t copied_options(uint8_t *ip) {
    uint8_t keep[PACKET_IP4_MAX];
    uint32_t hlen = (ip[0] & 15u) * 4, have = PACKET_IP4_MIN;
    for (uint32_t at = PACKET_IP4_MIN; at < hlen && ip[at] != 0;) { // lengths were looked at (packetparse.c)
        uint32_t size = ip[at] == 1 ? 1 : ip[at + 1];
        if ((ip[at] & OPTION_COPIED) != 0) {
            memcpy(keep + have, ip + at, size);
            have += size;
        }
        at += size;
    }
    for (; have % 4 != 0; have++) {
        keep[have] = 0;
    }
    memcpy(ip + PACKET_IP4_MIN, keep + PACKET_IP4_MIN, have - PACKET_IP4_MIN);
    ip[0] = (uint8_t)(0x40 | have / 4);
    return have;
}

static void cut_ip4(packet_base_t *b, unsigned card, const packet_t *p) {
    netdev_frame_t *whole = p->frame, out;
    uint32_t hlen = (p->ip[0] & 15u) * 4, head = PACKET_ETH + hlen, total = packet_frame_len(whole);
    uint32_t place = packet_get16(p->ip + 6), room = (b->card[card].dev->mtu - hlen) & ~7u;
    if (whole->csum_needed) {
        packet_send_sum(whole); // no device completes that of a fragment
    }
    b->count[PACKET_N_FRAGMENTED]++;
    for (uint32_t at = head; at < total; at += room) {
        uint32_t len = total - at < room ? total - at : room;
        uint8_t *copy = piece(b, &out, whole, head, at, len);
        if (copy == NULL) {
            break;
        }
        uint8_t *ip = copy + PACKET_ETH;
        uint32_t own = at == head ? hlen : copied_options(ip);
        out.seg[0].len = PACKET_ETH + own;
        uint32_t more = at + len < total ? MORE_FRAGMENTS : place & MORE_FRAGMENTS;
        packet_put16(ip + 6, (place & 0xdfff) + (at - head) / 8);
        ip[6] |= (uint8_t)(more >> 8);
        set_ip_length(p, ip, own + len);
        hand_over(b, card, &out);
    }
    packet_base_put(b, whole->cookie);
}

void packet_send(packet_base_t *b, unsigned card, netdev_frame_t *f) {
    const packet_card_t *c = &b->card[card];
    bool cut = f->gso != NETDEV_GSO_NONE && !can_cut(c, f);
    bool fragment = f->gso == NETDEV_GSO_NONE && packet_frame_len(f) > (uint32_t)c->dev->mtu + PACKET_ETH;
    if (!cut && !fragment) {
        hand_over(b, card, f);
        return;
    }
    packet_t p;
    bool known = packet_parse(&p, f, PACKET_NO_CARD) == PACKET_PARSED;
    if (known && cut && p.l4 != NULL && f->hdr_len <= PACKET_SMALL_ROOM && f->hdr_len <= f->seg[0].len) {
        cut_tcp(b, card, &p);
    } else if (known && fragment && p.key.family == 4 && c->dev->mtu >= PACKET_IP4_MAX + 8) {
        cut_ip4(b, card, &p);
    } else {
        b->count[PACKET_N_TOO_BIG]++;
        packet_base_put(b, f->cookie);
    }
}

void packet_send_whole(packet_base_t *b, unsigned card, netdev_frame_t *f) {
    if (f->gso != NETDEV_GSO_NONE && !can_cut(&b->card[card], f)) {
        packet_send(b, card, f);
    } else {
        hand_over(b, card, f);
    }
}
