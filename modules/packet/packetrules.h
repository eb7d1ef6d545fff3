// SPDX-License-Identifier: MIT
// Rules: a program (packetprogram.h) verified once when it is loaded, and run for each packet without a further check.
// Owns which rules are in use; a loaded program with its counters lies in memory of the caller, as the log does. Not
// here: the language (docs/firewall.md), what a verdict does to a packet (packetfwd.h, packetflow.h). Context: main
// loop; no verb waits or allocates.

#ifndef FLOE_PACKETRULES_H
#define FLOE_PACKETRULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet.h"
#include "packetprogram.h"

enum { PACKET_ACCEPT, PACKET_DROP, PACKET_REJECT, PACKET_DNAT, PACKET_SNAT, PACKET_MASQUERADE };

// DNAT comes from PACKET_PREROUTING alone, SNAT and MASQUERADE from PACKET_POSTROUTING, REJECT from the other two.
// A verdict that changes addresses is never given to a packet that is not IPv4, nor a port to one without ports.
typedef struct {
    uint8_t kind;    // PACKET_ACCEPT...
    uint8_t reject;  // PACKET_REJECT_PORT... for PACKET_REJECT; a reset is only for TCP
    uint16_t port;   // the new one for PACKET_DNAT, PACKET_SNAT; 0: as it is
    uint8_t addr[4]; // the new one, network order
    uint32_t mark;   // the packet's from now on
} packet_verdict_t;

// What a rule with log() wrote down.
typedef struct {
    uint64_t time_ns;
    packet_key_t key;
    uint8_t hook, len;
    char text[PACKET_PROGRAM_TEXT];
} packet_record_t;

// The latest records, in memory of the caller.
typedef struct {
    packet_record_t *records;
    uint32_t size, first, count;
    uint64_t lost; // dropped for newer ones
} packet_log_t;

void packet_log_init(packet_log_t *log, packet_record_t *records, uint32_t size);
// Take the oldest record. False: there is none.
bool packet_log_take(packet_log_t *log, packet_record_t *out);

typedef struct packet_rules packet_rules_t;

typedef struct {
    uint64_t packets, bytes;
} packet_count_t;

// Whether a program may be run, without loading it. bytes: at a multiple of eight. 0 or -EINVAL.
int packet_rules_check(const uint8_t *bytes, size_t len);
// How much memory a program takes once loaded. 0: it is not a program.
size_t packet_rules_room(const uint8_t *bytes, size_t len);
// Copy a program into memory, at a multiple of eight and of packet_rules_room() bytes, and verify it there. before: the
// rules that it replaces, whose counters of equal names go on, or NULL; they stay as they are, and the caller goes from
// one pointer to the other between two packets. log: where records go, or NULL. NULL: the program is not valid.
packet_rules_t *packet_rules_load(void *memory, const uint8_t *bytes, size_t len, const packet_rules_t *before,
                                  packet_log_t *log);
// Decide about a packet that is at a hook (PACKET_PREROUTING...). now_ns: a clock that does not go back.
void packet_rules_run(packet_rules_t *r, unsigned hook, const packet_key_t *key, uint64_t now_ns,
                      packet_verdict_t *out);

// Have these rules be the ones in use, NULL: none. Returns those that were before, whose memory is the caller's again.
packet_rules_t *packet_rules_use(packet_rules_t *r);
// The rules in use, or NULL: all is accepted.
extern packet_rules_t *packet_rules_now; // packet_rules_use() alone changes it
static inline packet_rules_t *packet_rules_in_use(void) { return packet_rules_now; }
// Whether a program has rules for a hook; where not, packet_rules_run() accepts.
bool packet_rules_has(const packet_rules_t *r, unsigned hook);
// Counters, in the order of their names. False: no counter has this number.
bool packet_rules_count(const packet_rules_t *r, uint32_t number, const char **name, size_t *len, packet_count_t *out);
// Have a named set, by its number in the program, hold these ranges (packet_narrow_t or packet_wide_t, in order and
// apart), or a named map these targets. They stay the caller's, and unchanged while the rules are in use.
// 0; -ENOENT: no set of this number may be changed; -EINVAL: not such ranges.
int packet_rules_set(packet_rules_t *r, uint32_t number, const void *ranges, size_t len);
int packet_rules_map(packet_rules_t *r, uint32_t number, const void *targets, size_t len);

#endif
