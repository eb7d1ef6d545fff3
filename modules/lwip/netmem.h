// SPDX-License-Identifier: MIT
// Memory budget of the stack and limits on connections. Owns nothing. Not here: netmem_malloc and its kin
// (lwipopts.h), what becomes of a SYN (netsyn.c). Context: main loop.

#ifndef FLOE_NETMEM_H
#define FLOE_NETMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t budget, used;    // bytes
    unsigned pcb_max, pcbs; // TCP connections in any state
} netmem_limits_t;

// Set the limits from the size of RAM. Once, before lwIP starts.
void netmem_init(void);
size_t netmem_used(void);
// Grows with every block freed: whoever was refused memory may try again when it has changed.
uint32_t netmem_frees(void);
// Someone was refused: the next block freed shall end his wait.
void netmem_watch(void);
void netmem_get_limits(netmem_limits_t *out);
void netmem_set_limits(size_t bytes, unsigned pcbs);

// Room for one more connection. When there are too many, the oldest in TIME_WAIT goes, else the oldest that no
// socket knows (half-open, or closed and not yet at its end). False: all are in use.
bool netlimit_make_room(void);
// Whether the socket behind a listening connection (its callback argument) holds all the connections it
// wants. Set by the socket layer.
extern bool (*netlimit_queue_full)(void *listener);
// Five times a second: half-open connections and those in TIME_WAIT go after 4 s, surplus ones of the latter at once.
void netlimit_tick(void);

#endif
