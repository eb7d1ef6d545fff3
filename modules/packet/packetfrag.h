// SPDX-License-Identifier: MIT
// Fragments: later ones go the way of the first one, which has the ports. A small table of datagrams under way says
// which flow that was and which bytes were seen; none is put together here. Of bytes that come twice only the first
// ones pass, and of a datagram whose fragments overlap nothing from then on, so that nobody behind this can put
// together something else than what was judged (RFC 5722, RFC 1858).
// Owns its table, of a fixed size. Not here: flows (packetflow.h). Context: main loop; host tests.

#ifndef FLOE_PACKETFRAG_H
#define FLOE_PACKETFRAG_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

enum { PACKET_FRAG_SETS = 64, PACKET_FRAG_WAYS = 4, PACKET_FRAG_PIECES = 8 };

// Which datagram a fragment is of: five words without holes.
typedef struct {
    uint8_t src[16], dst[16];
    uint32_t id;
    uint8_t proto, family; // proto: IPv4 alone; IPv6 has it from the first fragment
    uint8_t zero[2];
} packet_frag_key_t;

// Which bytes of it.
typedef struct {
    uint16_t first, end;
    bool last; // no more follow
} packet_piece_t;

typedef struct {
    packet_frag_key_t key;
    uint64_t began_ns;
    uint32_t flow, number; // whatever the caller tells them by
    uint8_t dir;
    bool broken;                              // some have overlapped
    uint8_t pieces;                           // 0: the place is free
    uint16_t end;                             // of the datagram; 0: not known yet
    packet_piece_t piece[PACKET_FRAG_PIECES]; // seen, apart from each other
} packet_frag_t;

typedef struct {
    packet_frag_t set[PACKET_FRAG_SETS][PACKET_FRAG_WAYS];
} packet_frags_t;

// Read where a fragment belongs. False: its numbers cannot be.
bool packet_frag_read(const packet_t *p, packet_frag_key_t *key, packet_piece_t *piece);

// `hash` is the key's, by a function that nobody can foresee. NULL: not known, or begun too long ago.
packet_frag_t *packet_frag_find(packet_frags_t *t, const packet_frag_key_t *key, uint64_t hash, uint64_t now_ns);
// Whether a first fragment of a known datagram begins another one, whose number is the same again.
bool packet_frag_is_over(const packet_frag_t *f, uint64_t now_ns);
// A datagram of which nothing was seen yet; the oldest of its set gives way.
packet_frag_t *packet_frag_begin(packet_frags_t *t, const packet_frag_key_t *key, uint64_t hash, uint64_t now_ns);
// Whether these bytes are new, and can be noted; were seen, as where a packet came twice; or cannot be of the same
// datagram as the others, of which nothing passes then.
typedef enum { PACKET_FRAG_NEW, PACKET_FRAG_SEEN, PACKET_FRAG_OVERLAPS, PACKET_FRAG_NO_ROOM } packet_frag_fit_t;
packet_frag_fit_t packet_frag_fit(const packet_frag_t *f, const packet_piece_t *piece);
// Note bytes that fit. When the datagram is complete, it is forgotten.
void packet_frag_put(packet_frag_t *f, const packet_piece_t *piece);

#endif
