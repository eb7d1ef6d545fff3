// SPDX-License-Identifier: MIT
// Connection tracking: which packets belong together. A flow is known by two tuples, what its first packet had and what
// its replies have; they differ by more than their direction where addresses are translated (packetnat.h).
//
// For each packet, in this order: packet_flow_look; the rules, and what they say of addresses; packet_flow_commit for
// one that is accepted, nothing for one that is dropped: that leaves no trace. What look found is good until the next
// call of another function here that may end flows (commit, age, delete).
//
// Owns the memory that it was given, nothing else; none is asked for later. Time is told by the caller, in nanoseconds
// of any clock; one that goes back stands still. All work is bounded. Not here: reading packets (packetparse.h), rules.
// Context: main loop; host tests.

#ifndef FLOE_PACKETFLOW_H
#define FLOE_PACKETFLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet.h"
#include "packetfrag.h"
#include "packettcp.h"
#include "packettuple.h"

enum { PACKET_FLOWS_MAX = 1 << 20 };
enum { PACKET_DIR_FIRST, PACKET_DIR_REPLY }; // a flow's directions

// How long a flow is kept after its last packet.
typedef enum {
    PACKET_LIFE_TCP_OPENING,     // RFC 5382, REQ-5: 4 minutes at the least, while opened or closed
    PACKET_LIFE_TCP_ESTABLISHED, // and 2 hours and 4 minutes, while open
    PACKET_LIFE_TCP_CLOSING,
    PACKET_LIFE_TCP_TIME_WAIT,
    PACKET_LIFE_TCP_RESET,
    PACKET_LIFE_UDP_ONE_WAY, // RFC 4787, REQ-5: 2 minutes at the least, 5 as a default
    PACKET_LIFE_UDP,
    PACKET_LIFE_ICMP, // RFC 5508, REQ-2: 1 minute at the least
    PACKET_LIFE_OTHER_ONE_WAY,
    PACKET_LIFE_OTHER,
    PACKET_LIFES,
} packet_life_t;

enum { PACKET_NAT_DST = 1, PACKET_NAT_SRC = 2 };

// To be read by others; changed here only, but for `mark`.
typedef struct {
    packet_tuple_t tuple[2]; // as packets of either direction come in
    uint64_t started_ns, expires_ns;
    uint64_t packets[2], bytes[2];
    packet_tcp_t tcp;
    uint32_t mark;
    uint32_t number;    // another one for each flow
    bool used, replied; // replied: a packet came back
    uint8_t nat;        // PACKET_NAT_*: what is translated
    uint8_t life;       // packet_life_t
    uint8_t list;       // the rest: where it hangs (packettable.c)
    uint32_t slot;
    uint32_t chain[2];
    uint32_t wheel[2], queue[2];
} packet_flow_t;

typedef struct packet_flows packet_flows_t;

typedef struct {
    uint64_t made, expired, deleted;
    uint64_t evicted;         // for a new one, when there was no room
    uint64_t refused;         // new ones that found no room
    uint64_t clashes;         // new ones whose replies would be another's
    uint64_t invalid;         // packets
    uint64_t ports_exhausted; // no port left to translate to
    uint64_t fragments_lost;  // later ones whose first one is not known; all that overlap, or come twice
    uint32_t flows, young;    // now; young: not answered, or a handshake that is not complete
    uint32_t longest;         // chain of the hash, ever
} packet_flow_stats_t;

typedef struct {
    packet_flow_t *flow;     // NULL: there is none
    packet_flow_t *over;     // a connection that this packet begins anew
    packet_tuple_t tuple[2]; // where flow is NULL and state PACKET_NEW: what commit makes; [1] is the NAT's to change
    packet_segment_t tcp;
    packet_frag_key_t fragment; // of a fragment
    packet_piece_t piece;
    uint8_t state; // as in packet_key_t
    uint8_t dir;   // PACKET_DIR_FIRST, PACKET_DIR_REPLY
    bool passing;  // it leaves no trace in its flow
    bool follows;  // a later fragment of a datagram whose first one was accepted: no rule need see it
    bool lost;     // a fragment whose bytes were seen, or do not go with the others': it passes by no rule; INVALID
    bool early;    // a later fragment of a datagram whose first one was not seen; state is INVALID
    uint64_t from; // where `early`: a hash of who sends it, of IPv6 the /64, that nobody can foresee
} packet_look_t;

// Bytes of memory for so many flows; 0: more than PACKET_FLOWS_MAX, or none.
size_t packet_flow_size(uint32_t flows);
// A table in memory of that size, aligned as malloc does. seed: random, and nobody else's.
packet_flows_t *packet_flow_init(void *memory, uint32_t flows, const uint64_t seed[2]);
// Another seed, as when this machine was copied: all is sorted anew, and datagrams under way in fragments are lost.
void packet_flow_reseed(packet_flows_t *t, const uint64_t seed[2]);
// Seconds for a kind of flow; as for TCP and UDP the RFCs are the caller's to keep. False: no such kind, or 0.
bool packet_flow_set_life(packet_flows_t *t, packet_life_t life, uint32_t seconds);
// Whether connections may begin in the middle: after a restart, or where replies go another way.
void packet_flow_set_loose(packet_flows_t *t, bool loose);
// How old a flow that is not answered must be before a new one takes its place in a full table (2 s).
void packet_flow_set_victim_age(packet_flows_t *t, uint64_t ns);

// What a packet is. Fills in *look and p->key.state, and changes nothing else, but
// that a datagram is known to have fragments that overlap. NEW: nothing came back yet. RELATED: an
// ICMP error about a flow's packet.
void packet_flow_look(packet_flows_t *t, packet_t *p, uint64_t now_ns, packet_look_t *look);
// A packet that was looked at is accepted: make its flow, or take note in the one it has. p is as it came in, or
// translated. 0; -ENOSPC: the table is full; -EADDRINUSE: another flow's replies are the same. Then drop it.
int packet_flow_commit(packet_flows_t *t, const packet_t *p, packet_look_t *look);

// End what is over; about `work` steps.
void packet_flow_age(packet_flows_t *t, uint64_t now_ns, unsigned work);

// The next flow at or behind *cursor, which begins with 0; NULL and *cursor < size: look further; NULL and
// *cursor == UINT32_MAX: that was all. At most `work` places are looked at. Flows may come and go in between.
const packet_flow_t *packet_flow_next(packet_flows_t *t, uint32_t *cursor, unsigned work);

// Which flows: those for which all that is given holds, in the first packet's tuple.
typedef struct {
    uint8_t family, proto;      // 0: any
    uint8_t src_bits, dst_bits; // of the addresses; 0: any
    uint8_t src[16], dst[16];
    uint16_t sport, dport; // 0: any
    bool by_mark;
    uint32_t mark;
} packet_flow_filter_t;

bool packet_flow_matches(const packet_flow_t *f, const packet_flow_filter_t *filter);
// Delete those behind *cursor, as packet_flow_next goes. Returns how many.
unsigned packet_flow_delete(packet_flows_t *t, const packet_flow_filter_t *filter, uint32_t *cursor, unsigned work);

void packet_flow_stats(const packet_flows_t *t, packet_flow_stats_t *out);

#endif
