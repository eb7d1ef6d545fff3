// SPDX-License-Identifier: MIT
// The world of a simulation: time, chance, a wire, a medium, and nodes that it starts, wakes and cuts from power.
// world.c: the run of one seed. nodes.c: loading a node, its memory and its stack. wire.c, medium.c: what goes wrong on
// the network and on the disk. Nothing here depends on an address, on real time or on another process.

#ifndef FLOE_SIM_WORLD_H
#define FLOE_SIM_WORLD_H

#include <stdio.h>

#include "sim.h"

#define MS 1000000ull
enum { EVENTS_MAX = 1 << 14, CUTS_MAX = 3, SPLITS_MAX = 4, FAILS_MAX = 6 };
typedef enum { EVENT_FRAME, EVENT_WORK, EVENT_DISK } event_kind_t;

typedef struct {
    uint64_t t, seq;
    uint8_t kind, which; // of work: the device; of a disk: the slot
    uint32_t len;
    uint8_t *data; // of a frame, the event's own
    uint64_t hash; // of a frame
} event_t;

typedef struct node node_t;

// What goes wrong in this run: drawn from the seed before it begins.
typedef struct {
    uint64_t calm;                                     // when nothing goes wrong any more
    unsigned loss, twice, corrupt, late;               // frames of a thousand
    uint64_t latency, jitter, late_by;                 // ns
    unsigned cuts, splits, fails;                      // how many there are of:
    uint64_t cut[CUTS_MAX], cut_for[CUTS_MAX];         // power cuts of the server
    unsigned cut_keeps[CUTS_MAX];                      // medium_cut()'s
    bool cut_waits[CUTS_MAX];                          // for a flush that is not done any more, a while
    uint64_t split[SPLITS_MAX], split_for[SPLITS_MAX]; // a node that nobody reaches
    unsigned split_node[SPLITS_MAX];
    unsigned fail_node[FAILS_MAX], fail_at[FAILS_MAX], fail_for[FAILS_MAX]; // allocations, counted from 0
    unsigned lacks, lack_at[FAILS_MAX], lack_for[FAILS_MAX];                // objects of the server's script, too
    uint64_t disk_latency;
    bool write_through;
} scenario_t;

typedef struct {
    uint64_t seed, now, seq, events, hash, state;
    scenario_t plan;
    sim_phase_t phase;
    bool flush_fatal, cut_now; // the next flush is the server's last request, and was
    uint64_t ended;            // when SIM_END began
    node_t *running;           // NULL: the world itself
    char broken[400];
    bool verbose;
} world_t;

extern world_t world;

uint32_t below(uint32_t n); // n > 0
bool chance(unsigned of_thousand);
void trace(unsigned node, const char *what, uint64_t a, uint64_t b);
uint64_t hash_bytes(const void *data, size_t len);
void push_event(unsigned node, uint64_t at, event_t e);
_Noreturn void broken(const char *text);

// ---- nodes.c ------------------------------------------------------------------------------------
void nodes_load(const char *folder);
void nodes_reset(void);                                   // all off, nothing of an earlier run is left
void node_boot(unsigned index, const sim_start_t *start); // it runs when it is due
void node_cut(unsigned index);                            // its memory is gone
bool node_is_on(unsigned index);
bool node_has_ended(unsigned index);
bool node_is_done(unsigned index);
uint64_t node_due(unsigned index); // when it, or a device of it, goes on; UINT64_MAX: never
void node_go_on(unsigned index);   // world.now is that time
_Noreturn void node_leave(void);   // from a node's stack to the world's, for good
const sim_node_t *node_calls(unsigned index);

// ---- wire.c -------------------------------------------------------------------------------------
void wire_send(unsigned from, const uint8_t *frame, uint32_t len);

// ---- medium.c -----------------------------------------------------------------------------------
void medium_reset(void);
uint64_t medium_request(unsigned slot, unsigned op, uint64_t at, void *base, uint32_t len); // ns until it is done
bool medium_is_flush(unsigned slot);
void medium_done(unsigned slot);
enum { MEDIUM_LOSES, MEDIUM_KEEPS, MEDIUM_MIXES, MEDIUM_TEARS, MEDIUM_CUTS };
void medium_cut(unsigned how); // what was not flushed is lost, kept, some of it, or some of its sectors

#endif
