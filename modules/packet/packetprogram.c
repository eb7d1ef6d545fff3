// SPDX-License-Identifier: MIT
// Verifies a rule program, so that it runs without a check: all numbers within their tables, jumps only forward and
// within their chain, calls only to later chains, what a hook may not do not reachable from it. Depth and steps are
// what the program says of each chain, and right if they are right for each chain by those that it calls.
// Owns nothing. Not here: running (packetrules.c). Context: main loop, when rules are loaded.

#include "packetprogram.h"

#include <errno.h>
#include <string.h>

#define HOOK(n) (1u << (n))
#define ALL_HOOKS (HOOK(PACKET_HOOKS) - 1)

// Step over a section of `count` entries. NULL: it does not fit.
static const void *section(const uint8_t **at, uint64_t *left, uint32_t count, size_t each) {
    const uint8_t *start = *at;
    if (count > *left / each) {
        return NULL;
    }
    *at += count * each;
    *left -= (uint64_t)count * each;
    return start;
}

int packet_program_open(packet_sections_t *s, const uint8_t *bytes, size_t len) {
    const packet_program_t *h = (const packet_program_t *)(const void *)bytes;
    if ((uintptr_t)bytes % 8 != 0 || len < sizeof *h || len > PACKET_PROGRAM_SIZE || h->magic != PACKET_PROGRAM_MAGIC ||
        h->version != PACKET_PROGRAM_VERSION || h->size != len) {
        return -EINVAL;
    }
    const uint8_t *at = bytes + sizeof *h;
    uint64_t left = len - sizeof *h;
    s->head = h;
    s->chains = section(&at, &left, h->chains, sizeof *s->chains);
    s->code = s->chains == NULL ? NULL : section(&at, &left, h->code, sizeof *s->code);
    s->sets = s->code == NULL ? NULL : section(&at, &left, h->sets, sizeof *s->sets);
    s->maps = s->sets == NULL ? NULL : section(&at, &left, h->maps, sizeof *s->maps);
    s->limits = s->maps == NULL ? NULL : section(&at, &left, h->limits, sizeof *s->limits);
    s->counters = s->limits == NULL ? NULL : section(&at, &left, h->counters, sizeof *s->counters);
    s->names = s->counters == NULL ? NULL : section(&at, &left, h->names, sizeof *s->names);
    s->narrow = s->names == NULL ? NULL : section(&at, &left, h->narrow, sizeof *s->narrow);
    s->wide = s->narrow == NULL ? NULL : section(&at, &left, h->wide, sizeof *s->wide);
    s->targets = s->wide == NULL ? NULL : section(&at, &left, h->targets, sizeof *s->targets);
    s->cases = s->targets == NULL ? NULL : section(&at, &left, h->cases, sizeof *s->cases);
    s->text = s->cases == NULL ? NULL : section(&at, &left, h->text, 1);
    return s->text != NULL && left == 0 && h->zero == 0 ? 0 : -EINVAL;
}

int packet_program_narrow(const packet_narrow_t *ranges, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].lo > ranges[i].hi || (i > 0 && ranges[i].lo <= ranges[i - 1].hi)) {
            return -EINVAL;
        }
    }
    return 0;
}

static int is_above(const uint64_t a[2], const uint64_t b[2]) { return a[0] != b[0] ? a[0] > b[0] : a[1] > b[1]; }

int packet_program_wide(const packet_wide_t *ranges, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (is_above(ranges[i].lo, ranges[i].hi) || (i > 0 && !is_above(ranges[i].lo, ranges[i - 1].hi))) {
            return -EINVAL;
        }
    }
    return 0;
}

int packet_program_targets(const packet_target_t *targets, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const packet_target_t *t = &targets[i];
        if (t->lo > t->hi || (i > 0 && t->lo <= targets[i - 1].hi) || t->zero != 0 || t->zero2 != 0) {
            return -EINVAL;
        }
    }
    return 0;
}

static int is_within(uint32_t first, uint32_t count, uint32_t all) { return count <= all && first <= all - count; }

static int is_name(const packet_program_t *h, uint32_t name) { return name < h->names || name == PACKET_PROGRAM_NONE; }

static int check_tables(const packet_sections_t *s) {
    const packet_program_t *h = s->head;
    for (uint32_t i = 0; i < h->names; i++) {
        if (s->names[i].len > PACKET_PROGRAM_TEXT || !is_within(s->names[i].offset, s->names[i].len, h->text)) {
            return -EINVAL;
        }
    }
    for (uint32_t i = 0; i < h->sets; i++) {
        const packet_set_t *set = &s->sets[i];
        if (set->wide > 1 || !is_within(set->first, set->count, set->wide ? h->wide : h->narrow) ||
            !is_name(h, set->name) ||
            (set->wide ? packet_program_wide(s->wide + set->first, set->count)
                       : packet_program_narrow(s->narrow + set->first, set->count)) != 0) {
            return -EINVAL;
        }
    }
    for (uint32_t i = 0; i < h->maps; i++) {
        const packet_map_t *map = &s->maps[i];
        if (map->zero != 0 || !is_within(map->first, map->count, h->targets) || !is_name(h, map->name) ||
            packet_program_targets(s->targets + map->first, map->count) != 0) {
            return -EINVAL;
        }
    }
    for (uint32_t i = 0; i < h->limits; i++) {
        const packet_limit_t *l = &s->limits[i];
        if (l->zero != 0 || l->period_ns == 0 || l->period_ns > PACKET_PROGRAM_PERIOD || l->burst == 0 ||
            l->burst > PACKET_PROGRAM_BURST) {
            return -EINVAL;
        }
    }
    return 0;
}

// Counters have names, each another, in order.
static int check_counters(const packet_sections_t *s) {
    for (uint32_t i = 0; i < s->head->counters; i++) {
        if (s->counters[i].zero != 0 || s->counters[i].name >= s->head->names) {
            return -EINVAL;
        }
        if (i > 0) {
            const packet_name_t *a = &s->names[s->counters[i - 1].name], *b = &s->names[s->counters[i].name];
            int way = memcmp(s->text + a->offset, s->text + b->offset, a->len < b->len ? a->len : b->len);
            if (way > 0 || (way == 0 && a->len >= b->len)) {
                return -EINVAL;
            }
        }
    }
    return 0;
}

// An instruction's numbers; `to` is the caller's to look at. hooks: from where it may be reached.
static int check_insn(const packet_sections_t *s, const packet_insn_t *i, uint8_t hooks) {
    const packet_program_t *h = s->head;
    int plain = i->field == 0 && i->negate == 0 && i->b == 0;
    switch (i->op) {
        case PACKET_OP_RANGE:
            return i->field < PACKET_F_NARROW && i->negate <= 1;
        case PACKET_OP_SET:
            return i->field < PACKET_F_END && i->negate <= 1 && i->b == 0 && i->a < h->sets &&
                   s->sets[i->a].wide == (i->field >= PACKET_F_NARROW);
        case PACKET_OP_LIMIT:
            return plain && i->a < h->limits;
        case PACKET_OP_SWITCH:
            return i->field < PACKET_F_NARROW && i->negate == 0 && is_within(i->a, i->b, h->cases);
        case PACKET_OP_COUNT:
            return plain && i->a < h->counters;
        case PACKET_OP_LOG:
            return plain && i->a < h->names;
        case PACKET_OP_MARK:
            return plain;
        case PACKET_OP_CALL:
            return plain && i->a < h->chains;
        case PACKET_OP_RETURN:
        case PACKET_OP_ACCEPT:
        case PACKET_OP_DROP:
            return plain && i->a == 0;
        case PACKET_OP_REJECT:
            return plain && i->a < PACKET_REJECT_KINDS && (hooks & ~(HOOK(PACKET_INPUT) | HOOK(PACKET_FORWARD))) == 0;
        case PACKET_OP_DNAT:
            return plain && i->a < h->targets && (hooks & ~HOOK(PACKET_PREROUTING)) == 0;
        case PACKET_OP_DNAT_MAP:
            return plain && i->a < h->maps && (hooks & ~HOOK(PACKET_PREROUTING)) == 0;
        case PACKET_OP_SNAT:
            return plain && i->a < h->targets && (hooks & ~HOOK(PACKET_POSTROUTING)) == 0;
        case PACKET_OP_MASQUERADE:
            return plain && i->a == 0 && (hooks & ~HOOK(PACKET_POSTROUTING)) == 0;
        default:
            return 0;
    }
}

static int may_jump(uint8_t op) { return op <= PACKET_OP_SWITCH || op == PACKET_OP_DNAT_MAP; }

// Whether nothing runs on behind it.
static int is_last(uint8_t op) { return op >= PACKET_OP_RETURN && op != PACKET_OP_DNAT_MAP; }

// The cases of an instruction at `at` of a chain, of which `used` are others'.
static int check_cases(const packet_sections_t *s, uint32_t at, uint32_t end, uint32_t *used) {
    const packet_insn_t *i = &s->code[at];
    if (i->a != *used) {
        return -EINVAL;
    }
    *used += i->b;
    for (uint32_t n = i->a; n < *used; n++) {
        const packet_case_t *c = &s->cases[n];
        if (c->lo > c->hi || (n > i->a && c->lo <= c[-1].hi) || c->to <= at || c->to >= end || c->zero != 0) {
            return -EINVAL;
        }
    }
    return 0;
}

static int is_entry(const packet_program_t *h, uint32_t chain) {
    for (unsigned hook = 0; hook < PACKET_HOOKS; hook++) {
        if (h->entry[hook] == chain) {
            return 1;
        }
    }
    return 0;
}

// cases: how many of them belong to chains before this one; those of this one are added.
static int check_chain(const packet_sections_t *s, uint32_t number, uint32_t *cases) {
    const packet_program_t *h = s->head;
    const packet_chain_t *c = &s->chains[number];
    if (c->start >= c->end || c->end > h->code || c->zero != 0 || (c->hooks & ~ALL_HOOKS) != 0 ||
        !is_last(s->code[c->end - 1].op)) {
        return -EINVAL;
    }
    uint64_t steps = c->end - c->start;
    uint32_t depth = 1;
    for (uint32_t at = c->start; at < c->end; at++) {
        const packet_insn_t *i = &s->code[at];
        int jumps_well = may_jump(i->op) ? i->to > at && i->to < c->end : i->to == 0;
        if (i->zero != 0 || !check_insn(s, i, c->hooks) || !jumps_well ||
            (i->op == PACKET_OP_RETURN && is_entry(h, number)) ||
            (i->op == PACKET_OP_SWITCH && check_cases(s, at, c->end, cases) != 0)) {
            return -EINVAL;
        }
        if (i->op == PACKET_OP_CALL) {
            const packet_chain_t *called = &s->chains[i->a];
            if (i->a <= number || (c->hooks & ~called->hooks) != 0) {
                return -EINVAL;
            }
            steps += called->steps;
            depth = depth > called->depth + 1u ? depth : called->depth + 1u;
        }
        if (steps > PACKET_PROGRAM_STEPS) {
            return -EINVAL;
        }
    }
    return steps == c->steps && depth == c->depth && depth <= PACKET_PROGRAM_DEPTH ? 0 : -EINVAL;
}

int packet_program_check(const packet_sections_t *s) {
    const packet_program_t *h = s->head;
    if (check_tables(s) != 0 || check_counters(s) != 0) {
        return -EINVAL;
    }
    for (unsigned hook = 0; hook < PACKET_HOOKS; hook++) {
        uint32_t chain = h->entry[hook];
        if (chain != PACKET_PROGRAM_NONE && (chain >= h->chains || (s->chains[chain].hooks & HOOK(hook)) == 0)) {
            return -EINVAL;
        }
    }
    uint32_t end = 0, cases = 0; // without gaps: code beside all chains would be nobody's
    for (uint32_t i = 0; i < h->chains; i++) {
        if (s->chains[i].start != end || check_chain(s, i, &cases) != 0) {
            return -EINVAL;
        }
        end = s->chains[i].end;
    }
    return end == h->code && cases == h->cases ? 0 : -EINVAL;
}
