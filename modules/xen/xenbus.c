// SPDX-License-Identifier: MIT
// Xen devices in XenStore (public/io/xenbus.h): finding them, the backend's folder, the two states. Owns the watches on
// the backends' states. Not here: what a kind of device writes there, its rings.
// Context: main loop; xenbus_wait() at start.

#include "xenbus.h"

#include <stdio.h>
#include <string.h>

enum { NAMES_MAX = 1024, NAME_ROOM = 32, DOMID_LIMIT = 0x7ff0, LINE_MAX = 160 };
#define AGAIN_FIRST_NS 100000000ull
#define AGAIN_MAX_NS 30000000000ull

static xenbus_dev_t *devices; // of which something failed once

int xenbus_say(const xenbus_dev_t *d, const char *why, int err) {
    char line[LINE_MAX];
    const char *name = strchr(d->path, '/');
    int n = snprintf(line, sizeof(line), "xen %s: %s (%d)\n", name == NULL ? "bus" : name + 1, why, err);
    hal_console_log(line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
    return err;
}

int xenbus_fail(const xenbus_dev_t *d, const char *why, int err) {
    return d->pause_ns == 0 ? xenbus_say(d, why, err) : err;
}

// A name that is a number and nothing else.
static bool number_of(const char *name, unsigned *out) {
    unsigned v = 0;
    size_t n = strspn(name, "0123456789");
    if (n == 0 || n > 9 || name[n] != '\0') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        v = v * 10 + (unsigned)(name[i] - '0');
    }
    *out = v;
    return true;
}

int xenbus_list(const char *kind, unsigned *out, unsigned max) {
    char path[sizeof(((xenbus_dev_t *)0)->path)], names[NAMES_MAX];
    snprintf(path, sizeof(path), "device/%s", kind);
    int len = xen_store_list(0, path, names, sizeof(names));
    if (len < 0) {
        return len == -ENOENT ? 0 : len;
    }
    unsigned count = 0;
    for (int at = 0; at < len; at += (int)strlen(names + at) + 1) {
        unsigned v, k = count;
        if (!number_of(names + at, &v) || (count == max && (max == 0 || v >= out[max - 1]))) {
            continue;
        }
        for (k = count < max ? count++ : max - 1; k > 0 && out[k - 1] > v; k--) {
            out[k] = out[k - 1];
        }
        out[k] = v;
    }
    return (int)count;
}

// The backend's state as it is now; as it was when it says nothing sane, or nothing now.
static xenbus_state_t read_state(xenbus_dev_t *d) {
    uint64_t v;
    int err = xen_store_read_u64(0, d->watch_path, XENBUS_RECONFIGURED, &v);
    if (err == -ENOENT) {
        return XENBUS_UNKNOWN; // its folder is gone, and it with that
    }
    if (err != 0) {
        xenbus_fail(d, err == -EINVAL ? "the backend's state is none" : "the backend's state cannot be read", err);
        if (err != -EINVAL) {
            xenbus_again(d);
        }
        return d->backend_state;
    }
    return (xenbus_state_t)v;
}

static bool connected(xenbus_state_t s) {
    return s == XENBUS_INITIALISED || s == XENBUS_CONNECTED || s == XENBUS_RECONFIGURING || s == XENBUS_RECONFIGURED;
}

// Say where the two states are. What failed before is forgotten where nothing fails now.
static void call_changed(xenbus_dev_t *d) {
    d->again_ns = 0;
    if (d->changed != NULL) {
        d->changed(d);
    }
    if (d->again_ns == 0) {
        xenbus_settle(d);
    }
}

static void take_state(xenbus_dev_t *d, xenbus_state_t s) {
    d->backend_state = s;
    if (!d->waiting) {
        call_changed(d);
    }
}

static void fired(void *arg) {
    xenbus_dev_t *d = arg;
    xenbus_state_t s = read_state(d), was = d->backend_state;
    if (s == was && (!d->passed || d->again_ns != 0)) { // what failed is tried again, whatever the state is then
        d->rewritten++;
        return;
    }
    d->passed = false;
    // Back to the beginning without an end between: one watch event stands for many changes, and it was started anew.
    if (connected(was) && (s == XENBUS_INITIALISING || s == XENBUS_INIT_WAIT)) {
        take_state(d, XENBUS_CLOSED);
        if (d->watch.path == NULL) {
            return; // let go of in there
        }
    }
    take_state(d, s);
}

// ---- what failed --------------------------------------------------------------------------------

static bool again_run(void *arg) {
    (void)arg;
    bool any = false;
    for (xenbus_dev_t *d = devices; d != NULL; d = d->next) {
        if (d->again_ns == 0 || hal_clock_ns() < d->again_ns) {
            continue;
        }
        any = true;
        d->again_ns = 0;
        unsigned before = d->rewritten;
        if (d->watch.path != NULL) {
            fired(d);
        } else {
            d->rewritten++;
        }
        if (d->rewritten != before && d->again_ns == 0 && d->changed != NULL) {
            call_changed(d);
        }
    }
    return any;
}

static uint64_t again_deadline(void *arg) {
    (void)arg;
    uint64_t deadline = UINT64_MAX;
    for (const xenbus_dev_t *d = devices; d != NULL; d = d->next) {
        deadline = d->again_ns != 0 && d->again_ns < deadline ? d->again_ns : deadline;
    }
    return deadline;
}

void xenbus_again(xenbus_dev_t *d) {
    static hal_event_source_t source = {.run = again_run, .deadline = again_deadline};
    if (devices == NULL) {
        hal_event_add(&source);
    }
    if (!d->listed) {
        d->listed = true;
        d->next = devices;
        devices = d;
    }
    d->pause_ns = d->pause_ns == 0 ? AGAIN_FIRST_NS : d->pause_ns < AGAIN_MAX_NS / 2 ? 2 * d->pause_ns : AGAIN_MAX_NS;
    d->again_ns = hal_clock_ns() + d->pause_ns;
}

void xenbus_settle(xenbus_dev_t *d) { d->again_ns = d->pause_ns = 0; }

// ---- a device -----------------------------------------------------------------------------------

static void let_go(xenbus_dev_t *d) {
    if (d->watch.path != NULL) {
        xen_store_unwatch(&d->watch);
        d->watch.path = NULL;
    }
}

void xenbus_close(xenbus_dev_t *d) {
    xenbus_settle(d);
    let_go(d);
}

int xenbus_open(xenbus_dev_t *d, const char *kind, unsigned number) {
    char path[sizeof(d->path) + NAME_ROOM];
    uint64_t dom;
    let_go(d);
    snprintf(d->path, sizeof(d->path), "device/%s/%u", kind, number);
    snprintf(path, sizeof(path), "%s/backend", d->path);
    int len = xen_store_read(0, path, d->backend, sizeof(d->backend));
    if (len < 0) {
        return xenbus_fail(d, "no backend is named", len);
    }
    if (d->backend[0] != '/' || len > (int)sizeof(d->backend) - NAME_ROOM) {
        return xenbus_fail(d, "the backend's path is none", -EINVAL);
    }
    snprintf(path, sizeof(path), "%s/backend-id", d->path);
    int err = xen_store_read_u64(0, path, DOMID_LIMIT - 1, &dom);
    if (err != 0) {
        return xenbus_fail(d, "the backend's domain is none", err);
    }
    d->backend_dom = (uint16_t)dom;
    snprintf(d->watch_path, sizeof(d->watch_path), "%s/state", d->backend);
    d->state = XENBUS_INITIALISING;
    uint64_t pause = d->pause_ns;
    d->backend_state = XENBUS_INITIALISING; // where it cannot be read: the watch's first event has it read again
    d->backend_state = read_state(d);
    d->again_ns = 0;
    d->pause_ns = pause;
    d->passed = false;
    d->watch = (xen_watch_t){.path = d->watch_path, .fired = fired, .arg = d};
    err = xen_store_watch(&d->watch);
    if (err != 0) {
        d->watch.path = NULL;
        return xenbus_fail(d, "the backend cannot be watched", err);
    }
    xenbus_settle(d);
    return 0;
}

int xenbus_switch(xenbus_dev_t *d, xenbus_state_t state) {
    char path[sizeof(d->path) + NAME_ROOM];
    snprintf(path, sizeof(path), "%s/state", d->path);
    int err = xen_store_printf(0, path, "%d", state);
    if (err != 0) {
        return xenbus_fail(d, "our state cannot be written", err);
    }
    d->state = state;
    return 0;
}

int xenbus_look(xenbus_dev_t *d, xenbus_state_t *out) {
    uint64_t v = XENBUS_UNKNOWN;
    int err = xen_store_read_u64(0, d->watch_path, XENBUS_RECONFIGURED, &v);
    if (err < 0 && err != -ENOENT && err != -EINVAL) {
        return xenbus_fail(d, "the backend's state cannot be read", err);
    }
    *out = err < 0 ? XENBUS_UNKNOWN : (xenbus_state_t)v;
    d->passed |= *out != d->backend_state;
    return 0;
}

int xenbus_wait(xenbus_dev_t *d, unsigned mask, uint64_t deadline_ns) {
    d->waiting = true;
    while ((mask & 1u << d->backend_state) == 0 && hal_clock_ns() < deadline_ns) {
        hal_event_wait(deadline_ns);
    }
    d->waiting = false;
    return (mask & 1u << d->backend_state) != 0 ? 0 : -ETIMEDOUT;
}

int xenbus_backend_u64(xenbus_dev_t *d, const char *name, uint64_t max, uint64_t missing, uint64_t *out) {
    char path[sizeof(d->backend) + NAME_ROOM];
    snprintf(path, sizeof(path), "%s/%s", d->backend, name);
    int err = xen_store_read_u64(0, path, max, out);
    if (err == -ENOENT) {
        *out = missing;
        return 0;
    }
    return err;
}

void xenbus_act(const xenbus_rule_t *rule, unsigned count, unsigned ours, xenbus_state_t theirs, void *device) {
    for (const xenbus_rule_t *r = rule; r < rule + count; r++) {
        if ((r->ours & 1u << ours) != 0 && (r->theirs & 1u << theirs) != 0) {
            r->act(device);
            return;
        }
    }
}
