// SPDX-License-Identifier: MIT
// A virtio device that is what the input says, and does what the input says: mostly what an honest one would.

#ifndef FLOE_FUZZ_DEVICE_H
#define FLOE_FUZZ_DEVICE_H

#include "fake_device.h"
#include "fake_hal.h"
#include "virtio.h"

// A device of this type on either transport, with features, configuration and sizes of queues out of the input.
fake_device_t *device_new(uint32_t type);
// One deed of the device on a queue: takes a chain, fills it with bytes of the input and returns it, or lies.
void device_works(fake_device_t *d, unsigned queue);

#endif
