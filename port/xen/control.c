// SPDX-License-Identifier: MIT
// What the host asks of the VM (Xen docs/misc/xenstore-paths.pandoc, control/*): its end, a new start, or to stand
// still (suspend.c). At the start also the host's seed, where the processor gives no randomness. Owns the watch. Not
// here: how a script is asked for its end (hal/stop.c). Context: main loop.
//
// Nothing of this is worth a delay of the script's first words or of a server's first answer:
// the store is asked 200 ms later.

#include <stdio.h>
#include <string.h>

#include "shared.h"

enum { SEED_BYTES = 32, REQUEST_MAX = 16, TRIES_MAX = 10, STARTS_MAX = 10 };
#define START_NS 200000000ull
#define RESTART_NS 5000000000ull // the store could not, or did not answer
#define SHUTDOWN "control/shutdown"

bool xen_control_reboot;

static uint64_t start_by;
static bool started;

// Read the request and empty it, which is the answer. 0 or -errno.
static int take_request(char request[REQUEST_MAX]) {
    int err = -EAGAIN;
    for (unsigned i = 0; i < TRIES_MAX && err == -EAGAIN; i++) {
        xen_tx_t tx;
        err = xen_store_begin(&tx);
        if (err != 0) {
            break;
        }
        int len = xen_store_read(tx, SHUTDOWN, request, REQUEST_MAX);
        bool known = len > 0 && (strcmp(request, "poweroff") == 0 || strcmp(request, "halt") == 0 ||
                                 strcmp(request, "reboot") == 0 || strcmp(request, "suspend") == 0);
        err = known ? xen_store_write(tx, SHUTDOWN, "") : -ENOENT;
        int ended = xen_store_end(tx, err == 0);
        err = err == 0 ? ended : len < 0 ? len : err;
    }
    return err;
}

// 64 hexadecimal digits that the host wrote.
static void take_seed(void) {
    char text[2 * SEED_BYTES + 2];
    uint8_t seed[SEED_BYTES];
    if (xen_store_read(0, "floe/seed", text, sizeof(text)) != 2 * SEED_BYTES) {
        return;
    }
    for (unsigned i = 0; i < SEED_BYTES; i++) {
        int high = xen_hex(text[2 * i]), low = xen_hex(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return;
        }
        seed[i] = (uint8_t)(high << 4 | low);
    }
    hal_entropy_add(seed, sizeof(seed));
}

static void announce(void) {
    (void)xen_store_write(0, "control/feature-poweroff", "1");
    (void)xen_store_write(0, "control/feature-reboot", "1");
    (void)xen_store_write(0, "control/feature-suspend", "1");
}

static void shutdown_asked(void *arg) {
    (void)arg;
    char request[REQUEST_MAX] = "";
    int err = take_request(request);
    if (err != 0) {
        if (request[0] != '\0') {
            char line[80];
            int n = snprintf(line, sizeof(line), "xen: the host asks for '%s': not done (%d)\n", request, err);
            hal_console_log(line, (size_t)n);
        }
        return;
    }
    if (strcmp(request, "suspend") == 0) {
        if (xen_suspend(take_seed)) { // what is drawn anew is drawn with it
            announce();
        }
        return;
    }
    xen_control_reboot = strcmp(request, "reboot") == 0;
    hal_stop_ask();
}

static void start(void) {
    static xen_watch_t watch = {.path = SHUTDOWN, .fired = shutdown_asked, .basic = true};
    static unsigned tries;
    static bool heard;
    announce();
    heard = heard || xen_store_watch(&watch) == 0;
    started = ++tries == STARTS_MAX;
    if (heard || started) {
        started |= xen_balloon_watch() == 0;
    }
    start_by = hal_clock_ns() + RESTART_NS;
}

static bool control_run(void *arg) {
    (void)arg;
    if (!started && hal_clock_ns() >= start_by) {
        start();
    }
    return false;
}

static uint64_t control_deadline(void *arg) {
    (void)arg;
    return started ? UINT64_MAX : start_by;
}

static hal_event_source_t source = {.run = control_run, .deadline = control_deadline, .basic = true};

static int control_probe(void) {
    uint8_t any;
    if (!xen_present()) {
        return 0;
    }
    if (!hal_entropy_get(&any, sizeof(any))) {
        take_seed();
    }
    start_by = hal_clock_ns() + START_NS;
    hal_event_add(&source);
    return 1;
}

const hal_driver_t xen_control_driver = {"xen-control", control_probe};
