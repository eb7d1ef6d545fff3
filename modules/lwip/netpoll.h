// SPDX-License-Identifier: MIT
// When the network runs. Owns nothing. Context: main loop.

#ifndef FLOE_NETPOLL_H
#define FLOE_NETPOLL_H

// Start the stack: devices, addresses from the boot arguments, the event source. Further calls do nothing.
// Never waits.
void netpoll_start(void);
// Something changed that a caller of hal_event_wait() may be waiting for: it shall return and look.
void netpoll_ready(void);

#endif
