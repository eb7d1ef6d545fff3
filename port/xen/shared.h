// SPDX-License-Identifier: MIT
// The page that Xen and this domain share (public/xen.h, struct shared_info, 64-bit layout), and what the files of
// port/xen that look into it owe each other. Owned by start.c. Not here: anything for drivers. Context: ring 3.

#ifndef FLOE_XEN_SHARED_H
#define FLOE_XEN_SHARED_H

#include "../monitor/monitor.h"
#include "xen.h"

enum { XEN_EVTCHN_WORDS = 64, XEN_EVTCHN_PORTS = 64 * XEN_EVTCHN_WORDS, XEN_VCPUS = 32 };

typedef struct {
    volatile uint8_t upcall_pending;
    uint8_t upcall_mask, pad[6];
    volatile uint64_t pending_sel;
    uint64_t arch[2];
    monitor_pvclock_t time;
} xen_vcpu_info_t;
_Static_assert(sizeof(xen_vcpu_info_t) == 64, "struct vcpu_info");

typedef struct {
    xen_vcpu_info_t vcpu[XEN_VCPUS];
    volatile uint64_t evtchn_pending[XEN_EVTCHN_WORDS];
    volatile uint64_t evtchn_mask[XEN_EVTCHN_WORDS];
    monitor_wallclock_t wall;
} xen_shared_info_t;
_Static_assert(offsetof(xen_shared_info_t, wall) == 3072, "struct shared_info");

extern xen_shared_info_t *xen_shared; // NULL before xen_start(), and where there is no Xen

// Let a page of Xen's take the place of one of ours, whose own memory is lost (XENMEM_add_to_physmap). 0 or -errno.
int xen_physmap(unsigned space, uint64_t index, const void *page);
enum { SCHEDOP_SHUTDOWN = 2 };
enum { XEN_SPACE_SHARED_INFO = 0, XEN_SPACE_GRANT_TABLE = 1 };
// Find an interrupt for events, once; then let them interrupt: no port is known, and none is heard. 0 or -errno.
int xen_evtchn_init(void);
int xen_evtchn_listen(void);
// What xen_start() and xen_run() set up, in another domain, which knows nothing of it.
void xen_anew(void);
// The same for the store: its ring is another, watches are set again.
void xen_store_anew(void);
// Stand still until the host lets the VM go on. True: it does so in another domain, and all parts have been told, after
// with_store(), which may ask the store.
bool xen_suspend(void (*with_store)(void));
// Xen's own count of nanoseconds, which absolute times in hypercalls are in.
uint64_t xen_time_ns(void);
// The host asked for a new start: the VM's end is one (control.c sets it, end.c looks).
extern bool xen_control_reboot;
// From now on follow the host's target (balloon.c); control.c calls it when the VM has time. 0, or -errno: it is not
// followed, and can be tried again.
int xen_balloon_watch(void);
// The members of hal_platform_t.
// Also again.
int xen_timer_init(void);
void xen_timer(uint64_t deadline_ns);
void xen_early_write(const char *data, size_t len);
void xen_relax(void);
_Noreturn void xen_end(int code);

#endif
