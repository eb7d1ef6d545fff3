// SPDX-License-Identifier: MIT
// What all Xen devices have in common: two folders in XenStore, ours and the backend's, each with a state
// (public/io/xenbus.h), and the order in which the two sides go through them. Owns the watches. Not here: rings and
// what a kind of device writes into its folder (netfront_xs.c, blkfront_xs.c). Context: main loop.

#ifndef FLOE_XENBUS_H
#define FLOE_XENBUS_H

#include "xen/xen.h"

typedef enum {
    XENBUS_UNKNOWN,
    XENBUS_INITIALISING,
    XENBUS_INIT_WAIT,
    XENBUS_INITIALISED,
    XENBUS_CONNECTED,
    XENBUS_CLOSING,
    XENBUS_CLOSED,
    XENBUS_RECONFIGURING,
    XENBUS_RECONFIGURED,
} xenbus_state_t;

// States as a mask.
#define XENBUS_IN(state) (1u << (state))
enum { XENBUS_ANY = XENBUS_IN(XENBUS_RECONFIGURED + 1) - 1 };

typedef struct xenbus_dev xenbus_dev_t;
struct xenbus_dev {
    char path[48];                    // "device/vif/0"
    char backend[XEN_STORE_PATH_MAX]; // absolute path of the backend's folder
    uint16_t backend_dom;
    xenbus_state_t state, backend_state; // ours as last written; theirs as last read
    // Main loop: the backend's state is another one than before. It may call everything here. A backend that was
    // started anew is seen as CLOSED first, whatever states were too short to be seen; UNKNOWN: its folder is gone.
    void (*changed)(xenbus_dev_t *d);
    bool waiting;       // in xenbus_wait()
    uint64_t again_ns;  // when what failed is tried again; 0: nothing waits for that
    uint64_t pause_ns;  // before that; 0: nothing failed. Else xenbus_fail() is silent: the first line has said it
    unsigned rewritten; // how often the backend's state was found as before: it may have been another meanwhile
    bool passed;        // it has been another: xenbus_look() saw that
    xen_watch_t watch;
    char watch_path[XEN_STORE_PATH_MAX + 8];
    bool listed; // among those that are tried again
    xenbus_dev_t *next;
};

// Numbers of the devices of a kind ("vif", "vbd") in this domain's folder, ascending. How many, at most max; or -errno.
int xenbus_list(const char *kind, unsigned *out, unsigned max);
// Find the backend of a device and watch its state; `changed` is set by the caller before. 0 or -errno, with a log
// line. The struct is zeroed before the first time. It may be called again: the device came back, perhaps with another
// backend; or XenStore could not tell, which xenbus_may_pass() says, and xenbus_again() has waited.
int xenbus_open(xenbus_dev_t *d, const char *kind, unsigned number);
// Let go of the backend: no `changed` any more.
void xenbus_close(xenbus_dev_t *d);
// Write our state. 0 or -errno.
int xenbus_switch(xenbus_dev_t *d, xenbus_state_t state);
// Wait until the backend is in one of the states of the mask. 0 or -ETIMEDOUT. Only at start, outside of
// the main loop: it runs the event sources; `changed` is called meanwhile only for xenbus_again(), backend_state says
// where it stands.
int xenbus_wait(xenbus_dev_t *d, unsigned mask, uint64_t deadline_ns);
// Read a number from the backend's folder; `missing` when there is none. -EINVAL when it is none, or over max.
int xenbus_backend_u64(xenbus_dev_t *d, const char *name, uint64_t max, uint64_t missing, uint64_t *out);
// Read the backend's state as it is at this moment; XENBUS_UNKNOWN where there is none. 0 or -errno. backend_state
// stays what `changed` has been called for; it will be called for this state or a later one, also where that is the
// same again.
int xenbus_look(xenbus_dev_t *d, xenbus_state_t *out);
// Something that the states ask for failed, with a log line, and may succeed later: the backend's state is read again
// and `changed` called whatever it is, after a pause that doubles from 0.1 to 30 s. A device that is not open:
// `changed` alone is called.
// Who has no `changed` waits for again_ns to be 0.
void xenbus_again(xenbus_dev_t *d);
// It succeeded, or shall not be tried any more. Not needed by those whose `changed` returned without xenbus_again().
void xenbus_settle(xenbus_dev_t *d);
// Whether XenStore may answer otherwise later: it could not, or did not answer. Else it said what there is.
static inline bool xenbus_may_pass(int err) { return err < 0 && err != -ENOENT && err != -EINVAL; }
// What is to be done where we and the backend have got to: masks, ours of the device's own phases, or of XENBUS_*.
typedef struct {
    uint16_t ours, theirs;
    void (*act)(void *device);
} xenbus_rule_t;
// Act by the first rule that fits; no rule: it is not our turn.
void xenbus_act(const xenbus_rule_t *rule, unsigned count, unsigned ours, xenbus_state_t theirs, void *device);
// One log line: "xen vif/0: why". Returns err, so that callers can end with it.
int xenbus_say(const xenbus_dev_t *d, const char *why, int err);
// The same; no line while it is tried again what failed.
int xenbus_fail(const xenbus_dev_t *d, const char *why, int err);

#endif
