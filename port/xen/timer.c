// SPDX-License-Identifier: MIT
// The one-shot timer of this virtual processor (Xen public/vcpu.h) and Xen's own time. Owns the timer's port. Not here:
// hal_clock_ns(), which is the TSC at the rate that Xen told at the start (port/hal/clock.c). Context: main loop.

#include "../hal/internal.h"
#include "shared.h"

enum { VCPUOP_STOP_PERIODIC_TIMER = 7, VCPUOP_SET_SINGLESHOT_TIMER = 8, VCPUOP_STOP_SINGLESHOT_TIMER = 9 };

typedef struct {
    uint64_t timeout_abs_ns;
    uint32_t flags, pad;
} xen_singleshot_t;

static xen_port_t port;
static uint64_t armed = UINT64_MAX;

uint64_t xen_time_ns(void) { return hal_pvclock_ns(&xen_shared->vcpu[0].time); }

void xen_timer(uint64_t deadline_ns) {
    bool fired = xen_evtchn_take(port);
    if (deadline_ns == armed && !fired) {
        return;
    }
    armed = deadline_ns;
    if (deadline_ns == UINT64_MAX) {
        xen_hypercall(XEN_VCPU_OP, VCPUOP_STOP_SINGLESHOT_TIMER, 0, 0);
        return;
    }
    uint64_t now = hal_clock_ns();
    xen_singleshot_t op = {.timeout_abs_ns = xen_time_ns() + (deadline_ns > now ? deadline_ns - now : 0)};
    xen_hypercall(XEN_VCPU_OP, VCPUOP_SET_SINGLESHOT_TIMER, 0, (long)&op);
}

int xen_timer_init(void) {
    armed = UINT64_MAX;
    xen_hypercall(XEN_VCPU_OP, VCPUOP_STOP_PERIODIC_TIMER, 0, 0);
    int r = xen_evtchn_virq(XEN_VIRQ_TIMER, &port);
    if (r == 0) {
        xen_evtchn_unmask(port);
    }
    return r;
}
