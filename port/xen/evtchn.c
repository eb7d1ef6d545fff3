// SPDX-License-Identifier: MIT
// Event channels, 2-level ABI (Xen public/event_channel.h, public/xen.h): ports, their bits in the shared page, and the
// interrupt that tells of them. Owns the interrupt. Not here: who uses a port. Context: main loop.
//
// An event interrupts only when its pending bit, its word's bit in pending_sel and upcall_pending all go from 0 to 1.
// So before the processor halts the last two are cleared here, and each driver clears its own port's bit. The interrupt
// is edge triggered: one that comes in between stays in the local APIC and ends the halt at once.

#include "shared.h"

enum {
    EVTCHNOP_BIND_VIRQ = 1,
    EVTCHNOP_CLOSE = 3,
    EVTCHNOP_SEND = 4,
    EVTCHNOP_ALLOC_UNBOUND = 6,
    EVTCHNOP_UNMASK = 9,
    SCHEDOP_POLL = 3,
    HVMOP_SET_EVTCHN_UPCALL_VECTOR = 23,
};

typedef struct {
    uint16_t dom, remote_dom;
    uint32_t port;
} xen_alloc_unbound_t;

typedef struct {
    uint32_t virq, vcpu, port;
} xen_bind_virq_t;

typedef struct {
    const uint32_t *ports;
    uint32_t nr_ports, pad;
    uint64_t timeout; // absolute, Xen's time; 0: none
} xen_sched_poll_t;
_Static_assert(sizeof(xen_sched_poll_t) == 24, "struct sched_poll");

static long evtchn_op(int op, void *arg) { return xen_hypercall(XEN_EVENT_CHANNEL_OP, op, (long)arg, 0); }

// got: the port that a hypercall with this result named.
static int checked(long r, const uint32_t *got, xen_port_t *port) {
    if (r == 0 && (*got == 0 || *got >= XEN_EVTCHN_PORTS)) {
        return -EIO;
    }
    *port = r == 0 ? *got : 0;
    return (int)r;
}

int xen_evtchn_alloc(uint16_t remote, xen_port_t *port) {
    xen_alloc_unbound_t op = {.dom = XEN_DOMID_SELF, .remote_dom = remote};
    return checked(evtchn_op(EVTCHNOP_ALLOC_UNBOUND, &op), &op.port, port);
}

int xen_evtchn_virq(unsigned virq, xen_port_t *port) {
    xen_bind_virq_t op = {.virq = virq};
    return checked(evtchn_op(EVTCHNOP_BIND_VIRQ, &op), &op.port, port);
}

void xen_evtchn_close(xen_port_t port) {
    uint32_t op = port;
    hal_assert(port < XEN_EVTCHN_PORTS);
    // Xen leaves the mask as it is, and who gets this number next has not asked for events yet.
    __atomic_fetch_or(&xen_shared->evtchn_mask[port / 64], BIT64(port % 64), __ATOMIC_SEQ_CST);
    evtchn_op(EVTCHNOP_CLOSE, &op);
    xen_evtchn_take(port);
}

void xen_evtchn_unmask(xen_port_t port) {
    uint32_t op = port;
    evtchn_op(EVTCHNOP_UNMASK, &op);
}

void xen_evtchn_notify(xen_port_t port) {
    uint32_t op = port;
    evtchn_op(EVTCHNOP_SEND, &op);
}

bool xen_evtchn_take(xen_port_t port) {
    hal_assert(port < XEN_EVTCHN_PORTS);
    volatile uint64_t *word = &xen_shared->evtchn_pending[port / 64];
    uint64_t bit = BIT64(port % 64);
    return (*word & bit) != 0 && (__atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST) & bit) != 0;
}

bool xen_evtchn_wait(xen_port_t port, uint64_t deadline_ns) {
    uint64_t now = hal_clock_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
    uint64_t end = xen_time_ns() + left; // by Xen's clock: a panic may wait before ours goes
    end = end < left ? UINT64_MAX : end;
    bool came;
    while (!(came = xen_evtchn_take(port)) && xen_time_ns() < end) {
        uint32_t ports[1] = {port};
        xen_sched_poll_t op = {.ports = ports, .nr_ports = 1, .timeout = end};
        xen_hypercall(XEN_SCHED_OP, SCHEDOP_POLL, (long)&op, 0);
    }
    return came;
}

static bool events_run(void *arg) {
    (void)arg;
    return false;
}

// Let the next event interrupt. It may come before the drivers have looked at their rings: then the halt ends at once.
static bool events_arm(void *arg) {
    (void)arg;
    xen_vcpu_info_t *v = &xen_shared->vcpu[0];
    __atomic_store_n(&v->upcall_pending, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&v->pending_sel, 0, __ATOMIC_SEQ_CST);
    return false;
}

static struct {
    uint32_t vcpu;
    uint8_t vector;
} upcall;

static hal_event_source_t events = {.run = events_run, .arm = events_arm, .basic = true};

int xen_evtchn_init(void) {
    uint64_t addr;
    uint32_t data;
    int irq = hal_irq_msi(&addr, &data);
    if (irq < 0) {
        return irq;
    }
    upcall.vector = (uint8_t)data;
    hal_event_add(&events);
    return 0;
}

int xen_evtchn_listen(void) {
    for (unsigned i = 0; i < XEN_EVTCHN_WORDS; i++) {
        xen_shared->evtchn_mask[i] = UINT64_MAX; // until a port's owner is there
    }
    return (int)xen_hypercall(XEN_HVM_OP, HVMOP_SET_EVTCHN_UPCALL_VECTOR, (long)&upcall, 0);
}
