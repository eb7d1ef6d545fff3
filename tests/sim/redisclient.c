// SPDX-License-Identifier: MIT
// Sessions with images/redis: values that are written alone, and pairs that one transaction writes. What was
// acknowledged is there, over any cut of the power; of what was under way when a connection ended, all or nothing is.
// Owns what each session knows of its keys. Not here: connections (client.c). Context: a client's node.

#include <stdio.h>
#include <string.h>

#include "client.h"

enum { SLOTS = 6, PAIRS = 3, BATCH = 3, OPS = 16, HEAD = 4, ROOM = 8192 }; // of the slots, the last PAIRS are pairs
typedef enum { UNKNOWN, OK, WAIT } result_t;                               // WAIT: the rest of the answer is not there

// A key, or two of them. After a doubt it gets another name: what was under way may yet come and be done.
typedef struct {
    unsigned name;
    uint32_t tried, acked; // versions; 0: none
    bool doubt;            // tried may be there, in place of acked
} slot_t;

typedef struct {
    slot_t *slot;
    bool writes;
} op_t;

typedef struct {
    slot_t slots[SLOTS];
    op_t ops[BATCH];
    unsigned count, answered; // of the batch: 0, 0: the next one can be asked
    uint32_t req_len, req_sent, ans_len;
    uint8_t req[ROOM], ans[ROOM];
} redis_t;

static redis_t each[CLIENT_SESSIONS];

static bool is_pair(const redis_t *r, const slot_t *s) { return s - r->slots >= SLOTS - PAIRS; }

static unsigned value_len(uint32_t version) { return HEAD + version * 37 % (SIM_VALUE_MAX - HEAD); }

static uint64_t value_name(const session_t *c, const slot_t *s, unsigned half, uint32_t version) {
    uint64_t at = (uint64_t)(s - each[c->number].slots);
    return (uint64_t)sim_start->index << 60 | (uint64_t)c->number << 56 | at << 48 | (uint64_t)half << 47 |
           (uint64_t)s->name << 32 | version;
}

// ---- requests -----------------------------------------------------------------------------------

static void put(redis_t *r, const char *text, size_t len) {
    hal_assert(r->req_len + len <= ROOM);
    memcpy(r->req + r->req_len, text, len);
    r->req_len += (uint32_t)len;
}

static void put_words(redis_t *r, unsigned count, const char *word) {
    char text[40];
    put(r, text, (size_t)snprintf(text, sizeof text, "*%u\r\n$%u\r\n%s\r\n", count, (unsigned)strlen(word), word));
}

static void put_key(const session_t *c, redis_t *r, const slot_t *s, unsigned half) {
    char key[40], text[60];
    int n = snprintf(key, sizeof key, "%u.%u.%u.%u%c", sim_start->index, c->number, (unsigned)(s - r->slots), s->name,
                     half == 0 ? 'a' : 'b');
    put(r, text, (size_t)snprintf(text, sizeof text, "$%d\r\n%s\r\n", n, key));
}

static void put_set(const session_t *c, redis_t *r, const slot_t *s, unsigned half) {
    uint8_t value[SIM_VALUE_MAX];
    char text[20];
    unsigned len = value_len(s->tried);
    memcpy(value, &s->tried, HEAD);
    for (unsigned i = HEAD; i < len; i++) {
        value[i] = sim_byte(value_name(c, s, half, s->tried), i);
    }
    put_words(r, 3, "SET");
    put_key(c, r, s, half);
    put(r, text, (size_t)snprintf(text, sizeof text, "$%u\r\n", len));
    put(r, (const char *)value, len);
    put(r, "\r\n", 2);
}

static void ask(const session_t *c, redis_t *r) {
    unsigned first = sim_below(SLOTS);
    r->count = 1 + sim_below(BATCH);
    r->answered = 0;
    r->req_len = r->req_sent = r->ans_len = 0;
    for (unsigned i = 0; i < r->count; i++) {
        slot_t *s = &r->slots[(first + i) % SLOTS];
        r->ops[i] = (op_t){s, !s->doubt && sim_below(3) > 0};
        s->tried += r->ops[i].writes;
        if (!r->ops[i].writes) {
            put_words(r, is_pair(r, s) ? 3 : 2, is_pair(r, s) ? "MGET" : "GET");
            put_key(c, r, s, 0);
            if (is_pair(r, s)) {
                put_key(c, r, s, 1);
            }
        } else if (is_pair(r, s)) {
            put_words(r, 1, "MULTI");
            put_set(c, r, s, 0);
            put_set(c, r, s, 1);
            put_words(r, 1, "EXEC");
        } else {
            put_set(c, r, s, 0);
        }
    }
}

// ---- answers ------------------------------------------------------------------------------------

// The answer goes on with this text, at *at, which moves behind it.
static result_t expect(const redis_t *r, uint32_t *at, const char *text) {
    for (; *text != '\0'; text++, (*at)++) {
        if (*at == r->ans_len) {
            return WAIT;
        }
        if (r->ans[*at] != (uint8_t)*text) {
            return UNKNOWN;
        }
    }
    return OK;
}

// A value, whose version is 0 where there is none.
static result_t take_value(const session_t *c, const redis_t *r, const slot_t *s, unsigned half, uint32_t *at,
                           uint32_t *version) {
    static const char nothing[] = "$-1\r\n";
    uint32_t begin = *at, len = 0;
    result_t none = expect(r, at, nothing);
    *version = 0;
    if (none != UNKNOWN) {
        return none;
    }
    *at = begin;
    result_t head = expect(r, at, "$");
    while (head == OK && *at < r->ans_len && r->ans[*at] >= '0' && r->ans[*at] <= '9' && len <= SIM_VALUE_MAX) {
        len = len * 10 + (r->ans[(*at)++] - '0');
    }
    head = head == OK ? expect(r, at, "\r\n") : head;
    if (head != OK) {
        return head;
    }
    if (r->ans_len - *at < len + 2) {
        return WAIT;
    }
    memcpy(version, r->ans + *at, HEAD);
    if (len < HEAD || *version > s->tried || len != value_len(*version)) {
        sim_broken("client %u: a value of %u bytes and version %u", sim_start->index, len, *version);
    }
    for (unsigned i = HEAD; i < len; i++) {
        if (r->ans[*at + i] != sim_byte(value_name(c, s, half, *version), i)) {
            sim_broken("client %u: version %u: byte %u is wrong", sim_start->index, *version, i);
        }
    }
    *at += len;
    return expect(r, at, "\r\n");
}

static void judge(const slot_t *s, uint32_t version) {
    if (version != s->acked && !(s->doubt && version == s->tried)) {
        sim_broken("client %u: a value has version %u, and %u was acknowledged", sim_start->index, version, s->acked);
    }
}

static result_t take_read(const session_t *c, redis_t *r, slot_t *s, uint32_t *at) {
    uint32_t a, b;
    bool pair = is_pair(r, s);
    result_t got = pair ? expect(r, at, "*2\r\n") : OK;
    got = got == OK ? take_value(c, r, s, 0, at, &a) : got;
    if (got == OK && pair) {
        got = take_value(c, r, s, 1, at, &b);
    }
    if (got != OK) {
        return got;
    }
    judge(s, a);
    if (pair) {
        bool halves =
            s->doubt && sim_start->may_fail; // one of its commands had no memory: the other holds, as in Redis
        judge(s, b);
        if (a != b && !halves) {
            sim_broken("client %u: half of a transaction: versions %u and %u", sim_start->index, a, b);
        }
    }
    if (s->doubt) {
        *s = (slot_t){.name = s->name + 1};
    }
    return OK;
}

static result_t take_written(const redis_t *r, slot_t *s, uint32_t *at) {
    static const char one[] = "+OK\r\n", two[] = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n";
    result_t got = expect(r, at, is_pair(r, s) ? two : one);
    s->acked = got == OK ? s->tried : s->acked;
    return got;
}

// Take the answers that are whole.
static void take_answers(session_t *c, redis_t *r) {
    while (r->answered < r->count) {
        const op_t *op = &r->ops[r->answered];
        uint32_t at = 0;
        result_t got = op->writes ? take_written(r, op->slot, &at) : take_read(c, r, op->slot, &at);
        if (got == WAIT) {
            return;
        }
        if (got == UNKNOWN) {
            bool refused = at < r->ans_len && r->ans[at] == '-';
            if (!refused || !sim_start->may_fail || client_calm(c)) {
                uint32_t from = refused ? at : 0;
                sim_broken("client %u: answered %.*s", sim_start->index, (int)(r->ans_len - from), r->ans + from);
            }
            client_failed(c, -ENOMEM); // it had no memory
            return;
        }
        memmove(r->ans, r->ans + at, r->ans_len -= at);
        r->answered++;
        c->ops++;
    }
    if (r->ans_len > 0) {
        sim_broken("client %u: %u bytes that nobody asked for", sim_start->index, r->ans_len);
    }
    r->count = 0;
}

void redis_lost(session_t *c) {
    redis_t *r = &each[c->number];
    for (unsigned i = r->answered; i < r->count; i++) {
        r->ops[i].slot->doubt |= r->ops[i].writes;
    }
    r->count = 0;
}

bool redis_step(session_t *c) {
    redis_t *r = &each[c->number];
    bool worked = false;
    if (r->count == 0) {
        if (c->ops >= OPS) {
            client_finished(c);
            return true;
        }
        ask(c, r);
    }
    if (r->req_sent < r->req_len) {
        uint32_t most = r->req_len - r->req_sent, n = sim_below(3) > 0 ? most : 1 + sim_below(most);
        ssize_t sent = sock_send(c->s, r->req + r->req_sent, n, NULL);
        if (sent < 0 && sent != -EAGAIN) {
            client_failed(c, (int)sent);
            return true;
        }
        worked = sent > 0;
        r->req_sent += sent > 0 ? (uint32_t)sent : 0;
    }
    ssize_t got = sock_recv(c->s, r->ans + r->ans_len, ROOM - r->ans_len, NULL);
    if (got == -EAGAIN) {
        return worked;
    }
    if (got <= 0) {
        client_failed(c, got == 0 ? -EPIPE : (int)got);
        return true;
    }
    r->ans_len += (uint32_t)got;
    take_answers(c, r);
    return true;
}
