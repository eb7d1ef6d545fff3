// SPDX-License-Identifier: MIT
// The stack as a whole, above all other parts of it. Owns nothing. Context: main loop.

#ifndef FLOE_NETSTACK_H
#define FLOE_NETSTACK_H

// Start the stack: devices, addresses from the boot arguments, the event source. Idempotent. Never waits.
void netstack_start(void);

#endif
