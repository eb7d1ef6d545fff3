// SPDX-License-Identifier: MIT
// Memory of the stack: malloc under a budget, windows that suit the machine's RAM, and the rules by which
// connections give way to new ones, so that a flood from the network cannot eat the VM.
// Owns the limits. Not here: received frames (they stay in the driver's buffers). Context: main loop, and
// inside lwIP.

#include "netmem.h"

#include <stdlib.h>

#include "hal.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "netevent.h"

enum {
    HALF_OPEN_MS = 4000,
    TIME_WAIT_MS = 4000, // new connections are told from old ones by their sequence numbers (RFC 6191, 6528)
    TIME_WAIT_MAX = 256, // every SYN is looked for among them
};

uint32_t netmem_window_extra;
static size_t budget = SIZE_MAX;
static unsigned pcb_max = UINT32_MAX;
static unsigned time_wait_max = UINT32_MAX;
static uint32_t frees;
static bool watched;

// A quarter of RAM for the stack; a window is 1/256 of it, from 32 to 256 KiB; a connection for every 8 KiB.
void netmem_init(void) {
    size_t ram = hal_mem_total();
    size_t window = ram / 256;
    if (window > 256 * 1024) {
        window = 256 * 1024;
    }
    netmem_window_extra = window > NETMEM_WINDOW_MIN ? (uint32_t)(window - NETMEM_WINDOW_MIN) : 0;
    budget = ram / 4;
    pcb_max = (unsigned)(ram / (8 * 1024));
    time_wait_max = LWIP_MIN(pcb_max / 4, TIME_WAIT_MAX);
}

void *netmem_malloc(size_t size) { return size > budget - netmem_used() ? NULL : malloc(size); }

void *netmem_calloc(size_t n, size_t size) { return n * size > budget - netmem_used() ? NULL : calloc(n, size); }

void netmem_free(void *p) {
    frees++;
    if (watched) {
        watched = false;
        netevent_raise();
    }
    free(p);
}

void netmem_watch(void) { watched = true; }

size_t netmem_used(void) { return lwip_stats.mem.used < budget ? lwip_stats.mem.used : budget; }

uint32_t netmem_frees(void) { return frees; }

void netmem_get_limits(netmem_limits_t *out) {
    out->budget = budget;
    out->used = netmem_used();
    out->pcb_max = pcb_max;
    out->pcbs = lwip_stats.memp[MEMP_TCP_PCB]->used;
}

void netmem_set_limits(size_t bytes, unsigned pcbs) {
    budget = bytes;
    pcb_max = pcbs;
    time_wait_max = LWIP_MIN(pcbs / 4, TIME_WAIT_MAX);
}

static unsigned age_ms(const struct tcp_pcb *pcb) { return (tcp_ticks - pcb->tmr) * TCP_SLOW_INTERVAL; }

// The connection that has waited longest of those that no socket knows: half-open, or closed by its socket and not
// yet at its end. NULL when there is none.
static struct tcp_pcb *oldest_unowned(void) {
    struct tcp_pcb *oldest = NULL;
    for (struct tcp_pcb *p = tcp_active_pcbs; p != NULL; p = p->next) {
        if (p->errf == NULL && (oldest == NULL || age_ms(p) >= age_ms(oldest))) {
            oldest = p;
        }
    }
    return oldest;
}

// The list grows at its head, so the last one is the oldest.
static struct tcp_pcb *oldest_time_wait(void) {
    struct tcp_pcb *p = tcp_tw_pcbs;
    while (p != NULL && p->next != NULL) {
        p = p->next;
    }
    return p;
}

bool netlimit_make_room(void) {
    if (lwip_stats.memp[MEMP_TCP_PCB]->used < pcb_max) {
        return true;
    }
    struct tcp_pcb *victim = oldest_time_wait();
    if (victim == NULL) {
        victim = oldest_unowned();
    }
    if (victim == NULL) {
        return false;
    }
    tcp_abandon(victim, victim->state != SYN_RCVD);
    return true;
}

bool (*netlimit_queue_full)(void *listener);

void netlimit_tick(void) {
    for (struct tcp_pcb *p = tcp_active_pcbs, *next; p != NULL; p = next) {
        next = p->next;
        if (p->state == SYN_RCVD && age_ms(p) > HALF_OPEN_MS) {
            tcp_abandon(p, 1);
        }
    }
    unsigned n = 0;
    for (struct tcp_pcb *p = tcp_tw_pcbs, *next; p != NULL; p = next) {
        next = p->next;
        if (++n > time_wait_max || age_ms(p) > TIME_WAIT_MS) {
            tcp_abandon(p, 0);
        }
    }
}
