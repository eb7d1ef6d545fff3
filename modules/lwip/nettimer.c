// SPDX-License-Identifier: MIT
// lwIP's periodic work, from one table. Nothing is allocated, so a stack that is out of memory still times
// out what holds it; and what has nothing to do is not called, so an idle VM sleeps for a second at a time.
// Owns the due times. Not here: what the timers do. Context: main loop (netstack.c).

#include "nettimer.h"

#include "hal.h"
#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/igmp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "netcfg.h"
#include "netmem.h"

#define MS 1000000ull

static bool tcp_needed(void) { return tcp_active_pcbs != NULL || tcp_tw_pcbs != NULL; }

static bool dhcp_fine_needed(void) {
    struct netif *n;
    NETIF_FOREACH(n) {
        struct dhcp *d = netif_dhcp_data(n);
        if (d != NULL && d->request_timeout > 0) {
            return true;
        }
    }
    return false;
}

static bool igmp_needed(void) {
    struct netif *n;
    NETIF_FOREACH(n) {
        for (struct igmp_group *g = netif_igmp_data(n); g != NULL; g = g->next) {
            if (g->timer > 0) {
                return true;
            }
        }
    }
    return false;
}

static bool mld6_needed(void) {
    struct netif *n;
    NETIF_FOREACH(n) {
        for (struct mld_group *g = netif_mld6_data(n); g != NULL; g = g->next) {
            if (g->timer > 0) {
                return true;
            }
        }
    }
    return false;
}

static struct {
    void (*fn)(void);
    bool (*needed)(void); // NULL: always
    uint32_t period_ms;
    uint64_t due_ns; // 0: not running
} timers[] = {
    {tcp_tmr, tcp_needed, TCP_TMR_INTERVAL, 0},
    {netlimit_tick, tcp_needed, 200, 0},
    {etharp_tmr, NULL, ARP_TMR_INTERVAL, 0},
    {ip_reass_tmr, NULL, IP_TMR_INTERVAL, 0},
    {ip6_reass_tmr, NULL, IP6_REASS_TMR_INTERVAL, 0},
    {nd6_tmr, NULL, ND6_TMR_INTERVAL, 0},
    {dns_tmr, NULL, DNS_TMR_INTERVAL, 0},
    {dhcp_coarse_tmr, NULL, DHCP_COARSE_TIMER_MSECS, 0},
    {netcfg_dhcp_tick, dhcp_fine_needed, DHCP_FINE_TIMER_MSECS, 0},
    {igmp_tmr, igmp_needed, IGMP_TMR_INTERVAL, 0},
    {mld6_tmr, mld6_needed, MLD6_TMR_INTERVAL, 0},
};

u32_t sys_now(void) { return (u32_t)(hal_clock_ns() / MS); }

// lwIP says that it has a connection; nettimer_deadline() sees that for itself.
void tcp_timer_needed(void) {}

// Due times are multiples of the period, so that timers of one period, and their multiples, share a wake-up.
static uint64_t next_due(uint64_t now, uint32_t period_ms) {
    uint64_t period = period_ms * MS;
    return (now / period + 1) * period;
}

void nettimer_run(uint64_t now) {
    for (size_t i = 0; i < HAL_ARRAY_LEN(timers); i++) {
        if (timers[i].due_ns != 0 && now >= timers[i].due_ns) {
            timers[i].due_ns = next_due(now, timers[i].period_ms);
            timers[i].fn();
        }
    }
}

uint64_t nettimer_deadline(uint64_t now) {
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < HAL_ARRAY_LEN(timers); i++) {
        if (timers[i].needed != NULL && !timers[i].needed()) {
            timers[i].due_ns = 0;
            continue;
        }
        if (timers[i].due_ns == 0) {
            timers[i].due_ns = next_due(now, timers[i].period_ms);
        }
        if (timers[i].due_ns < first) {
            first = timers[i].due_ns;
        }
    }
    return first;
}
