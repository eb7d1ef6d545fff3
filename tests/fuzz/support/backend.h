// SPDX-License-Identifier: MIT
// A Xen backend, as XenStore and granted pages show it: honest states, with values out of the input now and then.

#ifndef FLOE_FUZZ_BACKEND_H
#define FLOE_FUZZ_BACKEND_H

#include "fake_hal.h"
#include "fake_xen.h"
#include "world.h"

typedef struct {
    const char *kind; // "vif", "vbd"
    unsigned number;  // of the device
} backend_t;

// The folders of a device, both INITIALISING, with the backend on its way to CONNECTED with the driver.
void backend_new(const backend_t *b);
void backend_set(const backend_t *b, bool front, const char *name, const char *value);
// The driver's number of this name: a ring, a port; 0 where there is none.
unsigned backend_number(const backend_t *b, const char *name);
// The page behind the driver's ring of this name, NULL where there is none.
uint8_t *backend_ring(const backend_t *b, const char *name);
// Somebody writes any of these names: a value out of the input, in either folder. Or removes it.
void backend_lies(const backend_t *b, const char *const *names, unsigned count);

#endif
