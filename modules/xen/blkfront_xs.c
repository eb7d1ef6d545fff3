// SPDX-License-Identifier: MIT
// A block frontend's dealings with XenStore: the nodes of public/io/blkif.h and the states of public/io/xenbus.h, from
// the first meeting to the backend's going away and coming back. Owns nothing but the phase. Not here: the ring
// (blkfront.c). Context: main loop; waits only in offer and accept, at start.
//
// A backend that begins anew while we are connected may take the ring over as it is (Linux' blkback, unbound and bound
// again); it has REATTACH_NS for that. One that goes (Closing, Closed) may answer what it has for DRAIN_NS. We close,
// and invite it again. When it waits for us (InitWait) every page is taken back first, then granted anew; once it is
// connected to the same disk all that has not come back is issued again. Whoever waits for a request waits 30 s at most
// (blkdev.c). What came back before and was not flushed is where the old backend left it: we cannot write it again.

#include "blkfront.h"

#include <stdio.h>
#include <string.h>

enum { INFO_CDROM = 1, INFO_READONLY = 4, PATH_ROOM = 32 };
#define CAPACITY_MAX (1ull << 54) // sectors; bytes then fit in 63 bits
#define REATTACH_NS 2000000000ull
#define DRAIN_NS 2000000000ull
#define UNMAP_NS 5000000000ull // from InitWait until nothing of ours is mapped
#define POLL_NS 10000000ull    // nobody tells us when a page is unmapped

int blkfront_xs_find(blkfront_t *n) {
    char path[sizeof(n->bus.path) + PATH_ROOM], type[8];
    snprintf(path, sizeof(path), "device/vbd/%u/device-type", n->number);
    if (xen_store_read(0, path, type, sizeof(type)) > 0 && strcmp(type, "cdrom") == 0) {
        return 1;
    }
    return xenbus_open(&n->bus, "vbd", n->number);
}

static int write_text(blkfront_t *n, const char *name, const char *value) {
    char path[sizeof(n->bus.path) + PATH_ROOM];
    snprintf(path, sizeof(path), "%s/%s", n->bus.path, name);
    return xen_store_write(0, path, value);
}

static int write_number(blkfront_t *n, const char *name, unsigned value) {
    char text[12];
    snprintf(text, sizeof(text), "%u", value);
    return write_text(n, name, text);
}

// XenStore could not now: it is asked again later, the phase stays.
// At the start, or when it is nonsense what it says: the end.
static int refused(blkfront_t *n, const char *why, int err) {
    if (n->phase == BLKFRONT_START || err == -EINVAL) {
        return blkfront_die(n, why, err);
    }
    xenbus_fail(&n->bus, why, err);
    xenbus_again(&n->bus);
    return err;
}

// The same for our state; its failure has been said.
static int step_to(blkfront_t *n, xenbus_state_t state, const char *why) {
    int r = xenbus_switch(&n->bus, state);
    if (r < 0 && n->phase == BLKFRONT_START) {
        return blkfront_die(n, why, r);
    }
    if (r < 0) {
        xenbus_again(&n->bus);
    }
    return r;
}

// Tell the backend of the ring. A frontend may announce persistent grants to a backend that has none (note 7).
static int publish(blkfront_t *n) {
    int r = write_number(n, "ring-ref", n->ring.page.ref);
    r = r < 0 ? r : write_number(n, "event-channel", n->port);
    r = r < 0 ? r : write_text(n, "protocol", "x86_64-abi");
    r = r < 0 ? r : write_number(n, "feature-persistent", 1);
    static const char why[] = "the ring cannot be offered";
    return r < 0 ? refused(n, why, r) : step_to(n, XENBUS_INITIALISED, why);
}

static int offer(blkfront_t *n) {
    int r = blkfront_ring_open(n);
    return r < 0 ? blkfront_die(n, "no grants or no event channel left", r) : publish(n);
}

int blkfront_xs_offer(blkfront_t *n, uint64_t deadline_ns) {
    unsigned ready = XENBUS_IN(XENBUS_INIT_WAIT) | XENBUS_IN(XENBUS_INITIALISED) | XENBUS_IN(XENBUS_CONNECTED);
    int r = xenbus_wait(&n->bus, ready, deadline_ns);
    return r < 0 ? blkfront_die(n, "the backend is not ready", r) : offer(n);
}

// What the backend says about the disk, as numbers.
typedef struct {
    uint64_t sectors, sector_size, physical, info, flush, barrier, discard, granularity, alignment;
} disk_nodes_t;

static int read_nodes(blkfront_t *n, disk_nodes_t *d) {
    struct {
        const char *name;
        uint64_t missing;
        uint64_t *out;
    } node[] = {
        {"sectors", UINT64_MAX, &d->sectors},      {"sector-size", BLKDEV_SECTOR, &d->sector_size},
        {"physical-sector-size", 0, &d->physical}, {"info", 0, &d->info},
        {"feature-flush-cache", 0, &d->flush},     {"feature-barrier", 0, &d->barrier},
        {"feature-discard", 0, &d->discard},       {"discard-granularity", 0, &d->granularity},
        {"discard-alignment", 0, &d->alignment},
    };
    for (unsigned i = 0; i < HAL_ARRAY_LEN(node); i++) {
        int r = xenbus_backend_u64(&n->bus, node[i].name, INT64_MAX, node[i].missing, node[i].out);
        if (r < 0) {
            return refused(n, node[i].name, r);
        }
    }
    return 0;
}

// What cannot be a disk. NULL: it can. Sectors are counted in 512 bytes, whatever the sector size.
static const char *absurd(const disk_nodes_t *d) {
    if (d->sector_size < BLKDEV_SECTOR || d->sector_size > BLKDEV_SECTOR_MAX ||
        (d->sector_size & (d->sector_size - 1)) != 0) {
        return "sector size is not 512 to 4096";
    }
    if (d->physical % d->sector_size != 0) {
        return "physical sectors are not whole sectors";
    }
    return d->sectors > CAPACITY_MAX ? "impossible capacity, or none" : NULL;
}

static bool mode_readonly(blkfront_t *n) {
    char path[sizeof(n->bus.backend) + PATH_ROOM], mode[8];
    snprintf(path, sizeof(path), "%s/mode", n->bus.backend);
    return xen_store_read(0, path, mode, sizeof(mode)) > 0 && strchr(mode, 'w') == NULL;
}

// Take over what the backend says; `again` when it did so before. 1: a CD-ROM. 0 or -errno, with a log line.
static int identify(blkfront_t *n, bool again) {
    disk_nodes_t d;
    int r = read_nodes(n, &d);
    if (r < 0) {
        return r;
    }
    const char *why = absurd(&d);
    if (why != NULL) {
        return blkfront_die(n, why, -EINVAL);
    }
    if ((d.info & INFO_CDROM) != 0) {
        return 1;
    }
    blkdev_t *b = &n->dev;
    uint64_t sectors = d.sectors & ~(d.sector_size / BLKDEV_SECTOR - 1);
    bool readonly = (d.info & INFO_READONLY) != 0 || mode_readonly(n);
    if (again && (sectors != b->sectors || d.sector_size != b->sector_size || readonly != b->readonly)) {
        return blkfront_die(n, "another disk came back", -EIO);
    }
    b->sectors = sectors;
    b->sector_size = (uint32_t)d.sector_size;
    b->max_bytes = BLKFRONT_MAX_BYTES;
    b->readonly = readonly;
    b->volatile_cache = d.flush != 0 || d.barrier != 0;
    n->flush_op = d.flush != 0 || d.barrier == 0 ? BLKFRONT_OP_FLUSH : BLKFRONT_OP_BARRIER;
    // Our requests are eleven pages at most: a disk that forgets in larger units would forget nothing.
    b->can_discard = d.discard != 0 && d.granularity <= HAL_PAGE_SIZE && d.alignment == 0;
    return 0;
}

// The backend is connected: so are we.
static int join(blkfront_t *n, bool again) {
    int r = identify(n, again);
    r = r == 0 ? step_to(n, XENBUS_CONNECTED, "the handshake cannot be ended") : r;
    if (r == 0) {
        xenbus_settle(&n->bus);
        blkfront_ring_start(n);
    }
    return r;
}

int blkfront_xs_accept(blkfront_t *n, uint64_t deadline_ns) {
    unsigned decided = XENBUS_IN(XENBUS_CONNECTED) | XENBUS_IN(XENBUS_CLOSING) | XENBUS_IN(XENBUS_CLOSED);
    int r = xenbus_wait(&n->bus, decided, deadline_ns);
    if (r == 0 && n->bus.backend_state != XENBUS_CONNECTED) {
        r = -ENODEV;
    }
    r = r < 0 ? blkfront_die(n, "the backend does not connect", r) : join(n, false);
    return r > 0 ? (blkfront_die(n, "a CD-ROM, left alone", 0), 1) : r;
}

static void enter(blkfront_t *n, blkfront_phase_t phase, uint64_t deadline) {
    n->phase = phase;
    n->deadline = deadline;
    xenbus_settle(&n->bus);
}

// The backend is no longer connected, and will not take over the ring.
static void backend_closing(void *disk) {
    blkfront_t *n = disk;
    n->rewritten = n->bus.rewritten;
    uint64_t online = 0;
    int r = n->bus.backend_state == XENBUS_UNKNOWN ? 0 : xenbus_backend_u64(&n->bus, "online", 1, 1, &online);
    if (r < 0 && r != -EINVAL) {
        refused(n, "online", r);
        return;
    }
    if (online != 1) {
        blkfront_die(n, "the disk was taken away", -ENODEV);
        return;
    }
    xenbus_settle(&n->bus);
    if (!n->away_logged) { // not again of one that comes and goes and does nothing
        xenbus_fail(&n->bus, "the backend went away, requests wait for another", -EAGAIN);
        n->away_logged = true;
    }
    enter(n, BLKFRONT_LEAVING, hal_clock_ns() + DRAIN_NS);
}

// Both are connected. One watch event stands for many changes: a backend that is connected again may have been away
// between, and then it may have another disk.
static void both_connected(void *disk) {
    blkfront_t *n = disk;
    bool again = n->deadline != 0 || n->rewritten != n->bus.rewritten;
    n->rewritten = n->bus.rewritten;
    if (!again) {
        return;
    }
    int r = identify(n, true);
    n->deadline = r < 0 ? hal_clock_ns() + REATTACH_NS : 0; // not 0: not known yet whose disk it is
    if (r > 0) {
        blkfront_die(n, "another disk came back", -EIO);
    } else if (r == 0) {
        xenbus_settle(&n->bus);
        xen_evtchn_notify(n->port); // it may have missed one
    }
}

// The backend begins anew while we are connected: it may take over the ring, until the deadline.
static void backend_restarts(void *disk) {
    blkfront_t *n = disk;
    n->rewritten = n->bus.rewritten;
    if (n->deadline == 0) {
        n->deadline = hal_clock_ns() + REATTACH_NS;
    } else if (hal_clock_ns() > n->deadline) {
        backend_closing(n);
    }
}

// Nothing more will come back: close, so that the backend lets go of our pages.
static void close_ring(void *disk) {
    blkfront_t *n = disk;
    enter(n, BLKFRONT_AWAY, 0);
    blkfront_ring_close(n);
    step_to(n, XENBUS_CLOSED, "");
}

// What the backend has may still come back.
static void drain(void *disk) {
    blkfront_t *n = disk;
    if (xenring_outstanding(&n->ring) == 0 || hal_clock_ns() > n->deadline) {
        close_ring(n);
    }
}

static void backend_gone(void *disk) { blkfront_die(disk, "the disk was taken away", -ENODEV); }

static void switch_once(blkfront_t *n, xenbus_state_t state) {
    if (n->bus.state != state) {
        step_to(n, state, "");
    }
}

static void close_again(void *disk) { switch_once(disk, XENBUS_CLOSED); }

static void reinitialise(void *disk) { switch_once(disk, XENBUS_INITIALISING); }

// The backend waits for us: take all pages back, then offer them anew.
static void offer_again(void *disk) {
    blkfront_t *n = disk;
    uint64_t now = hal_clock_ns();
    n->deadline = n->deadline == 0 ? now + UNMAP_NS : n->deadline;
    if (blkfront_ring_close(n)) {
        enter(n, BLKFRONT_OFFERED, 0);
        offer(n);
    } else if (now > n->deadline) {
        blkfront_die(n, "the backend keeps our memory", -EIO);
    }
}

static void join_again(void *disk) {
    if (join(disk, true) > 0) {
        blkfront_die(disk, "another disk came back", -EIO);
    }
}

// What was offered could not be written at once.
static void publish_again(void *disk) {
    blkfront_t *n = disk;
    if (n->bus.state != XENBUS_INITIALISED) {
        publish(n);
    }
}

// Dead: let the backend take its leave.
static void close_dead(void *disk) {
    blkfront_t *n = disk;
    xenbus_state_t theirs = n->bus.backend_state;
    if (theirs != XENBUS_UNKNOWN && n->bus.state == XENBUS_CLOSING) {
        xenbus_switch(&n->bus, XENBUS_CLOSED);
    }
    if (theirs != XENBUS_CLOSING && n->bus.watch.path != NULL) {
        blkfront_ring_close(n); // what it still has now, it keeps
        xenbus_close(&n->bus);
    }
}

#define PHASE(name) (1u << BLKFRONT_##name)
static const xenbus_rule_t rules[] = {
    {PHASE(UP), XENBUS_IN(XENBUS_CONNECTED), both_connected},
    {PHASE(UP), XENBUS_IN(XENBUS_INITIALISING) | XENBUS_IN(XENBUS_INIT_WAIT) | XENBUS_IN(XENBUS_INITIALISED),
     backend_restarts},
    {PHASE(UP), XENBUS_ANY, backend_closing},
    {PHASE(LEAVING), XENBUS_IN(XENBUS_CLOSING), drain},
    {PHASE(LEAVING), XENBUS_ANY, close_ring},
    {PHASE(AWAY), XENBUS_IN(XENBUS_UNKNOWN), backend_gone},
    {PHASE(AWAY), XENBUS_IN(XENBUS_CLOSING), close_again}, // it failed once more
    {PHASE(AWAY), XENBUS_IN(XENBUS_CLOSED), reinitialise},
    {PHASE(AWAY), XENBUS_IN(XENBUS_INIT_WAIT), offer_again},
    {PHASE(OFFERED), XENBUS_IN(XENBUS_CONNECTED), join_again},
    {PHASE(OFFERED), XENBUS_IN(XENBUS_UNKNOWN) | XENBUS_IN(XENBUS_CLOSING) | XENBUS_IN(XENBUS_CLOSED), close_ring},
    {PHASE(OFFERED), XENBUS_IN(XENBUS_INIT_WAIT), publish_again},
    {PHASE(DEAD), XENBUS_IN(XENBUS_UNKNOWN) | XENBUS_IN(XENBUS_CLOSING) | XENBUS_IN(XENBUS_CLOSED), close_dead},
};

// Look for the backend that the disk has here.
static void find_again(blkfront_t *n) {
    int r = blkfront_xs_find(n);
    if (xenbus_may_pass(r)) {
        xenbus_again(&n->bus);
    } else if (r != 0) {
        blkfront_die(n, "the disk is not here", -ENODEV);
    }
}

void blkfront_xs_anew(blkfront_t *n) {
    bool dead = n->phase == BLKFRONT_DEAD;
    blkfront_ring_forget(n);
    xenbus_close(&n->bus);
    if (!dead) {
        enter(n, BLKFRONT_AWAY, 0);
        find_again(n);
    }
}

bool blkfront_xs_step(blkfront_t *n) {
    blkfront_phase_t before = n->phase;
    if (n->bus.again_ns == 0 && n->phase == BLKFRONT_AWAY && n->bus.watch.path == NULL) {
        find_again(n);
    } else if (n->bus.again_ns == 0 || n->phase == BLKFRONT_DEAD) {
        xenbus_act(rules, HAL_ARRAY_LEN(rules), n->phase, n->bus.backend_state, n);
    }
    return n->phase != before;
}

uint64_t blkfront_xs_deadline(const blkfront_t *n) {
    bool timed = n->phase == BLKFRONT_LEAVING || (n->phase == BLKFRONT_UP && n->deadline != 0);
    bool polls = n->phase == BLKFRONT_AWAY && n->bus.backend_state == XENBUS_INIT_WAIT;
    if (n->bus.again_ns != 0) {
        return UINT64_MAX; // xenbus.c's
    }
    return timed ? n->deadline : polls ? hal_clock_ns() + POLL_NS : UINT64_MAX;
}
