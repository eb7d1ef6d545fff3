// SPDX-License-Identifier: MIT
// Runs rule programs. A packet's values are laid out once, by the number that conditions have for them; then each
// instruction is a step, forward only. That nothing here looks at bounds rests on packetprogram.c.
// Owns which rules are in use; their state lies in the memory that packet_rules_load() was given. Not here: the format,
// and what makes a program valid (packetprogram.c). Context: main loop.

#include "packetrules.h"

#include <errno.h>
#include <string.h>

enum { TCP = 6, UDP = 17 };

typedef struct {
    const void *ranges; // of the program, or what packet_rules_set() was given
    uint32_t count;
} ranges_t;

typedef struct {
    uint64_t filled, at; // ns worth of tokens, and when that was so
} bucket_t;

struct packet_rules {
    packet_sections_t s;
    packet_log_t *log;
    ranges_t *sets, *maps;
    packet_count_t *counts;
    bucket_t *buckets;
};

packet_rules_t *packet_rules_now;

// A packet's values as conditions ask for them.
typedef struct {
    uint32_t narrow[PACKET_F_NARROW];
    uint64_t wide[PACKET_F_END - PACKET_F_NARROW][2];
} values_t;

void packet_log_init(packet_log_t *log, packet_record_t *records, uint32_t size) {
    *log = (packet_log_t){.records = records, .size = size};
}

bool packet_log_take(packet_log_t *log, packet_record_t *out) {
    if (log->count == 0) {
        return false;
    }
    *out = log->records[log->first];
    log->first = log->first + 1 == log->size ? 0 : log->first + 1;
    log->count--;
    return true;
}

static void write_down(packet_rules_t *r, uint32_t name, unsigned hook, const packet_key_t *key, uint64_t now_ns) {
    packet_log_t *log = r->log;
    if (log == NULL || log->size == 0) {
        return;
    }
    if (log->count == log->size) {
        log->first = log->first + 1 == log->size ? 0 : log->first + 1;
        log->count--;
        log->lost++;
    }
    uint32_t left = log->size - log->first;
    packet_record_t *to = &log->records[log->count < left ? log->first + log->count : log->count - left];
    log->count++;
    const packet_name_t *text = &r->s.names[name];
    *to = (packet_record_t){.time_ns = now_ns, .key = *key, .hook = (uint8_t)hook, .len = (uint8_t)text->len};
    memcpy(to->text, r->s.text + text->offset, text->len);
}

static uint64_t big_endian(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

static void lay_out(values_t *v, const packet_key_t *key) {
    v->narrow[PACKET_F_FAMILY] = key->family;
    v->narrow[PACKET_F_PROTO] = key->proto;
    v->narrow[PACKET_F_IN] = key->in;
    v->narrow[PACKET_F_OUT] = key->out;
    v->narrow[PACKET_F_FRAGMENT] = key->fragment;
    v->narrow[PACKET_F_TTL] = key->ttl;
    v->narrow[PACKET_F_DSCP] = key->dscp;
    v->narrow[PACKET_F_FLAGS] = key->tcp_flags;
    v->narrow[PACKET_F_ICMP_TYPE] = key->icmp_type;
    v->narrow[PACKET_F_ICMP_CODE] = key->icmp_code;
    v->narrow[PACKET_F_STATE] = key->state;
    v->narrow[PACKET_F_SPORT] = key->sport;
    v->narrow[PACKET_F_DPORT] = key->dport;
    v->narrow[PACKET_F_LENGTH] = key->length;
    v->narrow[PACKET_F_VLAN] = key->vlan;
    v->narrow[PACKET_F_MARK] = key->mark;
    v->wide[PACKET_F_SRC6 - PACKET_F_NARROW][0] = big_endian(key->src);
    v->wide[PACKET_F_SRC6 - PACKET_F_NARROW][1] = big_endian(key->src + 8);
    v->wide[PACKET_F_DST6 - PACKET_F_NARROW][0] = big_endian(key->dst);
    v->wide[PACKET_F_DST6 - PACKET_F_NARROW][1] = big_endian(key->dst + 8);
    v->narrow[PACKET_F_SRC4] = (uint32_t)(v->wide[PACKET_F_SRC6 - PACKET_F_NARROW][0] >> 32);
    v->narrow[PACKET_F_DST4] = (uint32_t)(v->wide[PACKET_F_DST6 - PACKET_F_NARROW][0] >> 32);
    uint8_t mac[8] = {0};
    memcpy(mac + 2, key->smac, sizeof key->smac);
    v->wide[PACKET_F_SMAC - PACKET_F_NARROW][0] = 0;
    v->wide[PACKET_F_SMAC - PACKET_F_NARROW][1] = big_endian(mac);
}

static bool is_in_narrow(const ranges_t *set, uint32_t value) {
    const packet_narrow_t *r = set->ranges;
    uint32_t low = 0, count = set->count; // the last range that does not begin above the value
    while (count > 1) {
        uint32_t half = count / 2;
        low = r[low + half].lo <= value ? low + half : low;
        count -= half;
    }
    return count != 0 && r[low].lo <= value && value <= r[low].hi;
}

static bool is_below(const uint64_t a[2], const uint64_t b[2]) { return a[0] != b[0] ? a[0] < b[0] : a[1] < b[1]; }

static bool is_in_wide(const ranges_t *set, const uint64_t value[2]) {
    const packet_wide_t *r = set->ranges;
    uint32_t low = 0, count = set->count;
    while (count > 1) {
        uint32_t half = count / 2;
        low = is_below(value, r[low + half].lo) ? low : low + half;
        count -= half;
    }
    return count != 0 && !is_below(value, r[low].lo) && !is_below(r[low].hi, value);
}

static bool is_in(const packet_rules_t *r, const packet_insn_t *i, const values_t *v) {
    const ranges_t *set = &r->sets[i->a];
    return i->field < PACKET_F_NARROW ? is_in_narrow(set, v->narrow[i->field])
                                      : is_in_wide(set, v->wide[i->field - PACKET_F_NARROW]);
}

// The target for a destination port, or NULL.
static const packet_target_t *target_of(const ranges_t *map, uint32_t port) {
    const packet_target_t *t = map->ranges;
    uint32_t low = 0, count = map->count;
    while (count > 1) {
        uint32_t half = count / 2;
        low = t[low + half].lo <= port ? low + half : low;
        count -= half;
    }
    return count != 0 && t[low].lo <= port && port <= t[low].hi ? &t[low] : NULL;
}

// Where a switch leads.
static uint32_t way_of(const packet_case_t *cases, const packet_insn_t *i, uint32_t value) {
    uint32_t low = 0, count = i->b;
    while (count > 1) {
        uint32_t half = count / 2;
        low = cases[low + half].lo <= value ? low + half : low;
        count -= half;
    }
    return count != 0 && cases[low].lo <= value && value <= cases[low].hi ? cases[low].to : i->to;
}

// Take a token. The time that has gone by fills the bucket, up to its burst.
static bool has_token(const packet_limit_t *limit, bucket_t *b, uint64_t now_ns) {
    uint64_t full = limit->period_ns * limit->burst;
    uint64_t gone = now_ns > b->at ? now_ns - b->at : 0;
    b->filled = gone >= full - b->filled ? full : b->filled + gone;
    b->at = now_ns > b->at ? now_ns : b->at;
    if (b->filled < limit->period_ns) {
        return false;
    }
    b->filled -= limit->period_ns;
    return true;
}

// An address is changed only where there is an IPv4 one, a port only where there are ports: others are dropped.
static void translate(packet_verdict_t *out, uint8_t kind, const packet_target_t *t, const packet_key_t *key) {
    out->kind = key->family == 4 ? kind : PACKET_DROP;
    if (t != NULL) {
        out->port = key->proto == TCP || key->proto == UDP ? t->port : 0;
        memcpy(out->addr, t->addr, sizeof out->addr);
    }
}

// The verdict that an instruction is, which ends a run.
static void decide(const packet_rules_t *r, const packet_insn_t *i, const packet_key_t *key, packet_verdict_t *out) {
    switch (i->op) {
        case PACKET_OP_DROP:
            out->kind = PACKET_DROP;
            break;
        case PACKET_OP_REJECT:
            out->kind = PACKET_REJECT;
            out->reject = (uint8_t)i->a;
            break;
        case PACKET_OP_DNAT:
            translate(out, PACKET_DNAT, &r->s.targets[i->a], key);
            break;
        case PACKET_OP_SNAT:
            translate(out, PACKET_SNAT, &r->s.targets[i->a], key);
            break;
        case PACKET_OP_MASQUERADE:
            translate(out, PACKET_MASQUERADE, NULL, key);
            break;
        default:
            break; // PACKET_OP_ACCEPT
    }
}

void packet_rules_run(packet_rules_t *r, unsigned hook, const packet_key_t *key, uint64_t now_ns,
                      packet_verdict_t *out) {
    *out = (packet_verdict_t){.kind = PACKET_ACCEPT, .mark = key->mark};
    if (!packet_rules_has(r, hook)) {
        return;
    }
    values_t v;
    lay_out(&v, key);
    const packet_insn_t *code = r->s.code, *i = &code[r->s.chains[r->s.head->entry[hook]].start];
    const packet_insn_t *back[PACKET_PROGRAM_DEPTH];
    const packet_target_t *target;
    unsigned depth = 0;
    for (;; i++) {
again:
        switch (i->op) {
            case PACKET_OP_RANGE:
                if ((v.narrow[i->field] - i->a <= i->b) == i->negate) {
                    goto jump;
                }
                break;
            case PACKET_OP_SET:
                if (is_in(r, i, &v) == i->negate) {
                    goto jump;
                }
                break;
            case PACKET_OP_LIMIT:
                if (!has_token(&r->s.limits[i->a], &r->buckets[i->a], now_ns)) {
                    goto jump;
                }
                break;
            case PACKET_OP_SWITCH:
                i = &code[way_of(r->s.cases + i->a, i, v.narrow[i->field])];
                goto again;
            case PACKET_OP_COUNT:
                r->counts[i->a].packets++;
                r->counts[i->a].bytes += key->length;
                break;
            case PACKET_OP_LOG:
                write_down(r, i->a, hook, key, now_ns);
                break;
            case PACKET_OP_MARK:
                v.narrow[PACKET_F_MARK] = out->mark = i->a;
                break;
            case PACKET_OP_CALL:
                back[depth++] = i;
                i = &code[r->s.chains[i->a].start];
                goto again;
            case PACKET_OP_RETURN:
                i = back[--depth];
                break;
            case PACKET_OP_DNAT_MAP:
                target = target_of(&r->maps[i->a], key->dport);
                if (target == NULL) {
                    goto jump;
                }
                translate(out, PACKET_DNAT, target, key);
                return;
            default:
                decide(r, i, key, out);
                return;
        }
        continue;
jump:
        i = &code[i->to];
        goto again;
    }
}

int packet_rules_check(const uint8_t *bytes, size_t len) {
    packet_sections_t s;
    return packet_program_open(&s, bytes, len) == 0 ? packet_program_check(&s) : -EINVAL;
}

static size_t rounded(size_t len) { return (len + 7) & ~(size_t)7; }

size_t packet_rules_room(const uint8_t *bytes, size_t len) {
    packet_program_t h;
    if (len < sizeof h || len > PACKET_PROGRAM_SIZE) {
        return 0;
    }
    memcpy(&h, bytes, sizeof h);
    uint64_t state = ((uint64_t)h.sets + h.maps) * sizeof(ranges_t) + (uint64_t)h.counters * sizeof(packet_count_t) +
                     (uint64_t)h.limits * sizeof(bucket_t);
    bool plausible = h.magic == PACKET_PROGRAM_MAGIC && h.size == len && state <= 2 * (uint64_t)len;
    return plausible ? sizeof(packet_rules_t) + rounded(len) + (size_t)state : 0;
}

// Lay out the state behind the program.
static void set_up(packet_rules_t *r, uint8_t *at) {
    const packet_program_t *h = r->s.head;
    r->sets = (ranges_t *)(void *)at;
    r->maps = r->sets + h->sets;
    r->counts = (packet_count_t *)(void *)(r->maps + h->maps);
    r->buckets = (bucket_t *)(void *)(r->counts + h->counters);
    for (uint32_t i = 0; i < h->sets; i++) {
        const packet_set_t *set = &r->s.sets[i];
        const void *ranges = set->wide ? (const void *)(r->s.wide + set->first) : r->s.narrow + set->first;
        r->sets[i] = (ranges_t){ranges, set->count};
    }
    for (uint32_t i = 0; i < h->maps; i++) {
        r->maps[i] = (ranges_t){r->s.targets + r->s.maps[i].first, r->s.maps[i].count};
    }
    memset(r->counts, 0, h->counters * sizeof *r->counts);
    for (uint32_t i = 0; i < h->limits; i++) {
        r->buckets[i] = (bucket_t){r->s.limits[i].period_ns * r->s.limits[i].burst, 0};
    }
}

// Which of two names stands first: below 0, 0 or above, as memcmp() says it.
static int compare(const char *a, size_t a_len, const char *b, size_t b_len) {
    int way = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return way != 0 ? way : (a_len > b_len) - (a_len < b_len);
}

// Both have their counters in the order of names.
static void carry_counts(packet_rules_t *r, const packet_rules_t *before) {
    const char *name, *old_name;
    size_t len, old_len;
    packet_count_t count, old;
    uint32_t i = 0, k = 0;
    while (packet_rules_count(r, i, &name, &len, &count) && packet_rules_count(before, k, &old_name, &old_len, &old)) {
        int way = compare(name, len, old_name, old_len);
        if (way == 0) {
            r->counts[i] = old;
        }
        i += way <= 0;
        k += way >= 0;
    }
}

packet_rules_t *packet_rules_load(void *memory, const uint8_t *bytes, size_t len, const packet_rules_t *before,
                                  packet_log_t *log) {
    if (packet_rules_room(bytes, len) == 0) {
        return NULL;
    }
    packet_rules_t *r = memory;
    uint8_t *program = (uint8_t *)memory + sizeof *r;
    memcpy(program, bytes, len);
    if (packet_program_open(&r->s, program, len) != 0 || packet_program_check(&r->s) != 0) {
        return NULL;
    }
    r->log = log;
    set_up(r, program + rounded(len));
    if (before != NULL) {
        carry_counts(r, before);
    }
    return r;
}

packet_rules_t *packet_rules_use(packet_rules_t *r) {
    packet_rules_t *before = packet_rules_now;
    packet_rules_now = r;
    return before;
}

bool packet_rules_has(const packet_rules_t *r, unsigned hook) { return r->s.head->entry[hook] != PACKET_PROGRAM_NONE; }

bool packet_rules_count(const packet_rules_t *r, uint32_t number, const char **name, size_t *len, packet_count_t *out) {
    if (number >= r->s.head->counters) {
        return false;
    }
    const packet_name_t *text = &r->s.names[r->s.counters[number].name];
    *name = (const char *)r->s.text + text->offset;
    *len = text->len;
    *out = r->counts[number];
    return true;
}

int packet_rules_set(packet_rules_t *r, uint32_t number, const void *ranges, size_t len) {
    if (number >= r->s.head->sets || r->s.sets[number].name == PACKET_PROGRAM_NONE) {
        return -ENOENT;
    }
    bool wide = r->s.sets[number].wide != 0;
    size_t each = wide ? sizeof(packet_wide_t) : sizeof(packet_narrow_t), count = len / each;
    if (len > PACKET_PROGRAM_SIZE || len % each != 0 || (uintptr_t)ranges % 8 != 0 ||
        (wide ? packet_program_wide(ranges, count) : packet_program_narrow(ranges, count)) != 0) {
        return -EINVAL;
    }
    r->sets[number] = (ranges_t){ranges, (uint32_t)count};
    return 0;
}

int packet_rules_map(packet_rules_t *r, uint32_t number, const void *targets, size_t len) {
    if (number >= r->s.head->maps || r->s.maps[number].name == PACKET_PROGRAM_NONE) {
        return -ENOENT;
    }
    size_t count = len / sizeof(packet_target_t);
    if (len > PACKET_PROGRAM_SIZE || len % sizeof(packet_target_t) != 0 || (uintptr_t)targets % 8 != 0 ||
        packet_program_targets(targets, count) != 0) {
        return -EINVAL;
    }
    r->maps[number] = (ranges_t){targets, (uint32_t)count};
    return 0;
}
