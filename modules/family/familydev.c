// SPDX-License-Identifier: MIT
// The one device that carries the family's frames. Owns which it is. Context: main loop.

#include "familydev.h"

static familydev_t *device;

void familydev_register(familydev_t *d) { device = d; }

familydev_t *familydev_get(void) { return device; }
