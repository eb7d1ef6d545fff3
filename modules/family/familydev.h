// SPDX-License-Identifier: MIT
// A stream of bytes to whoever runs this VM and those that it has begotten: the contract between a driver and the
// family's frames. Neither knows the other. A driver fills in familydev_ops_t and registers; familylink.c calls the
// verbs. Owns the one device there is. Not here: frames (familylink.h). Context: main loop only; no verb ever waits.

#ifndef FLOE_FAMILYDEV_H
#define FLOE_FAMILYDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct familydev familydev_t;

typedef struct {
    // Send `len` bytes behind a head of `n`, all of it or nothing. False: no room, or not yet; nothing changed.
    bool (*send)(familydev_t *d, const void *head, size_t n, const void *data, size_t len);
    // Copy what has come, at most `size` bytes; 0: nothing.
    size_t (*receive)(familydev_t *d, void *out, size_t size);
    // Do what is pending, the device's own start among it. True: something happened.
    bool (*run)(familydev_t *d);
    // By when run must be called again, as hal_clock_ns(); UINT64_MAX: never.
    uint64_t (*deadline)(const familydev_t *d);
    // About to sleep: arm interrupts. True: there is already work, do not sleep.
    bool (*arm)(familydev_t *d);
    // Something that was sent has yet to leave.
    bool (*busy)(const familydev_t *d);
    // Whether send() would take so many bytes now. False: it will be an event when it would.
    bool (*room)(familydev_t *d, size_t len);
} familydev_ops_t;

struct familydev {
    const familydev_ops_t *ops;
    bool dead; // the device has failed, for good
};

void familydev_register(familydev_t *d);
// NULL: this VM has none.
familydev_t *familydev_get(void);

#endif
