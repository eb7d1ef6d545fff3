// SPDX-License-Identifier: MIT
// Random meetings of netfront with a backend that goes through its states as Linux' netback does (6.1), a step of which
// may come between any two requests of the driver. It looks at the driver's state, and goes to the one that answers it,
// through all that stand between. Once it has connected it tells none of its states before the script has run that
// joins it to a bridge. An administrator writes CLOSING over its state, or unbinds it and binds it again: it then
// begins with whatever rings the driver's folder names.
// Checked: however the steps fell, in the end both are connected, by the rings that the folder names.

#include <stdio.h>
#include <stdlib.h>

#include "fake_hal.h"
#include "fake_xen.h"
#include "fuzz.h"
#include "netdev.h"
#include "xenbus.h"

int fuzz_netback(unsigned long seed, unsigned long count);

extern const hal_driver_t xen_netfront_driver;

#define FRONT "device/vif/0"
#define BACK "/local/domain/0/backend/vif/1/0"
#define CHECK(e) FUZZ_CHECK(e)
enum { ROUNDS = 12, STEPS = 60, SETTLED = 200, TURNS = 3 };

static struct {
    unsigned state, wanted; // they differ: it is on its way
    bool script;            // has run
    bool silent;            // its states are not told: the script is waited for
    xen_grant_t tx, rx;     // mapped; 0: it has none
} back;

static unsigned number(const char *path) {
    const char *v = fake_xs_get(path);
    return v == NULL ? 0 : (unsigned)strtoul(v, NULL, 10);
}

static void write_state(unsigned state) {
    char text[12];
    snprintf(text, sizeof(text), "%u", state);
    fake_xs_set(BACK "/state", text);
}

static void go(unsigned state) {
    back.state = state;
    if (!back.silent) {
        write_state(state);
    }
}

static void disconnect(void) {
    if (back.tx != 0) {
        fake_grant_hold(back.tx, false);
        fake_grant_hold(back.rx, false);
        back.tx = back.rx = 0;
    }
}

static void connect(void) {
    xen_grant_t tx = number(FRONT "/tx-ring-ref"), rx = number(FRONT "/rx-ring-ref");
    unsigned port = number(FRONT "/event-channel");
    if (fake_grant_page(tx, 0, true) == NULL || fake_grant_page(rx, 0, true) == NULL || !fake_xen.port[port].used) {
        write_state(XENBUS_CLOSING); // and it goes on as if nothing were
        return;
    }
    fake_grant_hold(back.tx = tx, true);
    fake_grant_hold(back.rx = rx, true);
    back.silent = true;
}

// What it goes to, where the driver is in that state.
static unsigned answer(unsigned front) {
    return front == XENBUS_INITIALISING ? XENBUS_INIT_WAIT : front >= XENBUS_CONNECTED ? front : back.state;
}

static void look(void) {
    if (back.silent && back.script && fuzz_pick(2)) {
        back.silent = false;
        write_state(back.state);
    } else {
        back.wanted = answer(number(FRONT "/state"));
    }
}

static void back_step(void) {
    if (back.state == back.wanted) {
        look();
        return;
    }
    switch (back.state) {
        case XENBUS_INIT_WAIT:
            if (back.wanted == XENBUS_CONNECTED) {
                connect();
                go(XENBUS_CONNECTED);
            } else {
                go(XENBUS_CLOSING);
            }
            break;
        case XENBUS_CONNECTED:
            disconnect();
            go(XENBUS_CLOSING);
            break;
        case XENBUS_CLOSING:
            go(XENBUS_CLOSED);
            break;
        default:
            go(back.wanted == XENBUS_CLOSING ? XENBUS_CLOSING : XENBUS_INIT_WAIT);
    }
}

// Others' turn, before a request of the driver.
static void between(void) {
    for (unsigned n = fuzz_pick(2) ? fuzz_pick(12) : 0; n > 0; n--) {
        back_step();
    }
}

static void bind_again(void) {
    disconnect();
    back.script = back.silent = false;
    back.state = back.wanted = XENBUS_INIT_WAIT;
    write_state(XENBUS_INIT_WAIT);
}

static void settle(void) {
    back.script = true;
    for (int i = 0; i < SETTLED; i++) {
        back_step();
        hal_event_run();
    }
    netdev_t *nic = netdev_get(0);
    bool same = back.tx == number(FRONT "/tx-ring-ref") && back.rx == number(FRONT "/rx-ring-ref");
    if (!nic->ops->link_up(nic) || number(BACK "/state") != XENBUS_CONNECTED || !same) {
        printf("front %u, back %u, told as %u, rings %s\n", number(FRONT "/state"), back.state, number(BACK "/state"),
               same ? "the same" : "others");
        CHECK(!"both are connected");
    }
}

static void netback_life(void) {
    const char *const values[][2] = {
        {FRONT "/backend", BACK}, {FRONT "/backend-id", "0"},
        {FRONT "/state", "1"},    {FRONT "/mac", "00:16:3e:00:00:01"},
        {BACK "/online", "1"},    {BACK "/state", "2"},
    };
    for (unsigned i = 0; i < HAL_ARRAY_LEN(values); i++) {
        fake_xs_set(values[i][0], values[i][1]);
    }
    back.state = back.wanted = XENBUS_INIT_WAIT;
    CHECK(xen_netfront_driver.probe() == 1);
    settle();
    fake_xs_between = between;
    for (int round = 0; round < ROUNDS; round++) {
        if (fuzz_pick(2)) {
            bind_again();
        } else {
            write_state(XENBUS_CLOSING);
        }
        for (unsigned step = fuzz_pick(STEPS); step > 0; step--) {
            back.script |= fuzz_pick(8) == 0;
            fuzz_pick(TURNS) == 0 ? (void)hal_event_run() : back_step();
        }
        settle();
    }
}

int fuzz_netback(unsigned long seed, unsigned long count) { return fuzz_lives(netback_life, seed, count); }
