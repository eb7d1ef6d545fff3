// SPDX-License-Identifier: MIT
// Frames over the line (familylink.h): put together, checked, handed on. Owns what of one has come. Not here: what it
// means. Context: main loop.

#include "familylink.h"

#include <string.h>

#include "familydev.h"
#include "hal.h"

enum { HEAD = 12, FRAMES_AT_ONCE = 16 };
#define SEND_NS 10000000000ull // a host that reads nothing for so long

static familydev_t *line;
static bool (*receiver)(const family_frame_t *f);
static bool over; // the service has ended
static bool alone;
static uint8_t in[HEAD + FAMILY_PAYLOAD_MAX]; // a frame, as far as it has come
static uint32_t in_len;

int family_link_fail(const char *why) {
    if (!over) {
        over = true;
        hal_console_log("floe: family: ", 14);
        hal_console_log(why, strlen(why));
        hal_console_log("\n", 1);
    }
    return -EIO;
}

int family_link_state(void) {
    if (line->dead) {
        return family_link_fail("the line is broken");
    }
    return over ? -EIO : 0;
}

static uint32_t word(const uint8_t *p) {
    family_frame_t f = {.payload = p};
    return family_u32(&f, 0);
}

// One frame, or a part of one. False: nothing came.
static bool take(void) {
    uint32_t wanted = in_len < HEAD ? HEAD : HEAD + word(in);
    size_t n = line->ops->receive(line, in + in_len, wanted - in_len);
    in_len += (uint32_t)n;
    if (in_len < HEAD) {
        return n > 0;
    }
    family_frame_t f = {in[4], word(in + 8), word(in), in + HEAD};
    if (f.len > FAMILY_PAYLOAD_MAX || in[5] != 0 || in[6] != 0 || in[7] != 0) {
        family_link_fail("a frame that cannot be came");
        return true;
    }
    if (in_len == HEAD + f.len) {
        in_len = 0;
        if (!receiver(&f)) {
            family_link_fail("a frame that means nothing came");
        }
    }
    return n > 0;
}

// In another place the line begins anew, with a frame's first byte.
static void anew(hal_suspend_t what) { in_len = what == HAL_RESUMED ? 0 : in_len; }
HAL_SUSPEND(anew);

static bool run(void *arg) {
    (void)arg;
    if (over) {
        return false;
    }
    bool any = line->ops->run(line);
    for (unsigned i = 0; i < 2 * FRAMES_AT_ONCE && !over && take(); i++) { // a head, and what is behind it
        any = true;
    }
    return family_link_state() < 0 || any;
}

static uint64_t deadline(void *arg) {
    (void)arg;
    return over ? UINT64_MAX : line->ops->deadline(line);
}

static bool arm(void *arg) {
    (void)arg;
    return !over && line->ops->arm(line);
}

static bool busy(void *arg) {
    (void)arg;
    return !over && line->ops->busy(line);
}

static hal_event_source_t source = {.run = run, .deadline = deadline, .arm = arm, .busy = busy};

int family_link_open(bool (*on_frame)(const family_frame_t *f)) {
    line = familydev_get();
    if (line == NULL) {
        return -ENOSYS;
    }
    receiver = on_frame;
    hal_event_add(&source);
    return family_link_state();
}

static int try_send(uint8_t type, uint32_t channel, const void *payload, uint32_t len) {
    uint8_t head[HEAD] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), 0, type};
    memcpy(head + 8, &channel, sizeof channel); // both sides are little-endian
    hal_assert(len <= FAMILY_PAYLOAD_MAX);
    int r = family_link_state();
    return r < 0 ? r : line->ops->send(line, head, HEAD, payload, len) ? 0 : -EAGAIN;
}

int family_link_send(uint8_t type, uint32_t channel, const void *payload, uint32_t len) {
    uint64_t give_up = hal_clock_ns() + SEND_NS;
    int r;
    while ((r = try_send(type, channel, payload, len)) == -EAGAIN) {
        if (hal_clock_ns() >= give_up) {
            return family_link_fail("the host does not read");
        }
        if (alone) {
            family_link_wait_alone(give_up);
        } else {
            hal_event_wait(give_up);
        }
    }
    return r;
}

bool family_link_has_room(uint32_t len) { return family_link_state() == 0 && line->ops->room(line, len); }

void family_link_alone(bool on) { alone = on; }

void family_link_wait_alone(uint64_t deadline_ns) { hal_event_wait_one(&source, deadline_ns); }
