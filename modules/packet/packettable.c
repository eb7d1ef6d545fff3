// SPDX-License-Identifier: MIT
// Memory of the flows: see packettable.h. The wheel is lazy: a flow hangs where it would have expired when it was put
// there, and is hung up again when the wheel comes by and it lives longer by then. What is found is always asked
// whether it is over, so a wheel that lags behind holds memory and does nothing else.
// Owns nothing of its own. Not here: packets (packetflow.c). Context: main loop; host tests.

#include "packettable.h"

#include <string.h>

enum { ALIGN = 64, CHAIN_MAX = 64, NONE = UINT32_MAX };

static const uint16_t lifes_s[PACKET_LIFES] = {
    [PACKET_LIFE_TCP_OPENING] = 240,   [PACKET_LIFE_TCP_ESTABLISHED] = 7440,
    [PACKET_LIFE_TCP_CLOSING] = 240,   [PACKET_LIFE_TCP_TIME_WAIT] = 120,
    [PACKET_LIFE_TCP_RESET] = 10,      [PACKET_LIFE_UDP_ONE_WAY] = 120,
    [PACKET_LIFE_UDP] = 300,           [PACKET_LIFE_ICMP] = 60,
    [PACKET_LIFE_OTHER_ONE_WAY] = 120, [PACKET_LIFE_OTHER] = 600,
};

static inline uint64_t rotl(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

uint64_t packet_table_hash(const packet_flows_t *t, const uint64_t *words, unsigned count) {
    uint64_t v[4] = {t->key[0] ^ 0x736f6d6570736575, t->key[1] ^ 0x646f72616e646f6d, t->key[0] ^ 0x6c7967656e657261,
                     t->key[1] ^ 0x7465646279746573};
    for (unsigned i = 0; i <= count; i++) {
        uint64_t m = i < count ? words[i] : (uint64_t)count << 59; // the last word is the length in bytes, modulo 256
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t packet_table_draw(packet_flows_t *t) {
    uint64_t word = ++t->draws;
    return (uint32_t)packet_table_hash(t, &word, 1);
}

// ---- chains --------------------------------------------------------------------------------------

static uint32_t *bucket_of(const packet_flows_t *t, const packet_tuple_t *tuple) {
    uint64_t words[5];
    _Static_assert(sizeof words == sizeof *tuple, "a tuple is five words without holes");
    memcpy(words, tuple, sizeof words);
    if (tuple->family == 4) { // the rest of the addresses is 0
        words[0] |= words[2] << 32;
        words[1] = words[4];
        return &t->bucket[packet_table_hash(t, words, 2) & t->mask];
    }
    return &t->bucket[packet_table_hash(t, words, 5) & t->mask];
}

static inline packet_flow_t *flow_at(const packet_flows_t *t, uint32_t place) { return &t->flow[(place - 1) >> 1]; }
static inline uint32_t index_of(const packet_flows_t *t, const packet_flow_t *f) { return (uint32_t)(f - t->flow); }

static void chain(packet_flows_t *t, packet_flow_t *f, unsigned dir) {
    uint32_t *bucket = bucket_of(t, &f->tuple[dir]);
    f->chain[dir] = *bucket;
    *bucket = index_of(t, f) * 2 + dir + 1;
}

static void unchain(packet_flows_t *t, packet_flow_t *f, unsigned dir) {
    uint32_t place = index_of(t, f) * 2 + dir + 1;
    uint32_t *link = bucket_of(t, &f->tuple[dir]);
    while (*link != place) { // it is there
        link = &flow_at(t, *link)->chain[(*link - 1) & 1];
    }
    *link = f->chain[dir];
}

// How many are in a chain already.
static unsigned length(const packet_flows_t *t, uint32_t place) {
    unsigned n = 0;
    for (; place != 0; place = flow_at(t, place)->chain[(place - 1) & 1]) {
        n++;
    }
    return n;
}

packet_flow_t *packet_table_find(packet_flows_t *t, const packet_tuple_t *tuple, uint8_t *dir) {
    for (uint32_t place = *bucket_of(t, tuple); place != 0;) {
        packet_flow_t *f = flow_at(t, place);
        uint8_t side = (place - 1) & 1;
        if (memcmp(&f->tuple[side], tuple, sizeof *tuple) == 0) {
            if (f->expires_ns <= t->now) {
                t->stats.expired++;
                packet_table_remove(t, f);
                return NULL;
            }
            *dir = side;
            return f;
        }
        place = f->chain[side];
    }
    return NULL;
}

// ---- wheel ---------------------------------------------------------------------------------------

static uint32_t tick_of(uint64_t ns) { return (uint32_t)(ns >> PACKET_TICK_SHIFT); }

static void unhang(packet_flows_t *t, packet_flow_t *f) {
    uint32_t next = f->wheel[0], before = f->wheel[1];
    if (before == NONE) {
        t->slot[f->slot % PACKET_WHEEL_SLOTS] = next;
    } else {
        t->flow[before].wheel[0] = next;
    }
    if (next != NONE) {
        t->flow[next].wheel[1] = before;
    }
}

// Hang it where it expires, or as far ahead as the wheel goes; never where the wheel is.
static void hang(packet_flows_t *t, packet_flow_t *f) {
    uint32_t ahead = tick_of(f->expires_ns) - t->cursor, i = index_of(t, f);
    ahead = ahead < 1 ? 1 : ahead >= PACKET_WHEEL_SLOTS ? PACKET_WHEEL_SLOTS - 1 : ahead;
    f->slot = t->cursor + ahead;
    uint32_t *head = &t->slot[f->slot % PACKET_WHEEL_SLOTS];
    f->wheel[0] = *head;
    f->wheel[1] = NONE;
    if (*head != NONE) {
        t->flow[*head].wheel[1] = i;
    }
    *head = i;
}

void packet_table_touch(packet_flows_t *t, packet_flow_t *f, packet_life_t life) {
    f->life = (uint8_t)life;
    f->expires_ns = t->now + t->life[life];
    if ((int32_t)(f->slot - tick_of(f->expires_ns)) > 0) {
        unhang(t, f);
        hang(t, f);
    }
}

void packet_flow_age(packet_flows_t *t, uint64_t now_ns, unsigned work) {
    t->now = now_ns > t->now ? now_ns : t->now;
    uint32_t to = tick_of(t->now);
    if (to - t->cursor > PACKET_WHEEL_SLOTS) {
        t->cursor = to - PACKET_WHEEL_SLOTS; // one turn sees every flow
    }
    for (; t->cursor != to && work > 0; work--) {
        uint32_t i = t->slot[t->cursor % PACKET_WHEEL_SLOTS];
        if (i == NONE) {
            t->cursor++;
        } else if (t->flow[i].expires_ns <= t->now) {
            t->stats.expired++;
            packet_table_remove(t, &t->flow[i]);
        } else {
            unhang(t, &t->flow[i]);
            hang(t, &t->flow[i]);
        }
    }
}

// ---- queues --------------------------------------------------------------------------------------

static void unqueue(packet_flows_t *t, packet_flow_t *f) {
    if (f->list == PACKET_QUEUE_NONE) {
        return;
    }
    uint32_t next = f->queue[0], before = f->queue[1];
    *(before == NONE ? &t->first[f->list] : &t->flow[before].queue[0]) = next;
    *(next == NONE ? &t->last[f->list] : &t->flow[next].queue[1]) = before;
    t->stats.young -= f->list == PACKET_QUEUE_YOUNG;
    f->list = PACKET_QUEUE_NONE;
}

void packet_table_queue(packet_flows_t *t, packet_flow_t *f, packet_queue_t queue) {
    if (f->list == queue) {
        return;
    }
    unqueue(t, f);
    f->list = (uint8_t)queue;
    if (queue == PACKET_QUEUE_NONE) {
        return;
    }
    uint32_t i = index_of(t, f), last = t->last[queue];
    f->queue[0] = NONE;
    f->queue[1] = last;
    *(last == NONE ? &t->first[queue] : &t->flow[last].queue[0]) = i;
    t->last[queue] = i;
    t->stats.young += queue == PACKET_QUEUE_YOUNG;
}

// ---- flows ---------------------------------------------------------------------------------------

// End what is over anyway, or has waited for long for an answer. False: all flows are in use.
static bool make_room(packet_flows_t *t) {
    packet_flow_age(t, t->now, PACKET_WHEEL_SLOTS);
    if (t->free != NONE) {
        return true;
    }
    uint32_t i = t->first[PACKET_QUEUE_SPENT];
    if (i == NONE) {
        i = t->first[PACKET_QUEUE_YOUNG];
        if (i == NONE || t->now - t->flow[i].started_ns < t->victim_age) {
            return false;
        }
    }
    t->stats.evicted++;
    packet_table_remove(t, &t->flow[i]);
    return true;
}

packet_flow_t *packet_table_add(packet_flows_t *t, const packet_tuple_t tuple[2]) {
    if (t->free == NONE && !make_room(t)) {
        return NULL;
    }
    unsigned crowd[2] = {length(t, *bucket_of(t, &tuple[0])), length(t, *bucket_of(t, &tuple[1]))};
    if (crowd[0] >= CHAIN_MAX - 1 || crowd[1] >= CHAIN_MAX - 1) {
        return NULL; // with a seed that nobody knows this does not happen
    }
    packet_flow_t *f = &t->flow[t->free];
    t->free = f->chain[0];
    memset(f, 0, sizeof *f);
    f->used = true;
    f->number = ++t->numbers;
    f->started_ns = t->now;
    for (unsigned dir = 0; dir < 2; dir++) {
        f->tuple[dir] = tuple[dir];
        chain(t, f, dir);
        t->stats.longest = crowd[dir] + 1 > t->stats.longest ? crowd[dir] + 1 : t->stats.longest;
    }
    f->expires_ns = t->now + ((uint64_t)PACKET_WHEEL_SLOTS << PACKET_TICK_SHIFT); // until it is touched
    hang(t, f);
    t->stats.made++;
    t->stats.flows++;
    return f;
}

void packet_table_remove(packet_flows_t *t, packet_flow_t *f) {
    unchain(t, f, 0);
    unchain(t, f, 1);
    unhang(t, f);
    unqueue(t, f);
    f->used = false;
    f->chain[0] = t->free;
    t->free = index_of(t, f);
    t->stats.flows--;
}

// ---- set-up --------------------------------------------------------------------------------------

static size_t up(size_t n) { return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1); }

static uint32_t buckets_for(uint32_t flows) {
    uint32_t n = 16;
    while (n < 2 * flows) {
        n *= 2;
    }
    return n;
}

size_t packet_flow_size(uint32_t flows) {
    if (flows == 0 || flows > PACKET_FLOWS_MAX) {
        return 0;
    }
    return up(sizeof(packet_flows_t)) + up(buckets_for(flows) * sizeof(uint32_t)) + flows * sizeof(packet_flow_t);
}

packet_flows_t *packet_flow_init(void *memory, uint32_t flows, const uint64_t seed[2]) {
    packet_flows_t *t = memory;
    memset(t, 0, sizeof *t);
    uint8_t *p = (uint8_t *)memory + up(sizeof *t);
    uint32_t buckets = buckets_for(flows);
    t->bucket = (uint32_t *)(void *)p;
    t->flow = (packet_flow_t *)(void *)(p + up(buckets * sizeof *t->bucket));
    t->size = flows;
    t->mask = buckets - 1;
    memset(t->bucket, 0, buckets * sizeof *t->bucket);
    memset(t->flow, 0, flows * sizeof *t->flow);
    memset(t->slot, 0xff, sizeof t->slot);
    memset(t->first, 0xff, sizeof t->first);
    memset(t->last, 0xff, sizeof t->last);
    for (uint32_t i = 0; i < flows; i++) {
        t->flow[i].chain[0] = i + 1 < flows ? i + 1 : NONE;
    }
    memcpy(t->key, seed, sizeof t->key);
    t->victim_age = 2000000000;
    for (unsigned i = 0; i < PACKET_LIFES; i++) {
        t->life[i] = lifes_s[i] * 1000000000ull;
    }
    return t;
}

void packet_flow_reseed(packet_flows_t *t, const uint64_t seed[2]) {
    memcpy(t->key, seed, sizeof t->key);
    memset(t->bucket, 0, ((size_t)t->mask + 1) * sizeof *t->bucket);
    memset(&t->frags, 0, sizeof t->frags);
    for (uint32_t i = 0; i < t->size; i++) {
        if (t->flow[i].used) {
            chain(t, &t->flow[i], 0);
            chain(t, &t->flow[i], 1);
        }
    }
}

bool packet_flow_set_life(packet_flows_t *t, packet_life_t life, uint32_t seconds) {
    if ((unsigned)life >= PACKET_LIFES || seconds == 0) {
        return false;
    }
    t->life[life] = seconds * 1000000000ull;
    return true;
}

void packet_flow_set_loose(packet_flows_t *t, bool loose) { t->loose = loose; }
void packet_flow_set_victim_age(packet_flows_t *t, uint64_t ns) { t->victim_age = ns; }

void packet_flow_stats(const packet_flows_t *t, packet_flow_stats_t *out) { *out = t->stats; }
