// SPDX-License-Identifier: MIT
// The flag that ends a wait, below all that may raise it. Owns the flag. Not here: when it is looked at (netstack.c).
// Context: main loop, and inside lwIP.

#include "netevent.h"

static bool raised;

void netevent_raise(void) { raised = true; }

bool netevent_take(void) {
    bool was = raised;
    raised = false;
    return was;
}
