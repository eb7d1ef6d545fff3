// SPDX-License-Identifier: MIT
// The end of a domain, and its console where no driver serves it: before the drivers, and in a panic (Xen
// public/sched.h, public/io/console.h). Owns nothing: the ring is modules/xen/xen_console.c's.
// Context: any, also inside a panic.

#include "../hal/internal.h"
#include "shared.h"
#include "xencons.h"

enum { SHUTDOWN_POWEROFF = 0, SHUTDOWN_REBOOT = 1, SHUTDOWN_CRASH = 3 };
#define ROOM_NS 1000000000ull // for the host to make room, in all
#define RELAX_NS 1000000ull
// The exit code, and how many bytes the console was given in all, so that the host knows when it has read the last one.
// tools/floe/xen reads it.
#define EXIT_PATH "data/floe-exit"

uint32_t xen_console_prod;

xencons_ring_t *xen_console_ring(xen_port_t *port) {
    int64_t pfn = xen_param(XEN_PARAM_CONSOLE_PFN), evtchn = xen_param(XEN_PARAM_CONSOLE_EVTCHN);
    *port = (xen_port_t)evtchn;
    if (pfn <= 0 || evtchn <= 0 || evtchn >= XEN_EVTCHN_PORTS) {
        return NULL;
    }
    xencons_ring_t *ring = (xencons_ring_t *)(pfn * HAL_PAGE_SIZE);
    if (xen_console_prod == 0) {
        xen_console_prod = ring->out_prod; // what ran before us, if anything, may have used it
    }
    return ring;
}

void xen_early_write(const char *data, size_t len) {
    static uint64_t waited;
    xen_port_t port;
    xencons_ring_t *ring = xen_console_ring(&port);
    if (ring == NULL) {
        return;
    }
    for (size_t i = 0; i < len;) {
        uint32_t prod = xen_console_prod, used = prod - ring->out_cons;
        if (used < XENCONS_OUT) {
            ring->out[prod % XENCONS_OUT] = data[i++];
            hal_wmb(); // the byte before the index that covers it
            ring->out_prod = xen_console_prod = prod + 1;
            continue;
        }
        xen_evtchn_notify(port);
        if (waited >= ROOM_NS) {
            return; // nobody reads
        }
        uint64_t before = xen_time_ns(); // our own clock may not go yet
        xen_evtchn_wait(port, hal_clock_ns() + ROOM_NS - waited);
        waited += xen_time_ns() - before;
    }
    xen_evtchn_notify(port);
}

void xen_relax(void) {
    xen_port_t port;
    if (xen_console_ring(&port) != NULL) {
        xen_evtchn_wait(port, hal_clock_ns() + RELAX_NS);
    }
}

_Noreturn void xen_end(int code) {
    static bool ending;
    code = xen_control_reboot && code != HAL_PANIC_CODE ? HAL_RESET_CODE : code;
    if (!ending) { // a panic of the XenStore client's own comes here a second time
        ending = true;
        (void)xen_store_printf(0, EXIT_PATH, "%d %u", code, (unsigned)xen_console_prod);
    }
    uint32_t reason = SHUTDOWN_POWEROFF;
    if (code == HAL_RESET_CODE || code == HAL_WAKE_CODE) {
        reason = SHUTDOWN_REBOOT;
    } else if (code == HAL_PANIC_CODE) {
        reason = SHUTDOWN_CRASH;
    }
    for (;;) {
        xen_hypercall(XEN_SCHED_OP, SCHEDOP_SHUTDOWN, (long)&reason, 0);
    }
}
