// SPDX-License-Identifier: MIT
// The end of a domain, and its console where no driver serves it: before the drivers, and in a panic (Xen public/sched.h,
// public/io/console.h). Owns nothing: the ring is modules/xen/xen_console.c's. Context: any, also inside a panic.

#include "../hal/internal.h"
#include "shared.h"
#include "xencons.h"

enum { SCHEDOP_SHUTDOWN = 2, SHUTDOWN_POWEROFF = 0, SHUTDOWN_REBOOT = 1, SHUTDOWN_CRASH = 3 };
#define ROOM_NS 1000000000ull // for the host to make room, in all
#define RELAX_NS 1000000ull
#define EXIT_PATH "data/floe-exit" // tools/floe/xen reads it

void xen_early_write(const char *data, size_t len) {
    static uint64_t waited;
    int64_t pfn = xen_param(XEN_PARAM_CONSOLE_PFN), port = xen_param(XEN_PARAM_CONSOLE_EVTCHN);
    if (pfn <= 0 || port <= 0 || port >= XEN_EVTCHN_PORTS) {
        return;
    }
    xencons_ring_t *ring = (xencons_ring_t *)(pfn * HAL_PAGE_SIZE);
    for (size_t i = 0; i < len;) {
        uint32_t prod = ring->out_prod, used = prod - ring->out_cons;
        if (used < XENCONS_OUT) {
            ring->out[prod % XENCONS_OUT] = data[i++];
            hal_wmb(); // the byte before the index that covers it
            ring->out_prod = prod + 1;
            continue;
        }
        uint64_t before = hal_clock_ns();
        xen_evtchn_notify((xen_port_t)port);
        if (waited >= ROOM_NS) {
            return; // nobody reads
        }
        xen_evtchn_wait((xen_port_t)port, before + ROOM_NS - waited);
        waited += hal_clock_ns() - before;
    }
    xen_evtchn_notify((xen_port_t)port);
}

void xen_relax(void) {
    int64_t port = xen_param(XEN_PARAM_CONSOLE_EVTCHN);
    if (port > 0 && port < XEN_EVTCHN_PORTS) {
        xen_evtchn_wait((xen_port_t)port, hal_clock_ns() + RELAX_NS);
    }
}

_Noreturn void xen_end(int code) {
    static bool ending;
    if (!ending) { // a panic of the XenStore client's own comes here a second time
        ending = true;
        (void)xen_store_printf(0, EXIT_PATH, "%d", code);
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
