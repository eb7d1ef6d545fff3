// SPDX-License-Identifier: MIT
// Datagrams of which fragments are under way: see packetfrag.h.
// Owns nothing of its own. Context: main loop; host tests.

#include "packetfrag.h"

#include <string.h>

#include "packetbytes.h"
#include "packettuple.h"

// As long as RFC 791 keeps parts. A first fragment that comes again after two seconds is another datagram's: a sender's
// 65,536 numbers come round in that time.
static const uint64_t life_ns = 15000000000, again_ns = 2000000000;

static bool read_piece(packet_piece_t *piece, unsigned offset, unsigned size, bool more) {
    if (size == 0 || offset + size > UINT16_MAX || (more && size % 8 != 0)) {
        return false;
    }
    *piece = (packet_piece_t){(uint16_t)offset, (uint16_t)(offset + size), !more};
    return true;
}

bool packet_frag_read(const packet_t *p, packet_frag_key_t *key, packet_piece_t *piece) {
    const packet_key_t *k = &p->key;
    const uint8_t *ip = p->ip;
    memset(key, 0, sizeof *key);
    memcpy(key->src, k->src, sizeof key->src);
    memcpy(key->dst, k->dst, sizeof key->dst);
    key->family = k->family;
    if (k->family == 4) { // the header was checked by who made *p
        unsigned place = packet_get16(ip + 6), header = (ip[0] & 15u) * 4;
        key->id = packet_get16(ip + 4);
        key->proto = k->proto;
        return k->length > header && read_piece(piece, (place & 0x1fff) * 8, k->length - header, (place & 0x2000) != 0);
    }
    uint32_t room = p->frame->seg[0].len - (uint32_t)(ip - (uint8_t *)p->frame->seg[0].base);
    packet_ip6_chain_t chain;
    if (!packet_tuple_chain(ip, room < k->length ? room : k->length, &chain) || chain.fragment == 0) {
        return false;
    }
    unsigned place = packet_get16(ip + chain.fragment + 2), before = chain.fragment + 8;
    key->id = packet_get32(ip + chain.fragment + 4);
    return k->length > before && read_piece(piece, place & 0xfff8, k->length - before, (place & 1) != 0);
}

packet_frag_t *packet_frag_find(packet_frags_t *t, const packet_frag_key_t *key, uint64_t hash, uint64_t now_ns) {
    packet_frag_t *set = t->set[hash % PACKET_FRAG_SETS];
    for (unsigned i = 0; i < PACKET_FRAG_WAYS; i++) {
        if (set[i].pieces > 0 && now_ns - set[i].began_ns < life_ns && memcmp(&set[i].key, key, sizeof *key) == 0) {
            return &set[i];
        }
    }
    return NULL;
}

bool packet_frag_is_over(const packet_frag_t *f, uint64_t now_ns) { return now_ns - f->began_ns >= again_ns; }

packet_frag_t *packet_frag_begin(packet_frags_t *t, const packet_frag_key_t *key, uint64_t hash, uint64_t now_ns) {
    packet_frag_t *set = t->set[hash % PACKET_FRAG_SETS], *best = packet_frag_find(t, key, hash, now_ns);
    for (unsigned i = 0; best == NULL && i < PACKET_FRAG_WAYS; i++) {
        best = set[i].pieces == 0 ? &set[i] : NULL;
    }
    if (best == NULL) {
        best = &set[0];
        for (unsigned i = 1; i < PACKET_FRAG_WAYS; i++) {
            best = set[i].began_ns < best->began_ns ? &set[i] : best;
        }
    }
    *best = (packet_frag_t){.key = *key, .began_ns = now_ns};
    return best;
}

packet_frag_fit_t packet_frag_fit(const packet_frag_t *f, const packet_piece_t *piece) {
    bool joins = false, overlaps = f->broken || (f->end != 0 && (piece->last || piece->end > f->end));
    for (unsigned i = 0; i < f->pieces; i++) {
        const packet_piece_t *other = &f->piece[i];
        bool within = piece->first >= other->first && piece->end <= other->end;
        if (within && !f->broken && (!piece->last || piece->end == f->end)) {
            return PACKET_FRAG_SEEN;
        }
        overlaps |=
            (piece->first < other->end && other->first < piece->end) || (piece->last && piece->end < other->end);
        joins |= piece->first == other->end || piece->end == other->first;
    }
    return overlaps                                  ? PACKET_FRAG_OVERLAPS
           : joins || f->pieces < PACKET_FRAG_PIECES ? PACKET_FRAG_NEW
                                                     : PACKET_FRAG_NO_ROOM;
}

void packet_frag_put(packet_frag_t *f, const packet_piece_t *piece) {
    packet_piece_t all = *piece;
    f->end = piece->last ? piece->end : f->end;
    for (unsigned i = 0; i < f->pieces;) { // those it touches become one with it
        packet_piece_t *other = &f->piece[i];
        if (all.first != other->end && all.end != other->first) {
            i++;
            continue;
        }
        all.first = all.first < other->first ? all.first : other->first;
        all.end = all.end > other->end ? all.end : other->end;
        *other = f->piece[--f->pieces];
        i = 0;
    }
    f->piece[f->pieces++] = all;
    if (f->pieces == 1 && all.first == 0 && all.end == f->end) {
        f->pieces = 0;
    }
}
