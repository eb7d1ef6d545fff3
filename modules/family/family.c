// SPDX-License-Identifier: MIT
// fork(), children and signals (family.h): what the host says, and the waits for it. Owns who this VM is, and the list
// of its children. Not here: bytes of frames (familylink.c). Context: main loop.

#include "family.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"

enum { VERSION = 1, CHILDREN_MAX = 1024 };
enum { CTRL_C = 3 };
#define ANSWER_NS 10000000000ull
#define FORK_NS 240000000000ull  // longer than any host takes (Hypervisor.copy_s)
#define LEAVE_NS 10000000ull     // for frames of the network to leave before a fork
#define CONSOLE_NS 1000000000ull // and for what was printed
#define STILL_NS 1000000000ull   // and for frames that wait in a device, which would be its copy's, too
#define LOOK_NS 100000ull
#define STEP_NS 1000000000ull // the most that counts of the time between two looks, where the clock may be another one

typedef enum { FORK_NONE, FORK_ASKED, FORK_PREPARED, FORK_DONE } stage_t;

typedef struct child {
    struct child *next;
    int32_t pid, status;
    bool ended;
} child_t;

static bool opened, greeted;
static int32_t pid, ppid;
static child_t *children; // the latest first
static unsigned child_count;
static child_t *unborn; // of the fork under way; NULL: there is none
static stage_t stage;
static int32_t result;
static int identity_read;
static hal_identity_t identity;
static bool asks; // a KILL is out
static int32_t killed;
static bool template;
static bool held;            // it waits for somebody who wants it
static bool (*wanted)(void); // what is called for a snapshot
static bool unserved;

static int32_t number(const family_frame_t *f, unsigned n) { return (int32_t)family_u32(f, n); }

static child_t *find(int32_t which) {
    child_t *c = children;
    while (c != NULL && c->pid != which) {
        c = c->next;
    }
    return c;
}

static child_t *add(int32_t which) {
    child_t *c = child_count < CHILDREN_MAX ? calloc(1, sizeof *c) : NULL;
    if (c != NULL) {
        *c = (child_t){children, which, 0, false};
        children = c;
        child_count++;
    }
    return c;
}

static void forget(child_t *c) {
    child_t **place = &children;
    while (*place != c) {
        place = &(*place)->next;
    }
    *place = c->next;
    free(c);
    child_count--;
}

// ---- frames -------------------------------------------------------------------------------------------

static bool hear_hello(const family_frame_t *f) {
    if (f->len != 16 || greeted || family_u32(f, 0) != VERSION || number(f, 1) <= 0) {
        return false;
    }
    greeted = true;
    pid = number(f, 1);
    ppid = number(f, 2);
    return true;
}

// Of an unserved VM who is late does no harm: by then the VM goes on.
static bool hear_prepared(const family_frame_t *f) {
    if (stage != FORK_ASKED) {
        return unserved && f->len == 0;
    }
    stage = FORK_PREPARED;
    return f->len == 0;
}

static bool hear_result(const family_frame_t *f) {
    if (f->len < 4) {
        return false;
    }
    if (stage == FORK_NONE || stage == FORK_DONE) {
        return unserved;
    }
    result = number(f, 0);
    if (result >= 0 && stage != FORK_PREPARED) {
        return false;
    }
    stage = FORK_DONE;
    if (unborn != NULL) {
        unborn->pid = result; // before the next frame, which may tell of its end
    }
    identity_read = result == 0 ? hal_copied_read(&identity, (const char *)f->payload + 4, f->len - 4) : 0;
    return true;
}

// An orphan becomes a child of the family's first VM, which hears of it at its end.
static bool hear_ended(const family_frame_t *f) {
    if (f->len != 8) {
        return false;
    }
    child_t *c = find(number(f, 0));
    c = c != NULL ? c : add(number(f, 0));
    if (c != NULL) {
        c->status = number(f, 1);
        c->ended = true;
    }
    return true;
}

static bool hear_signal(const family_frame_t *f) {
    static const char interrupt = CTRL_C;
    if (f->len != 4) {
        return false;
    }
    if (number(f, 0) == FAMILY_SIGTERM) {
        hal_stop_ask();
    } else if (number(f, 0) == FAMILY_SIGINT) {
        hal_console_input(&interrupt, 1);
    }
    return true;
}

// A snapshot's state may be asked for by whoever owns the VM, at any time.
static bool hear_snapshot(const family_frame_t *f) {
    int32_t not_now = -EAGAIN;
    if (f->len == 0 && wanted != NULL && !wanted() && family_link_has_room(sizeof not_now)) {
        family_link_send(FAMILY_SNAPSHOT, 0, &not_now, sizeof not_now); // does not wait, as there is room
    }
    return f->len == 0;
}

static bool hear_go(const family_frame_t *f) {
    bool was = held;
    held = false;
    return was && f->len == 0;
}

static bool on_frame(const family_frame_t *f) {
    switch (f->type) {
        case FAMILY_HELLO:
            return hear_hello(f);
        case FAMILY_PREPARED:
            return hear_prepared(f);
        case FAMILY_RESULT:
            return hear_result(f);
        case FAMILY_ENDED:
            return hear_ended(f);
        case FAMILY_KILLED:
            killed = f->len == 4 ? number(f, 0) : 0;
            asks = !asks;
            return f->len == 4 && !asks;
        case FAMILY_SIGNAL:
            return hear_signal(f);
        case FAMILY_SNAPSHOT:
            return hear_snapshot(f);
        case FAMILY_TEMPLATE:
            template = true;
            return f->len == 0;
        case FAMILY_HOLD:
            held = stage == FORK_PREPARED;
            return held && f->len == 0;
        case FAMILY_GO:
            return hear_go(f);
        case FAMILY_TAKEN:
        case FAMILY_DATA:
        case FAMILY_READABLE:
        case FAMILY_STATE:
            return family_pipe_frame(f);
        default:
            return false;
    }
}

// ---- verbs --------------------------------------------------------------------------------------------

int32_t family_pid(void) { return pid; }

int32_t family_ppid(void) { return ppid; }

bool family_is_template(void) { return template; }

static int say_hello(void) {
    uint32_t version = VERSION;
    int r = opened ? family_link_state() : family_link_open(on_frame);
    if (r < 0 || opened) {
        return r;
    }
    opened = true;
    return family_link_send(FAMILY_HELLO, 0, &version, sizeof version);
}

int family_begin(bool (*ask)(void), bool is_unserved) {
    wanted = ask;
    unserved = is_unserved;
    return say_hello();
}

int family_open(void) {
    uint64_t give_up = hal_clock_ns() + ANSWER_NS;
    int r = unserved ? -ENOSYS : say_hello();
    while (r == 0 && !greeted) {
        if (hal_clock_ns() >= give_up) {
            return family_link_fail("the host says nothing");
        }
        hal_event_wait(give_up);
        r = family_link_state();
    }
    return r;
}

// Of those that are meant the one that has ended and is longest there.
static child_t *find_ended(int32_t which, bool *any) {
    child_t *found = NULL;
    *any = false;
    for (child_t *c = children; c != NULL; c = c->next) {
        if (which == -1 || c->pid == which) {
            *any = true;
            found = c->ended ? c : found;
        }
    }
    return found;
}

bool family_has_ended(int32_t which) {
    bool any;
    return find_ended(which, &any) != NULL || !any || family_link_state() < 0;
}

int32_t family_ended(int32_t which, int32_t *status) {
    bool any;
    child_t *found = find_ended(which, &any);
    if (found == NULL) {
        return any ? 0 : -ECHILD;
    }
    int32_t ended = found->pid;
    *status = found->status;
    forget(found);
    return ended;
}

int family_kill(int32_t which, int32_t signal) {
    int32_t words[] = {which, signal};
    uint64_t give_up = hal_clock_ns() + ANSWER_NS;
    int r = family_link_send(FAMILY_KILL, 0, words, sizeof words);
    asks = r == 0;
    while (r == 0 && asks) {
        if (hal_clock_ns() >= give_up) {
            return family_link_fail("the host says nothing");
        }
        hal_event_wait(give_up);
        r = family_link_state();
    }
    return r < 0 ? r : killed;
}

static int time_out(void) {
    if (!unserved) { // else who wanted it has left, and another may come
        family_link_fail("a fork that did not end");
    }
    return -ETIMEDOUT;
}

// Until the next stage of the fork is reached, in the VM and in its copy.
static int await_after(stage_t now, uint64_t give_up) {
    int r = 0;
    while (r == 0 && stage == now) {
        if (hal_clock_ns() >= give_up) {
            return time_out();
        }
        family_link_wait_alone(give_up);
        r = family_link_state();
    }
    return r;
}

// Until the state was kept, in the VM and in copies of it, which may be made much later, by other clocks: time in which
// the VM stands still is not counted, nor is what lies between two clocks.
static int await_kept(void) {
    uint64_t left = FORK_NS, seen = hal_clock_ns();
    int r = 0;
    while (r == 0 && stage == FORK_PREPARED) {
        if (left == 0) {
            return time_out();
        }
        family_link_wait_alone(seen + STEP_NS);
        uint64_t now = hal_clock_ns(), passed = now - seen; // of a clock that is behind: very much
        passed = passed < STEP_NS ? passed : STEP_NS;
        left -= passed < left ? passed : left;
        seen = now;
        r = family_link_state();
    }
    return r;
}

// Nothing is given to devices meanwhile.
static int be_still(void) {
    uint64_t now = hal_clock_ns(), give_up = now + STILL_NS;
    for (; !hal_event_still(); now = hal_clock_ns()) {
        if (now >= give_up) {
            return -EAGAIN;
        }
        family_link_wait_alone(now + LOOK_NS);
    }
    return 0;
}

// keeps: for copies that may be made much later.
static int ask_for_copy(const char *place, uint32_t len, bool keeps) {
    int r = be_still();
    uint64_t give_up = hal_clock_ns() + (unserved ? ANSWER_NS : FORK_NS);
    if (r < 0) {
        return r;
    }
    stage = FORK_ASKED;
    held = false;
    r = family_link_send(FAMILY_FORK, 0, place, len);
    r = r < 0 ? r : await_after(FORK_ASKED, give_up);
    if (r == 0 && stage == FORK_PREPARED) {
        r = family_link_send(FAMILY_FROZEN, 0, NULL, 0);
        r = r < 0 ? r : keeps ? await_kept() : await_after(FORK_PREPARED, give_up);
    }
    return r < 0 ? r : result;
}

static void be_the_copy(bool kept) {
    if (identity_read < 0) {
        hal_panic("a copy that was not told who it is");
    }
    pid = identity.pid;
    ppid = identity.ppid;
    template = false;
    while (children != NULL) {
        forget(children);
    }
    hal_copied_became(&identity);
    family_pipe_copied(kept);
}

// By now it is a machine that only has to go on, and its network is known to others.
static void wait_to_be_wanted(void) {
    int r = family_link_send(FAMILY_HOLD, 0, NULL, 0);
    while (held) {
        if (r < 0 || family_link_state() < 0) {
            hal_panic("a copy that nobody can claim");
        }
        hal_event_wait(UINT64_MAX);
    }
    (void)family_link_send(FAMILY_GO, 0, NULL, 0); // else the claim fails, and this VM is ended
}

static void flush(void) {
    hal_event_drain(LEAVE_NS);
    hal_console_flush(CONSOLE_NS);
}

int32_t family_fork(const char *place, uint32_t len) {
    if (len > FAMILY_PAYLOAD_MAX) {
        return -EINVAL;
    }
    flush();
    unborn = add(0); // there is room for it, before it is there
    if (unborn == NULL) {
        return -EAGAIN;
    }
    family_link_alone(true);
    int32_t r = ask_for_copy(place, len, false);
    stage = FORK_NONE;
    if (r == 0) {
        be_the_copy(false);
    } else if (r < 0) {
        forget(unborn);
    }
    unborn = NULL;
    family_link_alone(false);
    return r;
}

int32_t family_snapshot(void) {
    static const char mark[1]; // no place begins with NUL
    int32_t r = say_hello();
    if (r < 0) {
        return r;
    }
    flush();
    family_link_alone(true);
    uint64_t now = hal_clock_ns();
    r = ask_for_copy(mark, sizeof mark, true);
    bool unasked = r < 0 && stage == FORK_NONE;
    stage = FORK_NONE;
    if (r == 0) {
        hal_clock_resume(now);
        be_the_copy(true);
    }
    family_link_alone(false);
    if (unasked) {
        family_refuse(r);
    }
    if (r == 0 && held) {
        wait_to_be_wanted();
    }
    return r;
}

int family_refuse(int error) {
    int32_t number = error;
    return family_link_send(FAMILY_SNAPSHOT, 0, &number, sizeof number);
}
