// SPDX-License-Identifier: MIT
// One flag: something changed that a caller of hal_event_wait() may be waiting for. Owns nothing. Not here: who takes
// it (netstack.c). Context: main loop, and inside lwIP.

#ifndef FLOE_NETEVENT_H
#define FLOE_NETEVENT_H

#include <stdbool.h>

// Whoever waits shall return and look.
void netevent_raise(void);
// Whether it was raised since the last call.
bool netevent_take(void);

#endif
