// SPDX-License-Identifier: MIT
// The backends behind blkfront.c: each a disk with the states and rings of a real one (it connects, maps what it is
// given, sleeps until it is notified, goes away when told), with one fault at a chosen request. They work while the
// driver looks at the clock. What is not as blkif.h demands ends the process: "STRAY ...".
// Asked for is logged as in disk.c: "R8+512 F".

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_user.h"
#include "fake_hal.h"
#include "fake_xen.h"
#include "fuzz.h"
#include "xenbus.h"

bool xen_extra_command(char **word, unsigned words);

extern const hal_driver_t xen_blkfront_driver;

enum { DISKS = 10, LOG_MAX = 1 << 16, RING = 32, ENTRIES = 64, ENTRY = 112, HELD = 32, MAPPED = 128 };
enum { READ = 0, WRITE = 1, BARRIER = 2, FLUSH = 3, DISCARD = 5 };

static const char *const faults[] = {
    "none",   "ioerr",      "unsupp",     "status_wild", "status_high", "id_wild", "id_free", "id_stale",
    "id_low", "op_another", "index_jump", "index_back",  "silent",      "twice",   "late",    "paused",
};

typedef struct {
    unsigned number;
    bool gone; // nobody serves it
    uint64_t sectors;
    uint8_t bytes[DISK_BYTES_MAX];
    char log[LOG_MAX];
    size_t logged;
    unsigned long done, fault_at; // requests answered; the one that gets the fault
    unsigned fault;
    bool reverse, keeps, mute; // keeps: never unmaps a page; mute: answers nothing more
    uint64_t latency, due;
    uint8_t *ring; // NULL: not connected
    xen_grant_t ring_grant, mapped[MAPPED];
    unsigned mapped_count, connects;
    xen_port_t port;
    uint64_t seen; // notifications
    uint32_t req_cons, rsp_prod;
    uint64_t last_id;
    uint8_t held[HELD][ENTRY];
    unsigned holds;
} disk_t;

static disk_t disks[DISKS], *disk = disks; // the one that commands mean
static unsigned disk_count;
static bool lied, stormy; // stormy: states change at random

// The driver's fault, unless a lie was told before. False, so that callers can end with it.
static bool wrong(const char *what) {
    lied ? (void)0 : fake_xen_stray(what, disk->number);
    return false;
}

static const char *node(const char *side, const char *name) {
    static char path[4][128];
    static unsigned k;
    snprintf(path[k = (k + 1) % 4], sizeof(path[0]), "/local/domain/%s/%u/%s", side, disk->number, name);
    return path[k];
}

#define FRONT "1/device/vbd"
#define BACK "0/backend/vbd/1"

static uint64_t value(const char *side, const char *name, uint64_t missing) {
    const char *text = fake_xs_get(node(side, name));
    return text == NULL ? missing : strtoull(text, NULL, 10);
}

static void set_state(xenbus_state_t s) {
    char text[8];
    snprintf(text, sizeof(text), "%d", s);
    fake_xs_set(node(BACK, "state"), text);
}

static uint32_t *index_at(unsigned i) {
    return (uint32_t *)(void *)disk->ring + i;
} // req_prod req_event rsp_prod rsp_event

// ---- requests --------------------------------------------------------------------------------------

static void note(char what, uint64_t at, uint64_t len) {
    if (disk->logged < LOG_MAX - 64) {
        char *to = disk->log + disk->logged;
        disk->logged +=
            (size_t)(what == 'F' || what == 'B' ? sprintf(to, "%c ", what) : sprintf(to, "%c%lu+%lu ", what, at, len));
    }
}

// The page of a segment, mapped for good as a backend with persistent grants does.
static uint8_t *page_of(xen_grant_t ref) {
    uint8_t *page = fake_grant_page(ref, 0, true);
    if (page == NULL || page == disk->ring) {
        wrong("segment without a page, disk");
        return NULL;
    }
    for (unsigned i = 0; i < disk->mapped_count; i++) {
        if (disk->mapped[i] == ref) {
            return page;
        }
    }
    if (disk->mapped_count == MAPPED) {
        wrong("more pages than a disk may keep, disk");
        return page;
    }
    fake_grant_hold(ref, true);
    disk->mapped[disk->mapped_count++] = ref;
    return page;
}

static bool carry_out(const uint8_t *q) {
    uint64_t sector, at, len = 0, unit = value(BACK, "sector-size", 512);
    memcpy(&sector, q + 16, 8);
    at = sector * 512;
    if (q[0] == DISCARD) {
        memcpy(&len, q + 24, 8);
        len *= 512;
        note('D', at, len);
    } else if (q[0] == READ || q[0] == WRITE) {
        if (q[1] < 1 || q[1] > 11) {
            return wrong("segments of disk");
        }
        for (unsigned i = 0; i < q[1]; i++) {
            xen_grant_t ref;
            memcpy(&ref, q + 24 + 8 * i, 4);
            unsigned first = q[28 + 8 * i], last = q[29 + 8 * i], n = (last - first + 1) * 512;
            uint8_t *page = page_of(ref);
            if (page == NULL || last > 7 || first > last || sector > disk->sectors ||
                at + len + n > disk->sectors * 512) {
                return wrong("sectors of disk");
            }
            q[0] == READ ? memcpy(page + first * 512, disk->bytes + at + len, n)
                         : memcpy(disk->bytes + at + len, page + first * 512, n);
            len += n;
        }
        note(q[0] == READ ? 'R' : 'W', at, len);
    } else if ((q[0] == FLUSH || q[0] == BARRIER) && q[1] == 0) {
        note(q[0] == FLUSH ? 'F' : 'B', 0, 0);
    } else {
        return wrong("operation of disk");
    }
    if (len > disk->sectors * 512 || at > disk->sectors * 512 - len || (!lied && (at % unit != 0 || len % unit != 0))) {
        return wrong("range of disk");
    }
    if (q[0] == DISCARD) {
        memset(disk->bytes + at, 0, len);
    }
    return true;
}

static void respond(uint64_t id, uint8_t op, int16_t status) {
    uint8_t *e = disk->ring + ENTRIES + disk->rsp_prod++ % RING * ENTRY;
    memset(e, 0xee, 16); // the padding is nobody's
    memcpy(e, &id, 8);
    e[8] = op;
    memcpy(e + 10, &status, 2);
    *index_at(2) = disk->rsp_prod;
    if (*index_at(3) == disk->rsp_prod) {
        fake_port_raise(disk->port);
    }
}

// Answer a request, with the fault if it is the one.
static void answer(const uint8_t *q) {
    const char *fault = disk->done++ == disk->fault_at ? faults[disk->fault] : "none";
    uint64_t id;
    uint8_t op = q[0];
    int16_t status = 0;
    memcpy(&id, q + 8, 8);
    bool lie = strcmp(fault, "none") != 0;
    lied |= lie;
    if (strcmp(fault, "paused") == 0) { // the whole VM, while we answered
        fake_hal.now += 40000000000ull;
        lied = lie = false;
    }
    if (!lie || strcmp(fault, "twice") == 0) {
        status = carry_out(q) ? 0 : -1;
    }
    if (strcmp(fault, "ioerr") == 0) {
        status = -1;
    } else if (strcmp(fault, "unsupp") == 0) {
        status = -2;
    } else if (strcmp(fault, "status_wild") == 0) {
        status = -3;
    } else if (strcmp(fault, "status_high") == 0) {
        status = 1;
    } else if (strcmp(fault, "id_wild") == 0) {
        id = 0xffffffffffff0000ull | (id & 0xff);
    } else if (strcmp(fault, "id_free") == 0) {
        id = id ^ 0x80;
    } else if (strcmp(fault, "id_low") == 0) {
        id = id | 0xff;
    } else if (strcmp(fault, "id_stale") == 0) {
        id = disk->last_id;
    } else if (strcmp(fault, "op_another") == 0) {
        op ^= 1;
    } else if (strcmp(fault, "index_jump") == 0) {
        *index_at(2) = disk->rsp_prod + 33;
        disk->mute = true;
        return;
    } else if (strcmp(fault, "index_back") == 0) {
        *index_at(2) = disk->rsp_prod - 9;
        disk->mute = true;
        return;
    } else if (strcmp(fault, "silent") == 0) {
        return;
    } else if (strcmp(fault, "twice") == 0) {
        respond(id, op, 0);
    } else if (strcmp(fault, "late") == 0) {
        memcpy(disk->held[disk->holds++], q, ENTRY);
        disk->due = fake_hal.now + 29000000000ull; // in time, barely
        disk->fault_at = ~0ul;
        lied = false;
        return;
    }
    disk->last_id = id;
    respond(id, op, status);
}

static void serve(void) {
    bool fresh = disk->holds == 0;
    if (fake_xen.port[disk->port].notified != disk->seen) { // else it sleeps
        disk->seen = fake_xen.port[disk->port].notified;
        if (*index_at(0) - disk->req_cons > RING) {
            wrong("request index of disk");
            return;
        }
        for (; disk->req_cons != *index_at(0) && disk->holds < HELD; disk->req_cons++) {
            memcpy(disk->held[disk->holds++], disk->ring + ENTRIES + disk->req_cons % RING * ENTRY, ENTRY);
        }
        *index_at(1) = disk->req_cons + 1;
    }
    if (fresh && disk->holds > 0) {
        disk->due = fake_hal.now + disk->latency;
    }
    if (disk->holds == 0 || fake_hal.now < disk->due) {
        return;
    }
    uint8_t batch[HELD][ENTRY];
    unsigned n = disk->holds;
    memcpy(batch, disk->held, n * ENTRY);
    disk->holds = 0;
    for (unsigned i = 0; i < n && !disk->mute; i++) {
        answer(batch[disk->reverse ? n - 1 - i : i]);
    }
}

// ---- states ----------------------------------------------------------------------------------------

static void let_go(void) {
    if (disk->ring != NULL && !disk->keeps) {
        fake_grant_hold(disk->ring_grant, false);
        for (unsigned i = 0; i < disk->mapped_count; i++) {
            fake_grant_hold(disk->mapped[i], false);
        }
        disk->mapped_count = 0;
    }
    disk->ring = NULL;
    disk->holds = 0;
}

static void connect(void) {
    disk->ring_grant = (xen_grant_t)value(FRONT, "ring-ref", 0);
    disk->port = (xen_port_t)value(FRONT, "event-channel", 0);
    disk->ring = fake_grant_page(disk->ring_grant, 0, true);
    const char *protocol = fake_xs_get(node(FRONT, "protocol"));
    if (disk->ring == NULL || disk->port == 0 || disk->port >= FAKE_PORTS || !fake_xen.port[disk->port].used ||
        protocol == NULL || strcmp(protocol, "x86_64-abi") != 0 || value(FRONT, "feature-persistent", 0) != 1) {
        wrong("handshake of disk");
    }
    fake_grant_hold(disk->ring_grant, true);
    if (*index_at(0) != 0 || *index_at(1) != 1 || *index_at(2) != 0 || *index_at(3) != 1) {
        wrong("ring that is not fresh, disk");
    }
    disk->req_cons = disk->rsp_prod = 0;
    disk->mute = false;
    disk->seen = fake_xen.port[disk->port].notified;
    disk->connects++;
    set_state(XENBUS_CONNECTED);
}

// Its driver is bound again: the new one takes the old ring over, where the last response was (Linux' blkback does so).
static void rebind(bool deaf) {
    set_state(XENBUS_INIT_WAIT);
    disk->ring = fake_grant_page(disk->ring_grant, 0, true);
    fake_grant_hold(disk->ring_grant, true);
    disk->req_cons = disk->rsp_prod = *index_at(2);
    disk->seen = deaf ? fake_xen.port[disk->port].notified : ~0ull; // else it looks at the ring at once
    disk->connects++;
    set_state(XENBUS_CONNECTED);
}

static void work_one(void) {
    uint64_t front = value(FRONT, "state", 0), back = value(BACK, "state", 0);
    if (disk->gone) {
        return;
    }
    if (front == XENBUS_INITIALISED && back == XENBUS_INIT_WAIT) {
        connect();
    } else if (front == XENBUS_INITIALISING && back == XENBUS_CLOSED) {
        set_state(XENBUS_INIT_WAIT);
    } else if (front == XENBUS_CLOSING && back == XENBUS_CONNECTED) {
        set_state(XENBUS_CLOSING);
    } else if (front == XENBUS_CLOSED && back != XENBUS_CLOSED && back != XENBUS_UNKNOWN) {
        let_go();
        set_state(XENBUS_CLOSED);
    } else if (disk->ring != NULL && fake_xen.port[disk->port].used) {
        serve();
        if (stormy && disk->holds == 0 && fuzz_pick(400) == 0) { // it is restarted, by the book or not at all
            xenbus_state_t to[] = {XENBUS_CLOSING, XENBUS_CLOSED, XENBUS_INIT_WAIT}, s = to[fuzz_pick(3)];
            s == XENBUS_CLOSING ? (void)0 : let_go();
            s == XENBUS_INIT_WAIT &&fuzz_pick(2) ? rebind(false) : set_state(s);
        }
    }
}

static void work(void) {
    disk_t *was = disk;
    for (unsigned i = 0; i < disk_count; i++) {
        disk = &disks[i];
        work_one();
    }
    disk = was;
}

// ---- commands --------------------------------------------------------------------------------------

static void attach(unsigned number, uint64_t sectors) {
    disk = &disks[disk_count++];
    disk->number = number;
    disk->sectors = sectors;
    disk->fault_at = ~0ul;
    fake_hal.on_clock = work;
}

static void life(void);

bool xen_extra_command(char **word, unsigned words) {
    const char *what = word[0];
    if (strcmp(what, "probe") == 0) {
        printf("%d\n", xen_blkfront_driver.probe());
    } else if (strcmp(what, "vbd") == 0) { // NUMBER SECTORS
        attach((unsigned)fake_xen_word(word, words, 1), fake_xen_word(word, words, 2));
    } else if (strcmp(what, "disk_fault") == 0) { // NAME AT
        for (unsigned i = 0; i < HAL_ARRAY_LEN(faults); i++) {
            disk->fault = strcmp(faults[i], word[1]) == 0 ? i : disk->fault;
        }
        disk->fault_at = disk->done + fake_xen_word(word, words, 2);
    } else if (strcmp(what, "disk_latency") == 0) {
        disk->latency = fake_xen_word(word, words, 1);
    } else if (strcmp(what, "disk_reverse") == 0) {
        disk->reverse = true;
    } else if (strcmp(what, "disk_rebind") == 0) { // DEAF
        rebind(fake_xen_word(word, words, 1) != 0);
    } else if (strcmp(what, "disk_keeps") == 0) {
        disk->keeps = fake_xen_word(word, words, 1) != 0;
    } else if (strcmp(what, "disk_gone") == 0) {
        disk->gone = fake_xen_word(word, words, 1) != 0;
        disk->gone ? let_go() : (void)0;
    } else if (strcmp(what, "disk_work") == 0) { // NS: time for the backend and the event sources, but no sleep
        for (uint64_t end = fake_hal.now + fake_xen_word(word, words, 1); hal_clock_ns() < end;
             fake_hal.now += 100000) {
            hal_event_run();
        }
    } else if (strcmp(what, "disk_connects") == 0) {
        printf("%u\n", disk->connects);
    } else if (strcmp(what, "disk_kicks") == 0) {
        printf("%lu\n", fake_xen.port[disk->port].notified);
    } else if (strcmp(what, "disk_submit") == 0) { // [MOST [OP]]: only into the ring; how often it could
        static blkdev_req_t req[64];
        static uint8_t buf[64][512];
        blkdev_t *b = blkdev_get(0);
        unsigned n = 0, most = words > 1 ? (unsigned)fake_xen_word(word, words, 1) : 64;
        for (; n < most; n++) {
            req[n] =
                (blkdev_req_t){.op = words > 2 ? (uint8_t)fake_xen_word(word, words, 2) : BLKDEV_READ, .base = buf[n]};
            req[n].len = req[n].op == BLKDEV_FLUSH ? 0 : 512;
            if (b->ops->submit(b, &req[n]) != 0) {
                break;
            }
        }
        printf("%u\n", n);
    } else if (strcmp(what, "disk_kick") == 0) {
        blkdev_get(0)->ops->kick(blkdev_get(0));
    } else if (strcmp(what, "disk_reap") == 0) {
        printf("%d\n", blkdev_get(0)->ops->reap(blkdev_get(0)) != NULL);
    } else if (strcmp(what, "disk_log") == 0) {
        printf("%s\n", disk->log);
        disk->logged = 0;
        disk->log[0] = '\0';
    } else if (strcmp(what, "fuzz") == 0) { // SEED COUNT
        printf("%d\n", fuzz_lives(life, fake_xen_word(word, words, 1), fake_xen_word(word, words, 2)));
    } else {
        return disk_user_command(word);
    }
    return true;
}

// ---- random lives ----------------------------------------------------------------------------------

static void set_number(const char *side, const char *name, uint64_t v) {
    char text[24];
    snprintf(text, sizeof(text), "%lu", v);
    fake_xs_set(node(side, name), text);
}

// A value that no backend should write; now and then one that is as it should be.
static void spoil(const char *name) {
    static const char *const odd[] = {"",     "0",     "-1", "x", "18446744073709551616", "9223372036854775807",
                                      "512 ", "0x200", "3"};
    fake_xs_set(node(BACK, name), odd[fuzz_pick(HAL_ARRAY_LEN(odd))]);
}

// Now and then the VM goes on in another domain, whatever is in flight.
static bool wander(void *arg) {
    (void)arg;
    if (fuzz_pick(300) != 0) {
        return false;
    }
    let_go();
    set_number(FRONT, "state", XENBUS_INITIALISING);
    set_state(XENBUS_INIT_WAIT);
    fake_xen_anew();
    return true;
}

static void life(void) {
    static hal_event_source_t wandering = {.run = wander};
    static const char *const names[] = {"sectors",
                                        "sector-size",
                                        "physical-sector-size",
                                        "info",
                                        "feature-discard",
                                        "discard-granularity",
                                        "feature-flush-cache",
                                        "state",
                                        "online",
                                        "mode"};
    attach(51712, 64 + fuzz_pick(1500));
    fake_hal.mem_total = (size_t)1 << (20 + fuzz_pick(8));
    fake_xs_set(node(FRONT, "backend"), "/local/domain/0/backend/vbd/1/51712");
    set_number(FRONT, "backend-id", 0);
    set_number(FRONT, "state", XENBUS_INITIALISING);
    set_number(BACK, "sectors", disk->sectors);
    set_number(BACK, "sector-size", 512u << fuzz_pick(4));
    set_number(BACK, "online", 1);
    set_number(BACK, "feature-flush-cache", fuzz_pick(2));
    set_number(BACK, "feature-barrier", fuzz_pick(2));
    set_number(BACK, "feature-discard", fuzz_pick(2));
    set_state(XENBUS_INIT_WAIT);
    disk->reverse = fuzz_pick(2);
    disk->latency = fuzz_pick(3) == 0 ? fuzz_pick(5000000) : 0;
    stormy = fuzz_pick(3) == 0;
    if (fuzz_pick(3) == 0) {
        hal_event_add(&wandering);
    }
    bool spoilt = fuzz_pick(4) == 0, scribbles = fuzz_pick(4) == 0;
    if (spoilt) {
        spoil(names[fuzz_pick(HAL_ARRAY_LEN(names))]);
    }
    if (fuzz_pick(2)) {
        disk->fault = 1 + fuzz_pick(HAL_ARRAY_LEN(faults) - 1);
        disk->fault_at = fuzz_pick(200);
    }
    int up = xen_blkfront_driver.probe();
    FUZZ_CHECK(up == 1 || (up <= 0 && spoilt));
    lied |= spoilt;
    blkdev_t *b = blkdev_get(0);
    for (int step = 0; step < DISK_STEPS && b != NULL && b->sectors > 0 && !b->dead; step++) {
        disk_user_step(b, disk->bytes, &lied);
        if (scribbles && disk->ring != NULL && fuzz_pick(20) == 0) {
            lied = true;
            for (unsigned i = 0; i < 16; i++) {
                disk->ring[fuzz_pick(4) == 0 ? fuzz_pick(16) : fuzz_pick(HAL_PAGE_SIZE)] = (uint8_t)fuzz_pick(256);
            }
        }
        if (spoilt && fuzz_pick(30) == 0) {
            spoil(names[fuzz_pick(HAL_ARRAY_LEN(names))]);
        }
    }
}
