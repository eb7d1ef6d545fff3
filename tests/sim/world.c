// SPDX-License-Identifier: MIT
// One run for each seed: what will go wrong is drawn first, then time goes from event to event until all clients have
// had what they want and all nodes have ended, or a promise was broken. A line a seed on standard output:
// SEED ok|broken HASH EVENTS MILLISECONDS [what]. Usage: world FOLDER FIRST COUNT [-v]

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "world.h"

enum { CALM_TAKES_S = 400, END_TAKES_S = 200, PROCESSOR_S = 60 };
enum { F_CSUM = 1 << 0, F_GUEST_CSUM = 1 << 1, F_MAC = 1 << 5, F_TSO4 = 1 << 11, F_TSO6 = 1 << 12, F_MRG = 1 << 15 };
enum { F_STATUS = 1 << 16, F_FLUSH = 1 << 9 };

world_t world;
static sim_start_t starts[SIM_NODES];
static jmp_buf aground;

uint32_t below(uint32_t n) { // splitmix64
    uint64_t z = world.state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (uint32_t)(((z ^ z >> 31) >> 32) * n >> 32);
}

bool chance(unsigned of_thousand) { return of_thousand > 0 && below(1000) < of_thousand; }

uint64_t hash_bytes(const void *data, size_t len) {
    uint64_t h = 14695981039346656037ull;
    const uint8_t *p = data;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 32;
    }
    for (; len > 0; p++, len--) {
        h = (h ^ *p) * 1099511628211ull;
    }
    return h;
}

void trace(unsigned node, const char *what, uint64_t a, uint64_t b) {
    uint64_t words[] = {world.hash, world.now, node, hash_bytes(what, strlen(what)), a, b};
    world.hash = hash_bytes(words, sizeof words);
    if (world.verbose) {
        printf("%12.6f %u %s %llu %llx\n", (double)world.now / 1e9, node, what, (unsigned long long)a,
               (unsigned long long)b);
    }
}

void broken(const char *text) {
    snprintf(world.broken, sizeof world.broken, "%s", text);
    if (world.running != NULL) {
        node_leave();
    }
    longjmp(aground, 1);
}

// ---- what goes wrong ----------------------------------------------------------------------------

static unsigned one_of(const unsigned *list, unsigned n) { return list[below(n)]; }

static void draw_lacks(scenario_t *p) {
    p->lacks = below(2) ? 0 : below(FAILS_MAX + 1);
    for (unsigned i = 0; i < p->lacks; i++) {
        p->lack_at[i] = below(1u << (6 + below(12)));
        p->lack_for[i] = 1 + below(1u << below(5));
    }
}

static void draw_plan(void) {
    static const unsigned rates[] = {0, 0, 5, 20, 100, 250}, few[] = {0, 0, 5, 30};
    scenario_t *p = &world.plan;
    *p = (scenario_t){.calm = (6000 + below(25000)) * MS};
    p->loss = one_of(rates, 6);
    p->twice = one_of(few, 4);
    p->corrupt = one_of(few, 4);
    p->late = one_of(rates, 5);
    p->latency = below(2) ? below(100000) : below(20) * MS;
    p->jitter = below(2) ? 0 : below(2 * MS);
    p->late_by = (1 + below(500)) * MS;
    p->disk_latency = 2000u << below(9);
    p->write_through = below(4) == 0;
    p->cuts = below(CUTS_MAX + 1);
    uint64_t at = 500 * MS;
    for (unsigned i = 0; i < p->cuts; i++) {
        p->cut[i] = at += below((uint32_t)((p->calm / MS - 4000) / p->cuts)) * MS + below(1000000);
        at += p->cut_for[i] = (100 + below(900)) * MS;
        p->cut_keeps[i] = below(MEDIUM_CUTS);
        p->cut_waits[i] = below(2) == 0;
    }
    p->splits = below(SPLITS_MAX + 1);
    for (unsigned i = 0; i < p->splits; i++) {
        p->split[i] = below((uint32_t)(p->calm / MS)) * MS;
        p->split_for[i] = below((uint32_t)((p->calm - p->split[i]) / MS)) * MS;
        p->split_node[i] = below(SIM_NODES);
    }
    p->fails = below(2) ? 0 : below(FAILS_MAX + 1);
    for (unsigned i = 0; i < p->fails; i++) {
        p->fail_node[i] = below(SIM_NODES);
        p->fail_at[i] = below(1u << (2 + below(10)));
        p->fail_for[i] = 1 + below(1u << below(8));
    }
    if (node_calls(0)->serves[0] != '\0') {
        draw_lacks(p);
    }
}

static void draw_starts(void) {
    const scenario_t *p = &world.plan;
    // Who waits for ever may: the reset of a server that has no memory, no power or has waited for 20 s can be lost.
    bool sure = p->cuts == 0 && p->fails == 0 && p->lacks == 0 && p->splits == 0 && p->loss <= 20;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        sim_start_t *s = &starts[i];
        *s = (sim_start_t){
            .index = i, .serves = node_calls(0)->serves, .six = below(3) == 0, .patient = sure && below(2) == 0};
        s->may_fail = p->fails > 0 || p->lacks > 0;
        s->net_features = F_MAC | F_STATUS | (below(2) ? F_CSUM : 0) | (below(2) ? F_GUEST_CSUM : 0) |
                          (below(2) ? F_TSO4 | F_TSO6 : 0) | (below(2) ? F_MRG : 0);
        s->disk_features = p->write_through ? 0 : F_FLUSH;
        s->event_idx = below(2);
        s->queue_max = 16u << below(5);
        s->ram = (size_t)(8 + below(3) * 16) << 20;
    }
}

// ---- the run ------------------------------------------------------------------------------------

static void change_phase(void) {
    bool done = true, ended = true;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        done &= node_is_done(i);
        ended &= node_has_ended(i);
    }
    if (world.phase == SIM_FAULTS && world.now >= world.plan.calm) {
        world.phase = SIM_HEALED;
        trace(0, "calm", 0, 0);
    } else if (world.phase == SIM_HEALED && done) {
        world.phase = SIM_END;
        world.ended = world.now;
        trace(0, "end", 0, 0);
    } else if (world.phase == SIM_HEALED && world.now > world.plan.calm + CALM_TAKES_S * 1000 * MS) {
        broken("a client has not had what it wants, long after all was well again");
    } else if (world.phase == SIM_END && !ended && world.now > world.ended + END_TAKES_S * 1000 * MS) {
        broken("a node does not end");
    }
}

// The server's power: when it goes next, or comes back; cuts counts both.
static uint64_t power_due(unsigned changes) {
    const scenario_t *p = &world.plan;
    unsigned i = changes / 2;
    if (i >= p->cuts) {
        return UINT64_MAX;
    }
    if (changes % 2 == 1) {
        return p->cut[i] + p->cut_for[i];
    }
    return world.cut_now ? world.now : p->cut[i] + (world.flush_fatal ? p->cut_for[i] - 50 * MS : 0);
}

// Returns how many changes have been.
static unsigned change_power(unsigned changes) {
    bool cuts = changes % 2 == 0;
    if (cuts && world.plan.cut_waits[changes / 2] && !world.flush_fatal) {
        world.flush_fatal = true;
        return changes;
    }
    world.flush_fatal = world.cut_now = false;
    if (cuts) {
        trace(0, "power cut", world.plan.cut_keeps[changes / 2], 0);
        medium_cut(world.plan.cut_keeps[changes / 2]); // before the memory that it takes data from is gone
        node_cut(0);
    } else {
        starts[0].boots++;
        trace(0, "power", starts[0].boots, 0);
        node_boot(0, &starts[0]);
    }
    return changes + 1;
}

static void run(void) {
    unsigned changes = 0;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        node_boot(i, &starts[i]);
    }
    while (world.broken[0] == '\0' && !(node_has_ended(0) && node_has_ended(1) && node_has_ended(2))) {
        uint64_t due = power_due(changes);
        unsigned next = SIM_NODES;
        for (unsigned i = 0; i < SIM_NODES; i++) {
            uint64_t at = node_due(i);
            if (at < due) {
                due = at;
                next = i;
            }
        }
        if (due == UINT64_MAX) {
            broken("all stand still");
        }
        world.now = due > world.now ? due : world.now;
        change_phase();
        if (next < SIM_NODES) {
            node_go_on(next);
        } else {
            changes = change_power(changes);
        }
    }
}

// So many seconds of a processor, 0 for no end: a run that has the lowest priority is slow, and not stuck.
static void allow(unsigned seconds) { setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = seconds}, NULL); }

static void one_seed(uint64_t seed, bool verbose) {
    world = (world_t){.seed = seed, .state = seed * 0xd1342543de82ef95ull + 1, .verbose = verbose};
    nodes_reset();
    medium_reset();
    draw_plan();
    draw_starts();
    allow(PROCESSOR_S);
    if (setjmp(aground) == 0) {
        run();
    }
    allow(0);
    printf("%llu %s %016llx %llu %llu %s\n", (unsigned long long)seed, world.broken[0] == '\0' ? "ok" : "broken",
           (unsigned long long)world.hash, (unsigned long long)world.events, (unsigned long long)(world.now / MS),
           world.broken);
    fflush(stdout);
}

static void on_alarm(int signal) {
    (void)signal;
    static const char text[] = "\nthis seed takes too long: something runs on without looking at the clock\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(4);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: world FOLDER FIRST COUNT [-v]\n");
        return 2;
    }
    signal(SIGPROF, on_alarm);
    nodes_load(argv[1]);
    uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
    for (uint64_t i = 0; i < count; i++) {
        one_seed(first + i, argc > 4);
    }
    return 0;
}
