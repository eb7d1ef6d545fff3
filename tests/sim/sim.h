// SPDX-License-Identifier: MIT
// Between the world and a node. A node is one copy of node.so: drivers, stack, sockets and a program of ours over a
// modelled HAL, with data of its own. It runs on a stack of its own, and stops only in halt(); the world is the host
// program. Neither holds time, chance or memory that is not the world's: that is what makes a seed one run.
// Context: one thread.

#ifndef FLOE_SIM_H
#define FLOE_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_NODES = 3, SIM_DISK_BYTES = 512 << 10, SIM_SECTOR = 512, SIM_FRAME_MAX = 65535 + 14 };
enum { SIM_NET, SIM_DISK };                                   // devices of a node
enum { SIM_READ, SIM_WRITE, SIM_FLUSH };                      // of a disk
typedef enum { SIM_FAULTS, SIM_HEALED, SIM_END } sim_phase_t; // anything goes wrong; nothing does; all is to be closed

// How a node starts, the same at each of its starts in a run.
typedef struct {
    unsigned index;                       // 0: the server; 1 and on: clients
    unsigned boots;                       // earlier starts in this run
    const char *serves;                   // what the server's node has in its sim_node_t
    bool six;                             // clients: IPv6
    bool patient;                         // clients: no connection is given up for a while without progress
    bool may_fail;                        // clients: the server may end a connection for want of memory
    uint32_t net_features, disk_features; // bits of virtio's clauses 5.1.3 and 5.2.3
    bool event_idx;
    unsigned queue_max;
    size_t ram;
} sim_start_t;

// What the world does for a node; ctx is the world's.
typedef struct {
    void *ctx;
    uint64_t (*clock)(void *ctx);            // ns; each look takes a microsecond, in which the node's devices go on
    void (*point)(void *ctx);                // the node's devices may go on here
    void (*halt)(void *ctx, uint64_t until); // returns after wake(), or then
    void (*wake)(void *ctx);                 // an interrupt: the next halt() ends, or this one
    uint32_t (*below)(void *ctx, uint32_t n);
    void *(*alloc)(void *ctx, size_t bytes, size_t align); // NULL: this one fails
    void (*release)(void *ctx, void *p);
    void *(*area)(void *ctx, size_t bytes); // pages, zeroed, at addresses that are the same in each run; NULL as above
    bool (*refuses)(void *ctx, size_t bytes); // an object of a script's: there is no memory for it
    size_t (*live)(void *ctx, size_t bytes);  // blocks of this size that are not released
    void (*send)(void *ctx, const uint8_t *frame, uint32_t len);
    void (*notify)(void *ctx, unsigned device);                                                 // work() comes soon
    void (*disk)(void *ctx, unsigned slot, unsigned op, uint64_t at, void *base, uint32_t len); // disk_done() comes
    void (*log)(void *ctx, const void *text, size_t len);
    void (*note)(void *ctx, const char *what, uint64_t a, uint64_t b); // for the trace
    void (*done)(void *ctx, bool done);                                // a client has had all that it wanted
    sim_phase_t (*phase)(void *ctx);
    uint64_t (*calm)(void *ctx); // when the phase after the faults began, or has to begin
    // A promise was broken: the run ends.
    void (*broken)(void *ctx, const char *text) __attribute__((noreturn));
} sim_host_t;

// What a node does for the world.
typedef struct {
    const char *serves;                                             // the image whose script it is; "": server.c
    void (*main)(const sim_host_t *host, const sim_start_t *start); // returns in SIM_END
    bool (*receive)(const uint8_t *frame, uint32_t len);            // false: no buffer, the frame is lost
    void (*work)(unsigned device);
    void (*disk_done)(unsigned slot);
} sim_node_t;

extern const sim_node_t sim_node; // node.so's only name

#endif
