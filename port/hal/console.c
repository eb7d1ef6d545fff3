// SPDX-License-Identifier: MIT
// The console's two ring buffers and where they drain to: an attached sink (virtio-console, Xen's ring) or the
// 16550. Owns the buffers and the count of dropped bytes. Not here: line editing, the transports. Context: main loop.

#include <string.h>

#include "internal.h"

enum { OUT_SIZE = 16384, IN_SIZE = 4096, UART_POLL_MS = 10 }; // powers of two
enum { NO_INTERRUPT = -1 };
#define WRITE_MAX_NS 1000000000ull
#define STALL_NS 20000000ull // for the host to make room, or to open the console, when it begins to lag
#define ROOM_NS 200000ull    // for the host to make room while it lags
#define LINE_NS 5000000ll    // between two lines that leave at once, on average
enum { LINES_AT_ONCE = 32 };

typedef struct {
    char *data;
    uint32_t size, head, tail; // head: next to write, tail: next to read; both run freely
} ring_t;

static char out_data[OUT_SIZE], in_data[IN_SIZE];
static ring_t out = {out_data, OUT_SIZE, 0, 0}, in = {in_data, IN_SIZE, 0, 0};
static const hal_console_sink_t *sink;
static uint64_t dropped;
int hal_console_interrupt_char = NO_INTERRUPT;
bool (*hal_console_on_interrupt)(void);
const char *hal_console_stop = "\x03"; // Ctrl-C
static bool lags;                      // the host had time to make room and a line is left: no long wait for the next
static bool stuck;                     // the sink made no room within a deadline: do not wait again before it does

static size_t ring_used(const ring_t *r) { return r->head - r->tail; }

static size_t ring_put(ring_t *r, const char *p, size_t len) {
    size_t room = r->size - ring_used(r), n = len < room ? len : room;
    size_t at = r->head & (r->size - 1), first = n < r->size - at ? n : r->size - at;
    memcpy(r->data + at, p, first);
    memcpy(r->data, p + first, n - first);
    r->head += (uint32_t)n;
    return n;
}

// The longest contiguous piece that can be read.
static size_t ring_peek(const ring_t *r, const char **p) {
    size_t used = ring_used(r), at = r->tail & (r->size - 1);
    *p = r->data + at;
    return used < r->size - at ? used : r->size - at;
}

static bool drain(void) {
    bool moved = false;
    const char *p;
    size_t len;
    while ((len = ring_peek(&out, &p)) > 0) {
        size_t n = len;
        if (sink != NULL) {
            n = sink->send(sink->ctx, p, len);
        } else {
            hal_uart_write(p, len);
        }
        if (n == 0) {
            break;
        }
        out.tail += (uint32_t)n;
        moved = true;
        stuck = false;
    }
    lags = lags && len > 0;
    return moved;
}

static bool console_run(void *arg) {
    (void)arg;
    bool moved = drain();
    if (sink == NULL) {
        char buf[16];
        size_t room = hal_console_input_room();
        size_t n = hal_uart_read(buf, room < sizeof(buf) ? room : sizeof(buf));
        moved |= hal_console_input(buf, n) > 0;
    }
    return moved;
}

static uint64_t console_deadline(void *arg) {
    (void)arg;
    return sink == NULL ? hal_clock_ns() + UART_POLL_MS * 1000000ull : UINT64_MAX; // the 16550 is polled
}

static hal_event_source_t console_source = {.run = console_run, .deadline = console_deadline, .console = true};

static void ensure_source(void) {
    static bool added;
    if (!added) {
        added = true;
        hal_event_add(&console_source);
    }
}

void hal_console_attach(const hal_console_sink_t *s) {
    sink = s;
    ensure_source();
    drain();
}

// A line leaves before what comes after it, which may be a long call into C: but that costs an exit, and who prints a
// lot has it leave with the next look at the events.
static void drain_line(uint64_t now) {
    static int64_t next = -LINES_AT_ONCE * LINE_NS;
    int64_t earliest = (int64_t)now - LINES_AT_ONCE * LINE_NS;
    next = next < earliest ? earliest : next;
    if (next <= (int64_t)now) {
        next += LINE_NS;
        drain();
        uint64_t give_up = now + (lags ? ROOM_NS : STALL_NS);
        while (ring_used(&out) > 0 && hal_clock_ns() < give_up) {
            hal_event_wait(give_up); // the host may have no other processor to read with
            drain();
        }
        lags = ring_used(&out) > 0;
    }
}

void hal_console_write(const void *data, size_t len) {
    const char *p = data;
    ensure_source();
    size_t n = ring_put(&out, p, len);
    uint64_t give_up = hal_clock_ns() + WRITE_MAX_NS;
    while (n < len) {
        drain();
        size_t fitted = ring_put(&out, p + n, len - n);
        n += fitted;
        if (fitted > 0) {
            give_up = hal_clock_ns() + WRITE_MAX_NS; // the host reads, if slowly
        } else if (stuck || hal_clock_ns() >= give_up) {
            stuck = true;
            dropped += len - n;
            return;
        } else {
            hal_event_wait(give_up);
        }
    }
    if (len > 0 && p[len - 1] == '\n') {
        drain_line(give_up - WRITE_MAX_NS);
    }
}

void hal_console_log(const void *data, size_t len) {
    ensure_source();
    dropped += len - ring_put(&out, data, len);
}

size_t hal_console_read(void *data, size_t size) {
    size_t total = 0, n;
    const char *p;
    while (total < size && (n = ring_peek(&in, &p)) > 0) {
        n = n < size - total ? n : size - total;
        memcpy((char *)data + total, p, n);
        in.tail += (uint32_t)n;
        total += n;
    }
    return total;
}

size_t hal_console_peek(const char **data) { return ring_peek(&in, data); }

void hal_console_input_buffer(void *data, size_t size) {
    uint32_t held = (uint32_t)hal_console_read(data, size);
    in = (ring_t){data, (uint32_t)size, held, 0};
}

static const char *find_interrupt(const char *p, size_t len) {
    return hal_console_interrupt_char == NO_INTERRUPT || hal_console_on_interrupt == NULL
               ? NULL
               : memchr(p, hal_console_interrupt_char, len);
}

size_t hal_console_input(const void *data, size_t len) {
    const char *p = data;
    size_t taken = 0;
    while (taken < len) {
        const char *c = find_interrupt(p + taken, len - taken);
        size_t want = c != NULL ? (size_t)(c - p) - taken : len - taken;
        size_t n = ring_put(&in, p + taken, want);
        taken += n;
        if (c == NULL) {
            break;
        }
        if (hal_console_on_interrupt()) {
            if (ring_used(&in) == in.size) { // nobody reads: what is unread goes, as with a terminal
                in.tail = in.head;
            }
            taken += want - n + 1;
        } else if (n == want && ring_put(&in, c, 1) == 1) {
            taken++; // an ordinary byte after all
        } else {
            break;
        }
    }
    return taken;
}

bool hal_console_readable(void) { return ring_used(&in) > 0; }

size_t hal_console_input_room(void) { return in.size - ring_used(&in); }

void hal_console_flush(uint64_t timeout_ns) {
    uint64_t give_up = hal_clock_ns() + timeout_ns;
    while (hal_clock_ns() < give_up) {
        bool moved = drain();
        if (ring_used(&out) == 0 && (sink == NULL || sink->send_idle(sink->ctx))) {
            return;
        }
        if (!moved && !hal_event_run() && hal_platform != NULL) {
            hal_platform->relax();
        }
    }
}
