// SPDX-License-Identifier: MIT
// What port/xen offers to the Xen drivers (modules/xen) and to the start order: hypercalls, event channels, grants,
// XenStore. By Xen's public ABI (xen/include/public of 4.17 and later; the 2-level event channel ABI, xs_wire.h).
// Owns nothing itself. Not here: devices. Context: ring 3, main loop; every wait has a deadline.
// Errors: 0 or more, else -errno; Xen's own error numbers are Linux's, and ours.

#ifndef FLOE_XEN_H
#define FLOE_XEN_H

#include "../hal/hal.h"

// ---- start.c ------------------------------------------------------------------------------------
// Before all else: finds Xen, and becomes port/hal's platform. And after port/hal's interrupts: event channels, timer.
void xen_start(void);
void xen_run(void);
// Whether this VM is a Xen guest whose hypercalls work. False everywhere else, and then nothing below may be called.
bool xen_present(void);
// Value of an HVM_PARAM_* of this domain, or -errno.
int64_t xen_param(unsigned index);
enum { XEN_PARAM_STORE_PFN = 1, XEN_PARAM_STORE_EVTCHN = 2, XEN_PARAM_CONSOLE_PFN = 17, XEN_PARAM_CONSOLE_EVTCHN = 18 };

// ---- hypercall.c --------------------------------------------------------------------------------
enum {
    XEN_MEMORY_OP = 12,
    XEN_GRANT_TABLE_OP = 20,
    XEN_VCPU_OP = 24,
    XEN_SCHED_OP = 29,
    XEN_EVENT_CHANNEL_OP = 32,
    XEN_HVM_OP = 34,
};
// One hypercall, through the monitor. The numbers above are all that the monitor lets through.
long xen_hypercall(unsigned number, long a, long b, long c);

// ---- evtchn.c -----------------------------------------------------------------------------------
typedef uint32_t xen_port_t; // 0 is no port
enum { XEN_DOMID_SELF = 0x7ff0, XEN_VIRQ_TIMER = 0 };
// A port that `remote` may bind. 0 or -errno.
int xen_evtchn_alloc(uint16_t remote, xen_port_t *port);
int xen_evtchn_virq(unsigned virq, xen_port_t *port);
void xen_evtchn_close(xen_port_t port);
// Let the port's events wake hal_event_wait(). Without it (the state after alloc) they only set its pending bit.
void xen_evtchn_unmask(xen_port_t port);
void xen_evtchn_notify(xen_port_t port);
// Whether an event came since the last call for this port; clears it, so that the next one wakes again. A driver's
// `arm` calls this first and looks at its ring afterwards.
bool xen_evtchn_take(xen_port_t port);
// Block until an event comes, for those who cannot return to the main loop: true when one came (it is taken), false at
// deadline_ns. Runs no event source.
bool xen_evtchn_wait(xen_port_t port, uint64_t deadline_ns);

// ---- grant.c ------------------------------------------------------------------------------------
typedef uint32_t xen_grant_t; // 0 is no grant
// Let domain `dom` use one page of ours. 0 when the table is full.
xen_grant_t xen_grant_page(uint16_t dom, const void *page, bool readonly);
// Take it back. False: the other side still has it mapped, nothing changed. True: the reference is free again.
bool xen_grant_end(xen_grant_t ref);
// After HAL_RESUMED no reference and no port of before is one: who had any forgets it, and neither ends nor closes it.
unsigned xen_grant_free_count(void);

// ---- store.c ------------------------------------------------------------------------------------
// Paths are relative to this domain's own folder (/local/domain/N), or absolute. Values are bytes; results are NUL
// terminated behind them. A call waits for its answer, 5 s at most: -ETIMEDOUT.
enum { XEN_STORE_PATH_MAX = 256, XEN_STORE_PAYLOAD_MAX = 4096 };
typedef uint32_t xen_tx_t; // 0: no transaction
// Length of the value (may be more than fits: at most size-1 bytes are copied), or -errno: -ENOENT, -EACCES...
int xen_store_read(xen_tx_t tx, const char *path, char *out, size_t size);
// An unsigned decimal value. 0, -ENOENT, -EINVAL when it is no number or over max.
int xen_store_read_u64(xen_tx_t tx, const char *path, uint64_t max, uint64_t *out);
int xen_store_write(xen_tx_t tx, const char *path, const char *value);
int xen_store_printf(xen_tx_t tx, const char *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int xen_store_remove(xen_tx_t tx, const char *path);
// Names below path, each with its NUL, one behind the other. Bytes of all names, or -errno; -EMSGSIZE when over size.
int xen_store_list(xen_tx_t tx, const char *path, char *out, size_t size);
int xen_store_begin(xen_tx_t *tx);
// commit: 0, or -EAGAIN when somebody was faster and all has to be done again.
int xen_store_end(xen_tx_t tx, bool commit);
// fired() is called from the main loop (never from inside another xen_store_* call) some time after path or anything
// below it changed, once for all changes until then, and once at the start. In another domain it is set there, and
// fired once more; what that store cannot do at once is done later. It may call xen_store_*. The struct is the
// caller's and stays linked until xen_store_unwatch().
typedef struct xen_watch {
    const char *path;
    void (*fired)(void *arg);
    void *arg;
    bool basic;          // also called while one event source alone is waited for (hal_event_wait_one)
    bool pending, unset; // unset: not in the store of this domain
    struct xen_watch *next;
} xen_watch_t;
int xen_store_watch(xen_watch_t *w);
void xen_store_unwatch(xen_watch_t *w);
// Value of a hexadecimal digit, or -1.
static inline int xen_hex(char c) {
    char lower = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

#endif
