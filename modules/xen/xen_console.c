// SPDX-License-Identifier: MIT
// Xen's console (public/io/console.h): a sink for hal_console_attach and the source of its input. Owns our two indices.
// Not here: the console's ring buffers and line discipline (port/hal/console.c), early and last words (port/xen/end.c).
// Context: main loop only; nothing waits. A host that does not read leaves the ring full, and send takes 0.
//
// xenconsoled takes 30 events in 200 ms from a domain and then none until they are over. So that small writes do not
// use them up, it is told at once when the ring is half full, and else at most every NOTIFY_NS and before a sleep.

#include <string.h>

#include "xen/xen.h"
#include "xen/xencons.h"

#define NOTIFY_NS 10000000ull

static struct {
    xencons_ring_t *ring;
    xen_port_t port;
    uint32_t in_cons;  // ours, as xen_console_prod: never read back from the page
    uint32_t freed;    // bytes of input taken since the daemon was told
    bool untold, dead; // untold: written, and nobody was told
    bool full;         // send could not take everything and waits for room
    uint64_t told_at;
} con;

static bool xencons_die(const char *line) {
    con.dead = true;
    hal_console_attach(NULL);
    hal_console_log(line, strlen(line));
    return false;
}

static void tell(void) {
    con.untold = false;
    con.freed = 0;
    con.told_at = hal_clock_ns();
    xen_evtchn_notify(con.port);
}

// Bytes that can be written now.
static uint32_t out_room(void) {
    uint32_t used = xen_console_prod - con.ring->out_cons;
    if (used > XENCONS_OUT) {
        xencons_die("xen console: the host took more than was written\n");
        return 0;
    }
    return XENCONS_OUT - used;
}

static size_t xencons_send(void *ctx, const void *data, size_t len) {
    (void)ctx;
    uint32_t room = con.dead ? 0 : out_room(), n = len < room ? (uint32_t)len : room;
    uint32_t at = xen_console_prod % XENCONS_OUT, first = n < XENCONS_OUT - at ? n : XENCONS_OUT - at;
    hal_mb(); // the look at out_cons before the bytes it made room for are overwritten
    memcpy(con.ring->out + at, data, first);
    memcpy(con.ring->out, (const char *)data + first, n - first);
    hal_wmb(); // the bytes before the index that covers them
    xen_console_prod += n;
    con.ring->out_prod = xen_console_prod;
    con.untold |= n > 0;
    con.full = n < len;
    if (con.untold && (room - n < XENCONS_OUT / 2 || hal_clock_ns() - con.told_at >= NOTIFY_NS)) {
        tell();
    }
    return n;
}

static bool xencons_send_idle(void *ctx) {
    (void)ctx;
    if (con.untold) {
        tell();
    }
    return con.dead || xen_console_prod == con.ring->out_cons;
}

// Pass on what was typed. True: some was.
static bool receive(void) {
    uint32_t have = con.ring->in_prod - con.in_cons;
    if (have > XENCONS_IN) {
        return xencons_die("xen console: the host typed more than there is room for\n");
    }
    hal_rmb(); // the index before the bytes that it covers
    bool any = false;
    while (have > 0) {
        char piece[256];
        uint32_t at = con.in_cons % XENCONS_IN, n = have < XENCONS_IN - at ? have : XENCONS_IN - at;
        n = n < sizeof(piece) ? n : (uint32_t)sizeof(piece);
        memcpy(piece, con.ring->in + at, n); // a copy: the host may change them while they are looked at
        uint32_t taken = (uint32_t)hal_console_input(piece, n);
        con.in_cons += taken;
        con.freed += taken;
        have -= taken;
        any |= taken > 0;
        if (taken < n) {
            break; // no room: the rest stays in the ring
        }
    }
    hal_mb(); // the bytes are read before the daemon may write over them
    con.ring->in_cons = con.in_cons;
    if (con.freed >= XENCONS_IN / 2) {
        tell(); // it stops at a full ring, and that cannot have been since this many bytes
    }
    return any;
}

static bool xencons_run(void *arg) {
    (void)arg;
    if (con.dead) {
        return false;
    }
    if (con.untold && hal_clock_ns() - con.told_at >= NOTIFY_NS) {
        tell();
    }
    return receive();
}

// Sleep ends when there is input that fits, or room for output that waits:
// the daemon may have made it since the last send.
static bool xencons_arm(void *arg) {
    (void)arg;
    if (con.dead) {
        return false;
    }
    if (con.untold) {
        tell();
    }
    xen_evtchn_take(con.port);
    return (con.ring->in_prod != con.in_cons && hal_console_input_room() > 0) || (con.full && out_room() > 0);
}

static const hal_console_sink_t sink = {.send = xencons_send, .send_idle = xencons_send_idle};
static hal_event_source_t source = {.run = xencons_run, .arm = xencons_arm, .console = true};

static bool join(void) {
    con.ring = xen_console_ring(&con.port);
    if (con.ring != NULL) {
        con.in_cons = con.ring->in_cons;
        xen_evtchn_unmask(con.port);
    }
    return con.ring != NULL;
}

static int xencons_probe(void) {
    if (!xen_present()) {
        return 0;
    }
    if (!join()) {
        return -ENODEV;
    }
    hal_event_add(&source);
    hal_console_attach(&sink);
    return 1;
}

static void xencons_suspend(hal_suspend_t what) {
    if (what == HAL_RESUMED && con.ring != NULL) {
        con.freed = 0;
        con.untold = con.full = false;
        if (!join()) {
            xencons_die("xen console: the host gave no ring\n");
        }
    }
}
HAL_SUSPEND(xencons_suspend);

const hal_driver_t xen_console_driver = {"xen-console", xencons_probe};
