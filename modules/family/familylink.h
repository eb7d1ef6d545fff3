// SPDX-License-Identifier: MIT
// Frames between this VM and whoever runs its family, over the family's line: u32 length of the payload, u8 type, u8 0,
// u16 0, u32 channel, payload; little-endian. One that breaks this ends the service, with one line on the console.
// Owns: what of a frame has come. Not here: what frames mean (family.c, familypipe.c). Context: main loop.

#ifndef FLOE_FAMILYLINK_H
#define FLOE_FAMILYLINK_H

#include <stdbool.h>
#include <stdint.h>

enum { FAMILY_PAYLOAD_MAX = 16384 };

enum { // tools/floe/family/frames.py
    FAMILY_HELLO = 1,
    FAMILY_FORK,
    FAMILY_PREPARED,
    FAMILY_FROZEN,
    FAMILY_RESULT,
    FAMILY_ENDED,
    FAMILY_KILL,
    FAMILY_KILLED,
    FAMILY_SIGNAL,
    FAMILY_PIPE,
    FAMILY_WRITE,
    FAMILY_TAKEN,
    FAMILY_READ,
    FAMILY_DATA,
    FAMILY_WANT,
    FAMILY_READABLE,
    FAMILY_CLOSE,
    FAMILY_STATE,
    FAMILY_SNAPSHOT = 24,
    FAMILY_TEMPLATE,
    FAMILY_HOLD,
    FAMILY_GO,
};

typedef struct {
    uint8_t type;
    uint32_t channel;
    uint32_t len;
    const uint8_t *payload; // until the next frame comes
} family_frame_t;

// Have each frame that comes given to `on_frame`, which may not send. False: there can be no such frame. Once. -ENOSYS:
// this VM has no line.
int family_link_open(bool (*on_frame)(const family_frame_t *f));
// 0, or -EIO once the service has ended.
int family_link_state(void);
// Wait for room, some seconds at most; a host that reads nothing for so long ends the service.
int family_link_send(uint8_t type, uint32_t channel, const void *payload, uint32_t len);
// Whether family_link_send() would take frames with so many bytes, heads included, without waiting. For who may not
// wait; False: it will be an event when it would.
bool family_link_has_room(uint32_t len);
// One sleep at most, in which nothing but this line is looked after.
void family_link_wait_alone(uint64_t deadline_ns);
// From now on family_link_send() waits in this way, too.
void family_link_alone(bool alone);
// End the service: one line on the console. Returns -EIO.
int family_link_fail(const char *why);

// The n-th 32-bit number of a payload.
static inline uint32_t family_u32(const family_frame_t *f, unsigned n) {
    const uint8_t *p = f->payload + 4 * n;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

#endif
