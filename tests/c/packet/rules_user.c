// SPDX-License-Identifier: MIT
// packetrules.c for the tests: commands on standard input, each a letter, a length (32 bits) and so many bytes; answers
// on standard output. Keys and verdicts are as in memory. Context: a process on the host, under sanitizers.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packetrules.h"

enum { RECORDS = 8 };

typedef struct {
    uint64_t now_ns;
    uint32_t hook, zero;
    packet_key_t key;
} question_t;

_Static_assert(sizeof(packet_key_t) == 64 && sizeof(packet_verdict_t) == 12, "as tests/packet/ruleengine.py has them");

static packet_rules_t *rules;
static uint8_t *program, *changed[16];
static size_t program_len;
static unsigned changes;
static packet_record_t records[RECORDS];
static packet_log_t records_log;

static void answer(const void *p, size_t n) { fwrite(p, 1, n, stdout); }

static void answer_number(uint32_t n) { answer(&n, sizeof n); }

// Memory of its own for bytes: what reads beyond them is seen.
static uint8_t *kept(const uint8_t *data, size_t len) {
    uint8_t *p = malloc(len + !len);
    if (p == NULL) {
        abort();
    }
    memcpy(p, data, len);
    return p;
}

static int load(const uint8_t *data, size_t len) {
    size_t room = packet_rules_room(data, len);
    uint8_t *copy = kept(data, len);
    int valid = packet_rules_check(copy, len) == 0;
    uint8_t *memory = malloc(room + !room);
    packet_rules_t *made = packet_rules_load(memory, data, len, rules, &records_log);
    if ((made != NULL) != valid) {
        abort(); // both look at the same
    }
    if (made == NULL) {
        free(memory);
        free(copy);
        return 0;
    }
    free(rules);
    free(program);
    while (changes > 0) {
        free(changed[--changes]);
    }
    rules = made;
    program = copy;
    program_len = len;
    return 1;
}

static void run(const uint8_t *data, size_t len) {
    for (size_t i = 0; i + sizeof(question_t) <= len; i += sizeof(question_t)) {
        question_t q;
        memcpy(&q, data + i, sizeof q);
        packet_verdict_t v;
        packet_rules_run(rules, q.hook % PACKET_HOOKS, &q.key, q.now_ns, &v);
        answer(&v, sizeof v);
    }
}

static void tell_counts(void) {
    const char *name;
    size_t len;
    packet_count_t count;
    uint32_t n = 0;
    while (packet_rules_count(rules, n, &name, &len, &count)) {
        n++;
    }
    answer_number(n);
    for (uint32_t i = 0; packet_rules_count(rules, i, &name, &len, &count); i++) {
        answer_number((uint32_t)len);
        answer(name, len);
        answer(&count, sizeof count);
    }
}

static void tell_log(void) {
    answer_number((uint32_t)records_log.lost);
    answer_number(records_log.count);
    packet_record_t r;
    while (packet_log_take(&records_log, &r)) {
        answer(&r.time_ns, sizeof r.time_ns);
        answer(&r.key, sizeof r.key);
        answer_number(r.hook);
        answer_number(r.len);
        answer(r.text, r.len);
    }
}

// Have a set or map hold other values.
static int change(uint8_t letter, const uint8_t *data, size_t len) {
    uint32_t number;
    memcpy(&number, data, sizeof number);
    uint8_t *content = kept(data + sizeof number, len - sizeof number);
    int error = letter == 'S' ? packet_rules_set(rules, number, content, len - sizeof number)
                              : packet_rules_map(rules, number, content, len - sizeof number);
    if (error != 0 || changes == sizeof changed / sizeof changed[0]) {
        free(content);
        return error != 0 ? error : -1;
    }
    changed[changes++] = content;
    return 0;
}

static uint32_t random_state;

static uint32_t any(uint32_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % below;
}

// What is written over a program's bytes: mostly numbers that are nearly right somewhere.
static void spoil(uint8_t *at, size_t left) {
    uint32_t value = any(2) ? any(24) : any(3) ? (1u << any(32)) - any(2) : random_state;
    size_t size = any(3) ? 1 : sizeof value;
    memcpy(at, &value, size < left ? size : left);
}

// Run whatever a program that is taken decides about packets of any kind.
static void try_out(packet_rules_t *r) {
    for (unsigned n = 0; n < 8 * PACKET_HOOKS; n++) {
        packet_key_t key;
        for (size_t i = 0; i < sizeof key; i++) {
            ((uint8_t *)&key)[i] = (uint8_t)(any(3) ? any(8) : any(256));
        }
        key.family = (uint8_t)(any(2) ? 4 : 6);
        packet_verdict_t v;
        packet_rules_run(r, n % PACKET_HOOKS, &key, (uint64_t)n * 1000000, &v);
        if (v.kind > PACKET_MASQUERADE || v.reject >= PACKET_REJECT_KINDS ||
            (v.kind >= PACKET_DNAT && (key.family != 4 || (v.kind == PACKET_DNAT) != (n % PACKET_HOOKS == 0)))) {
            abort();
        }
    }
}

// Spoil the loaded program in many ways. Returns how many of them were taken.
static uint32_t fuzz(uint32_t rounds) {
    uint32_t taken = 0;
    while (rounds-- > 0) {
        uint8_t *copy = kept(program, program_len);
        size_t len = any(16) ? program_len : any((uint32_t)program_len);
        for (uint32_t n = 1 + any(3); n > 0 && len > 0; n--) {
            size_t at = any(2) ? any((uint32_t)len) : any((uint32_t)len) & ~3u;
            spoil(copy + at, len - at);
        }
        size_t room = packet_rules_room(copy, len);
        uint8_t *memory = malloc(room + !room);
        packet_rules_t *made = packet_rules_load(memory, copy, len, rules, &records_log);
        if (made != NULL) {
            taken++;
            try_out(made);
        }
        free(memory);
        free(copy);
    }
    return taken;
}

int main(void) {
    packet_log_init(&records_log, records, RECORDS);
    uint8_t letter;
    uint32_t len;
    while (fread(&letter, 1, 1, stdin) == 1 && fread(&len, 1, sizeof len, stdin) == sizeof len) {
        uint8_t *data = malloc(len + !len);
        if (data == NULL || fread(data, 1, len, stdin) != len) {
            return 1;
        }
        if (letter == 'L') {
            answer_number((uint32_t)load(data, len));
        } else if (letter == 'R') {
            run(data, len);
        } else if (letter == 'C') {
            tell_counts();
        } else if (letter == 'G') {
            tell_log();
        } else if (letter == 'S' || letter == 'M') {
            answer_number((uint32_t)change(letter, data, len));
        } else if (letter == 'F') {
            uint32_t words[2];
            memcpy(words, data, sizeof words);
            random_state = words[0] | 1;
            answer_number(fuzz(words[1]));
        }
        free(data);
        fflush(stdout);
    }
    free(rules);
    free(program);
    while (changes > 0) {
        free(changed[--changes]);
    }
    return 0;
}
