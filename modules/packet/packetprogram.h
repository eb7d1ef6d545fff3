// SPDX-License-Identifier: MIT
// The format of a rule program, which frozen/lib/packet/compiler.py writes: a header, then sections in the order of the
// header's counts, all little-endian and of a multiple of eight bytes but the text, which comes last.
// Owns: the format. Not here: what loads and runs it (packetrules.h). Context: any.

#ifndef FLOE_PACKETPROGRAM_H
#define FLOE_PACKETPROGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    PACKET_PROGRAM_MAGIC = 0x4c525046, // "FPRL"
    PACKET_PROGRAM_VERSION = 1,
    PACKET_PROGRAM_DEPTH = 16,      // chains within chains
    PACKET_PROGRAM_STEPS = 1 << 20, // instructions that one packet may need
    PACKET_PROGRAM_SIZE = 32 << 20, // bytes
    PACKET_PROGRAM_TEXT = 47,       // bytes of a name, or of a log's text
    PACKET_PROGRAM_BURST = 1 << 16, // tokens of a limit
};
#define PACKET_PROGRAM_PERIOD (86400ull * 1000000000u) // ns in which a limit's token comes, at most
#define PACKET_PROGRAM_NONE 0xffffffffu

// Where on its way a packet is shown to rules; each is a bit of a chain's hooks.
enum { PACKET_PREROUTING, PACKET_INPUT, PACKET_FORWARD, PACKET_POSTROUTING, PACKET_HOOKS };

// What a condition asks: 32 bits each, but the last ones, which are of 16 bytes (a MAC in the last six).
enum {
    PACKET_F_FAMILY,
    PACKET_F_PROTO,
    PACKET_F_IN,
    PACKET_F_OUT,
    PACKET_F_FRAGMENT,
    PACKET_F_TTL,
    PACKET_F_DSCP,
    PACKET_F_FLAGS,
    PACKET_F_ICMP_TYPE,
    PACKET_F_ICMP_CODE,
    PACKET_F_STATE,
    PACKET_F_SRC4,
    PACKET_F_DST4,
    PACKET_F_SPORT,
    PACKET_F_DPORT,
    PACKET_F_LENGTH,
    PACKET_F_VLAN,
    PACKET_F_MARK,
    PACKET_F_NARROW, // so many
    PACKET_F_SRC6 = PACKET_F_NARROW,
    PACKET_F_DST6,
    PACKET_F_SMAC,
    PACKET_F_END,
};

enum {
    PACKET_OP_RANGE,  // unless field - a <= b (mod 2^32; xor negate): go to `to`
    PACKET_OP_SET,    // unless field is in set a (xor negate): go to `to`
    PACKET_OP_LIMIT,  // unless limit a has a token: go to `to`
    PACKET_OP_SWITCH, // go to where that one of cases a to a + b - 1 leads which has the field; without one: to `to`
    PACKET_OP_COUNT,  // counter a
    PACKET_OP_LOG,    // with name a as its text
    PACKET_OP_MARK,   // the packet's mark becomes a
    PACKET_OP_CALL,   // chain a, a later one
    PACKET_OP_RETURN, // to the caller
    PACKET_OP_ACCEPT, // this and what follows: the verdict
    PACKET_OP_DROP,
    PACKET_OP_REJECT,   // of kind a
    PACKET_OP_DNAT,     // to target a
    PACKET_OP_DNAT_MAP, // to what map a has for the destination port; without one: go to `to`
    PACKET_OP_SNAT,     // to target a
    PACKET_OP_MASQUERADE,
    PACKET_OP_END,
};

enum { PACKET_REJECT_PORT, PACKET_REJECT_HOST, PACKET_REJECT_NET, PACKET_REJECT_ADMIN, PACKET_REJECT_RESET };
enum { PACKET_REJECT_KINDS = 5 };

// An operand that an instruction has no use for is 0. `to`: an instruction further on in the same chain. Cases belong
// to one instruction each, in the order of these.
typedef struct {
    uint8_t op, field, negate, zero;
    uint32_t a, b, to;
} packet_insn_t;

// Instructions start to end - 1; chains follow each other without gaps. steps: its instructions, and the steps of each
// chain that it calls. depth: 1, and that of the deepest of these. hooks: from which it may be reached, a bit each.
typedef struct {
    uint32_t start, end, steps;
    uint16_t depth;
    uint8_t hooks, zero;
} packet_chain_t;

// `count` ranges from `first` on, of section narrow or wide. name: PACKET_PROGRAM_NONE where nobody may change it.
typedef struct {
    uint32_t wide, first, count, name;
} packet_set_t;

// `count` targets from `first` on.
typedef struct {
    uint32_t first, count, name, zero;
} packet_map_t;

typedef struct {
    uint64_t period_ns; // in which one token comes
    uint32_t burst, zero;
} packet_limit_t;

// A counter is its name; counters stand in the order of their names' bytes.
typedef struct {
    uint32_t name, zero;
} packet_counter_t;

typedef struct {
    uint32_t offset, len;
} packet_name_t;

typedef struct {
    uint32_t lo, hi;
} packet_narrow_t;

typedef struct {
    uint32_t lo, hi, to, zero;
} packet_case_t;

typedef struct {
    uint64_t lo[2], hi[2]; // the more significant half first
} packet_wide_t;

typedef struct {
    uint16_t lo, hi, port, zero; // lo, hi: of a map's, for which destination ports; port 0: as it is
    uint8_t addr[4];             // IPv4, network order
    uint32_t zero2;
} packet_target_t;

typedef struct {
    uint32_t magic, version, size;
    uint32_t entry[PACKET_HOOKS]; // chains; PACKET_PROGRAM_NONE: all is accepted
    uint32_t chains, code, sets, maps, limits, counters, names, narrow, wide, targets, cases, text, zero;
} packet_program_t;

_Static_assert(sizeof(packet_program_t) == 80 && sizeof(packet_insn_t) == 16, "as the compiler writes them");
_Static_assert(sizeof(packet_chain_t) == 16 && sizeof(packet_set_t) == 16 && sizeof(packet_map_t) == 16, "likewise");
_Static_assert(sizeof(packet_case_t) == 16, "likewise");
_Static_assert(sizeof(packet_limit_t) == 16 && sizeof(packet_wide_t) == 32 && sizeof(packet_target_t) == 16,
               "likewise");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a program is read as it stands");

// A program's sections.
typedef struct {
    const packet_program_t *head;
    const packet_chain_t *chains;
    const packet_insn_t *code;
    const packet_set_t *sets;
    const packet_map_t *maps;
    const packet_limit_t *limits;
    const packet_counter_t *counters;
    const packet_name_t *names;
    const packet_narrow_t *narrow;
    const packet_wide_t *wide;
    const packet_target_t *targets;
    const packet_case_t *cases;
    const uint8_t *text;
} packet_sections_t;

// Find the sections. bytes: at a multiple of eight. 0, or -EINVAL: it is not such a program of this version.
int packet_program_open(packet_sections_t *s, const uint8_t *bytes, size_t len);
// Verify all that running it relies on. 0 or -EINVAL.
int packet_program_check(const packet_sections_t *s);
// Whether ranges, or a map's targets, stand in order and apart, which their search relies on.
int packet_program_narrow(const packet_narrow_t *ranges, size_t count);
int packet_program_wide(const packet_wide_t *ranges, size_t count);
int packet_program_targets(const packet_target_t *targets, size_t count);

#endif
