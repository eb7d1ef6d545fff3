// SPDX-License-Identifier: MIT
// The stack's start order, and when it runs: one event source that takes received frames, reclaims sent ones, runs
// lwIP's timers, sends what came of it and tells the device once per batch. Owns the source. Not here: what is done
// with a frame (netglue.c, nettx.c); what ends a wait (netevent.c). Context: main loop.

#include "netstack.h"

#include "hal.h"
#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "netcfg.h"
#include "netcopied.h"
#include "netdns.h"
#include "netevent.h"
#include "netglue.h"
#include "netmem.h"
#include "netrand.h"
#include "nettimer.h"
#include "sock.h"

enum { RX_BUDGET = 64 }; // frames per run, so that Python gets its turn

#define LINK_PERIOD_NS 1000000000ull

static bool started;
static uint64_t timer_due;
static uint64_t link_due;

static void send_all(void) {
    netglue_t *g;
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        nettx_flush(g);
        if (g->tx.refused && g->tx.count < NETTX_QUEUE / 2) {
            g->tx.refused = false;
            tcp_txnow();
            nettx_flush(g);
        }
        if (g->kick) {
            g->kick = false;
            g->dev->ops->kick(g->dev);
        }
    }
}

static void check_link(netglue_t *g) {
    if (netglue_check_link(g)) {
        netevent_raise();
    }
}

static void run_timers(uint64_t now) {
    nettimer_run(now);
    if (now >= link_due) {
        link_due = now + LINK_PERIOD_NS;
        netdns_keep();
        netglue_t *g;
        for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
            check_link(g);
        }
    }
    timer_due = nettimer_deadline(now);
}

// True when something changed that a caller may wait for, or frames are left.
static bool run(void *arg) {
    (void)arg;
    bool more = false;
    netglue_t *g;
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        nettx_reclaim(g);
        more |= netglue_rx(g, RX_BUDGET);
        if (!netif_is_link_up(&g->netif)) {
            check_link(g);
        }
    }
    sock_tcp_flush(); // before what goes to this machine itself is delivered
    netif_poll_all();
    uint64_t now = hal_clock_ns();
    if (now >= timer_due) {
        run_timers(now);
    }
    send_all();
    return netevent_take() || more;
}

static uint64_t deadline(void *arg) {
    (void)arg;
    timer_due = nettimer_deadline(hal_clock_ns());
    uint64_t due = timer_due;
    netglue_t *g;
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        uint64_t stuck = g->rx_full ? g->rx_full_since + NETGLUE_STUCK_NS : UINT64_MAX;
        due = stuck < due ? stuck : due;
    }
    return due;
}

static bool arm(void *arg) {
    (void)arg;
    bool work = false, waits = false;
    netglue_t *g;
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        waits |= g->rx_full;
    }
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        g->dev->rx_paused = g->rx_full;
        g->dev->tx_wanted = waits;
        work |= !g->dev->dead && g->dev->ops->arm(g->dev);
    }
    return work;
}

// Frames on their way, or data that a peer has not acknowledged.
static bool busy(void *arg) {
    (void)arg;
    netglue_t *g;
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        if (!g->dev->dead && (g->tx.count > 0 || g->tx.in_flight > 0)) {
            return true;
        }
    }
    for (struct tcp_pcb *p = tcp_active_pcbs; p != NULL; p = p->next) {
        if (p->state >= ESTABLISHED && (p->unsent != NULL || p->unacked != NULL)) {
            return true;
        }
    }
    return false;
}

// No card has frames of ours to send.
static bool still(void *arg) {
    (void)arg;
    netglue_t *g;
    for (unsigned i = 0; (g = netglue_get(i)) != NULL; i++) {
        nettx_reclaim(g);
        if (!g->dev->dead && g->tx.in_flight > 0) {
            return false;
        }
    }
    return true;
}

void netstack_start(void) {
    static hal_event_source_t source = {.run = run, .deadline = deadline, .arm = arm, .busy = busy, .still = still};
    if (started) {
        return;
    }
    started = true;
    netmem_init();
    netrand_init();
    lwip_init();
    netglue_init();
    netcfg_init();
    hal_event_add(&source);
}

// Another machine's network has to hear of us, once the card is there again: as where a cable was pulled and put in.
static void moved(hal_suspend_t what) {
    netglue_t *g;
    for (unsigned i = 0; what == HAL_RESUMED && (g = netglue_get(i)) != NULL; i++) {
        netif_set_link_down(&g->netif);
    }
}
HAL_SUSPEND(moved);

static void copied(const hal_identity_t *id) {
    netstack_start();
    netcopied_became(id);
}
HAL_COPIED(HAL_COPIED_ABOVE, copied);

// For a host that watches a running guest by reading its memory (tools/floe/image/vitals.py): the list of
// connections, and in one of them the offset of the next.
__attribute__((section(".rodata.vitals")))
const uintptr_t netstack_vitals[] = {(uintptr_t)&tcp_active_pcbs, offsetof(struct tcp_pcb, next)};
