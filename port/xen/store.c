// SPDX-License-Identifier: MIT
// XenStore's client (Xen public/io/xs_wire.h; docs/misc/xenstore-ring.txt): one request at a time over two rings in a
// page, its answer found by its number, watch events kept for the main loop. Owns the indices that are ours, and the
// list of watches. Not here: what is in the store. Context: main loop; a request also inside a panic.
//
// A ring whose indices or lengths cannot be, an answer of another kind than the question, a host that takes no requests
// for 5 s, and three requests in a row without an answer within 5 s make the store dead for good, with one log line.
// One such request fails alone: the host was busy, or we were paused.
// A late answer, or one to nobody's question, is passed over.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shared.h"

enum {
    RING = 1024,
    FIRED_MAX = 16, // watches served in one turn of the main loop
    TURNS_MAX = 64, // pieces of messages taken in at a time
    UNANSWERED_MAX = 3,
    FORMAT_MAX = 512,
    PFN_LIMIT = 1 << 20, // Xen's own pages are below 4 GiB
};
#define ANSWER_NS 5000000000ull
#define AGAIN_FIRST_NS 100000000ull
#define AGAIN_MAX_NS 30000000000ull

typedef enum {
    XS_DIRECTORY = 1,
    XS_READ = 2,
    XS_WATCH = 4,
    XS_UNWATCH = 5,
    XS_TRANSACTION_START = 6,
    XS_TRANSACTION_END = 7,
    XS_WRITE = 11,
    XS_RM = 13,
    XS_WATCH_EVENT = 15,
    XS_ERROR = 16,
} xs_type_t;

typedef struct {
    uint8_t req[RING], rsp[RING];
    volatile uint32_t req_cons, req_prod, rsp_cons, rsp_prod;
    volatile uint32_t features, connection, error; // connection: 0 where there is one
} xs_page_t;
_Static_assert(sizeof(xs_page_t) == 2 * RING + 28, "struct xenstore_domain_interface");

typedef struct {
    uint32_t type, id, tx, len;
} xs_header_t;
_Static_assert(sizeof(xs_header_t) == 16, "struct xsd_sockmsg");

typedef struct {
    const void *data;
    size_t len;
} part_t;

typedef struct {
    char name[7];
    uint8_t err;
} xs_error_t;

static const xs_error_t errors[] = {
    {"EINVAL", EINVAL}, {"EACCES", EACCES}, {"EEXIST", EEXIST}, {"EISDIR", EISDIR},
    {"ENOENT", ENOENT}, {"ENOMEM", ENOMEM}, {"ENOSPC", ENOSPC}, {"ENOSYS", ENOSYS},
    {"EROFS", EROFS},   {"EBUSY", EBUSY},   {"EAGAIN", EAGAIN}, {"EPERM", EPERM},
};

static struct {
    xs_page_t *page;
    xen_port_t port;
    int down; // 0, or why no request is made any more: -errno
    uint32_t req_prod, rsp_cons;
    uint32_t id;         // of the request that waits, or of the last one
    bool waiting;        // for the answer to it
    unsigned unanswered; // requests in a row
    xs_header_t header;  // of the message that is coming in
    size_t got;          // bytes of it, header included
    char body[XEN_STORE_PAYLOAD_MAX + 1];
    xen_watch_t *watches;
    uint64_t again_ns,
        pause_ns; // when watches that this domain's store has not are set, and the pause before; 0: all are
} xs;

// ---- the ring -----------------------------------------------------------------------------------

static int die(const char *why, int err) {
    if (xs.down == 0) {
        char line[96];
        int n = snprintf(line, sizeof(line), "xenstore: %s; nothing is asked any more\n", why);
        xs.down = err;
        hal_console_log(line, (size_t)n);
    }
    return xs.down;
}

static int start(void) {
    int64_t pfn = xen_param(XEN_PARAM_STORE_PFN), port = xen_param(XEN_PARAM_STORE_EVTCHN);
    if (pfn <= 0 || pfn >= PFN_LIMIT || port <= 0 || port >= XEN_EVTCHN_PORTS) {
        return die("the host gave no ring", -ENODEV);
    }
    xs.page = (xs_page_t *)(pfn * HAL_PAGE_SIZE);
    xs.port = (xen_port_t)port;
    xs.req_prod = xs.page->req_prod; // what ran before us may have used it
    xs.rsp_cons = xs.page->rsp_cons;
    xen_evtchn_unmask(xs.port);
    return 0;
}

static bool unread(void) { return xs.page->rsp_prod != xs.rsp_cons; }

// Until the host has done something about the ring. False: not by then.
static bool wait_host(uint64_t deadline_ns) {
    bool in_time = hal_clock_ns() < deadline_ns; // looked at each time: a host may go on with events for ever
    return in_time && (unread() || xen_evtchn_wait(xs.port, deadline_ns));
}

// What has come in, at most len bytes.
static size_t take(void *out, size_t len) {
    uint32_t have = xs.page->rsp_prod - xs.rsp_cons;
    if (have > RING) {
        die("the host answered more than there is room for", -EIO);
        return 0;
    }
    uint32_t at = xs.rsp_cons % RING, n = have < RING - at ? have : RING - at;
    n = len < n ? (uint32_t)len : n;
    hal_rmb(); // the index before the bytes that it covers
    memcpy(out, xs.page->rsp + at, n);
    hal_mb(); // the bytes are read before the host may write over them
    uint32_t before = xs.rsp_cons;
    xs.rsp_cons += n;
    xs.page->rsp_cons = xs.rsp_cons;
    hal_mb(); // our index before the look whether the host had found the ring full
    if (n > 0 && xs.page->rsp_prod - before >= RING) {
        xen_evtchn_notify(xs.port);
    }
    return n;
}

// ---- messages -----------------------------------------------------------------------------------

static void watch_event(void) {
    const char *path_end = memchr(xs.body, '\0', xs.header.len);
    if (path_end == NULL || memchr(path_end + 1, '\0', xs.header.len - (size_t)(path_end + 1 - xs.body)) == NULL) {
        die("a watch event without a name", -EIO);
        return;
    }
    for (xen_watch_t *w = xs.watches; w != NULL; w = w->next) {
        char token[20];
        snprintf(token, sizeof(token), "%lx", (unsigned long)(uintptr_t)w);
        w->pending |= strcmp(token, path_end + 1) == 0; // late ones of watches that are no more match none
    }
}

// Take in what is there, a bounded part of it. True: the answer that is waited for is complete in header and body.
static bool receive(void) {
    for (unsigned turn = 0; turn < TURNS_MAX && xs.down == 0; turn++) {
        bool body = xs.got >= sizeof(xs.header);
        size_t at = body ? xs.got - sizeof(xs.header) : xs.got;
        size_t size = body ? xs.header.len : sizeof(xs.header);
        if (at < size) {
            size_t n = take(body ? (void *)(xs.body + at) : (void *)((uint8_t *)&xs.header + at), size - at);
            xs.got += n;
            if (n == 0) {
                return false;
            }
        }
        if (xs.got < sizeof(xs.header)) {
            continue;
        }
        if (xs.header.len > XEN_STORE_PAYLOAD_MAX) {
            die("a message that is too long", -EIO);
        } else if (xs.got == sizeof(xs.header) + xs.header.len) {
            xs.got = 0;
            xs.body[xs.header.len] = '\0';
            if (xs.header.type == XS_WATCH_EVENT) {
                watch_event();
            } else if (xs.waiting && xs.header.id == xs.id) {
                return true;
            }
        }
    }
    return false;
}

// Ask the host to take bytes of a request.
static int put(const void *data, size_t len, uint64_t deadline_ns) {
    const uint8_t *p = data;
    while (len > 0) {
        uint32_t used = xs.req_prod - xs.page->req_cons;
        if (used > RING) {
            return die("the host took more than was asked", -EIO);
        }
        if (used == RING) {
            xen_evtchn_notify(xs.port);
            receive(); // or the host, whose answers do not fit, may not listen
            if (xs.down == 0 && !wait_host(deadline_ns)) {
                die("it takes no requests", -ETIMEDOUT); // half of one is with it
            }
            if (xs.down != 0) {
                return xs.down;
            }
            continue;
        }
        hal_mb(); // the look at req_cons before the bytes it made room for are overwritten
        uint32_t at = xs.req_prod % RING, n = RING - used < RING - at ? RING - used : RING - at;
        n = len < n ? (uint32_t)len : n;
        memcpy(xs.page->req + at, p, n);
        hal_wmb(); // the bytes before the index that covers them
        xs.req_prod += n;
        xs.page->req_prod = xs.req_prod;
        p += n;
        len -= n;
    }
    return 0;
}

static int error_of(const char *name) {
    for (size_t i = 0; i < HAL_ARRAY_LEN(errors); i++) {
        if (strcmp(errors[i].name, name) == 0) {
            return -errors[i].err;
        }
    }
    return -EIO;
}

static int wait_answer(xs_type_t type, uint64_t deadline_ns) {
    while (!receive()) {
        if (xs.down != 0) {
            return xs.down;
        }
        if (!wait_host(deadline_ns)) { // it may still come, and is then nobody's: the next request has another number
            return ++xs.unanswered < UNANSWERED_MAX ? -ETIMEDOUT : die("no answer", -ETIMEDOUT);
        }
    }
    xs.unanswered = 0;
    if (xs.header.type == XS_ERROR) {
        return error_of(xs.body);
    }
    return xs.header.type == type ? (int)xs.header.len : die("an answer to another question", -EIO);
}

// Ask, and wait. Bytes of the answer in xs.body, NUL terminated behind them, or -errno.
static int ask(xs_type_t type, xen_tx_t tx, const part_t *part, unsigned parts) {
    xs_header_t h = {.type = type, .tx = tx};
    for (unsigned i = 0; i < parts; i++) {
        h.len += (uint32_t)part[i].len;
    }
    if (h.len > XEN_STORE_PAYLOAD_MAX) {
        return -EMSGSIZE;
    }
    int err = xs.down == 0 && xs.page == NULL ? start() : xs.down;
    uint64_t deadline_ns = hal_clock_ns() + ANSWER_NS;
    while (err == 0 && xs.page->connection != 0) { // the store is being started anew
        bool in_time = hal_clock_ns() < deadline_ns && xen_evtchn_wait(xs.port, deadline_ns);
        err = in_time ? 0 : die("no connection", -ETIMEDOUT);
    }
    h.id = ++xs.id;
    err = err == 0 ? put(&h, sizeof(h), deadline_ns) : err;
    for (unsigned i = 0; i < parts && err == 0; i++) {
        err = put(part[i].data, part[i].len, deadline_ns);
    }
    if (err != 0) {
        return err;
    }
    xen_evtchn_notify(xs.port);
    xs.waiting = true;
    err = wait_answer(type, deadline_ns);
    xs.waiting = false;
    return err;
}

static int ask_path(xs_type_t type, xen_tx_t tx, const char *path) {
    return ask(type, tx, &(part_t){path, strlen(path) + 1}, 1);
}

static int ok(int r) { return r < 0 ? r : 0; }

// ---- verbs --------------------------------------------------------------------------------------

int xen_store_read(xen_tx_t tx, const char *path, char *out, size_t size) {
    int len = ask_path(XS_READ, tx, path);
    if (len >= 0 && size > 0) {
        size_t n = (size_t)len < size ? (size_t)len : size - 1;
        memcpy(out, xs.body, n);
        out[n] = '\0';
    }
    return len;
}

// Decimal digits and nothing else.
static int number(const char *s, size_t len, uint64_t max, uint64_t *out) {
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(s[i] - '0');
        if (digit > 9 || digit > max || v > (max - digit) / 10) {
            return -EINVAL;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return len > 0 ? 0 : -EINVAL;
}

int xen_store_read_u64(xen_tx_t tx, const char *path, uint64_t max, uint64_t *out) {
    int len = ask_path(XS_READ, tx, path);
    return len < 0 ? len : number(xs.body, (size_t)len, max, out);
}

int xen_store_write(xen_tx_t tx, const char *path, const char *value) {
    part_t part[] = {{path, strlen(path) + 1}, {value, strlen(value)}};
    return ok(ask(XS_WRITE, tx, part, 2));
}

int xen_store_printf(xen_tx_t tx, const char *path, const char *fmt, ...) {
    char value[FORMAT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    return n < (int)sizeof(value) ? xen_store_write(tx, path, value) : -EMSGSIZE;
}

int xen_store_remove(xen_tx_t tx, const char *path) { return ok(ask_path(XS_RM, tx, path)); }

int xen_store_list(xen_tx_t tx, const char *path, char *out, size_t size) {
    int len = ask_path(XS_DIRECTORY, tx, path);
    if (len > 0 && xs.body[len - 1] != '\0') {
        return die("names without an end", -EIO);
    }
    if (len > 0 && (size_t)len > size) {
        return -EMSGSIZE;
    }
    memcpy(out, xs.body, len > 0 ? (size_t)len : 0);
    return len;
}

int xen_store_begin(xen_tx_t *tx) {
    uint64_t id;
    int len = ask(XS_TRANSACTION_START, 0, &(part_t){"", 1}, 1);
    if (len < 0) {
        return len;
    }
    size_t digits = len > 0 && xs.body[len - 1] == '\0' ? (size_t)len - 1 : (size_t)len;
    if (number(xs.body, digits, UINT32_MAX, &id) != 0 || id == 0) {
        return die("a transaction without a number", -EIO);
    }
    *tx = (xen_tx_t)id;
    return 0;
}

int xen_store_end(xen_tx_t tx, bool commit) {
    return ok(ask(XS_TRANSACTION_END, tx, &(part_t){commit ? "T" : "F", 2}, 1));
}

// ---- watches ------------------------------------------------------------------------------------

static int ask_watch(xs_type_t type, const xen_watch_t *w) {
    char token[20];
    snprintf(token, sizeof(token), "%lx", (unsigned long)(uintptr_t)w);
    part_t part[] = {{w->path, strlen(w->path) + 1}, {token, strlen(token) + 1}};
    return ok(ask(type, 0, part, 2));
}

// Set what is not set. What could not be is looked at once, and set later: pauses that double, one log line.
static void set_again(void) {
    int failed = 0;
    for (xen_watch_t *w = xs.watches; w != NULL && failed != -ETIMEDOUT; w = w->next) { // the others would wait as long
        int err = w->unset ? ask_watch(XS_WATCH, w) : 0;
        w->unset &= err != 0 && err != -EEXIST; // a late answer to what we had given up
        failed = w->unset ? err : failed;
    }
    if (failed != 0 && xs.down == 0 && xs.pause_ns == 0) {
        char line[96];
        int n = snprintf(line, sizeof(line), "xenstore: a watch cannot be set (%d); it is tried again\n", failed);
        hal_console_log(line, (size_t)n);
    }
    bool more = failed != 0 && xs.down == 0;
    uint64_t pause = xs.pause_ns < AGAIN_MAX_NS / 2 ? 2 * xs.pause_ns : AGAIN_MAX_NS;
    xs.pause_ns = !more ? 0 : xs.pause_ns == 0 ? AGAIN_FIRST_NS : pause;
    xs.again_ns = more ? hal_clock_ns() + xs.pause_ns : 0;
}

// While the VM stands still for its copy only the host's own wishes are heard; the others stay.
static xen_watch_t *first_pending(void) {
    xen_watch_t *w = xs.watches;
    while (w != NULL && (!w->pending || (hal_event_alone && !w->basic))) {
        w = w->next;
    }
    return w;
}

static bool watches_run(void *arg) {
    (void)arg;
    unsigned fired = 0;
    receive();
    if (xs.again_ns != 0 && hal_clock_ns() >= xs.again_ns) {
        set_again();
    }
    for (xen_watch_t *w; fired < FIRED_MAX && (w = first_pending()) != NULL; fired++) {
        w->pending = false;
        w->fired(w->arg);
    }
    return fired > 0;
}

static bool watches_arm(void *arg) {
    (void)arg;
    xen_evtchn_take(xs.port);
    return xs.down == 0 && (unread() || first_pending() != NULL);
}

static uint64_t watches_deadline(void *arg) {
    (void)arg;
    return xs.again_ns != 0 ? xs.again_ns : UINT64_MAX;
}

int xen_store_watch(xen_watch_t *w) {
    static hal_event_source_t source = {
        .run = watches_run, .deadline = watches_deadline, .arm = watches_arm, .basic = true};
    static bool added;
    w->pending = w->unset = false;
    w->next = xs.watches;
    xs.watches = w; // before the request: the store sends the first event right behind its answer
    int err = ask_watch(XS_WATCH, w);
    if (err == -EEXIST) { // asked before, set after we had given up; and its first event has matched nobody
        w->pending = true;
        err = 0;
    }
    if (err != 0) {
        xs.watches = w->next;
    } else if (!added) {
        added = true;
        hal_event_add(&source);
    }
    return err;
}

void xen_store_anew(void) {
    xs.page = NULL;
    xs.down = 0;
    xs.got = 0;
    xs.unanswered = 0;
    xs.pause_ns = 0;
    for (xen_watch_t *w = xs.watches; w != NULL; w = w->next) {
        w->unset = true;
    }
    set_again();
    for (xen_watch_t *w = xs.watches; w != NULL; w = w->next) {
        w->pending |= w->unset;
    }
}

void xen_store_unwatch(xen_watch_t *w) {
    for (xen_watch_t **at = &xs.watches; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            (void)ask_watch(XS_UNWATCH, w);
            return;
        }
    }
}
