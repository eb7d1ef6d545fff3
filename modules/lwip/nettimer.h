// SPDX-License-Identifier: MIT
// lwIP's periodic work. Owns nothing. Context: main loop (netstack.c).

#ifndef FLOE_NETTIMER_H
#define FLOE_NETTIMER_H

#include <stdint.h>

// Call what is due at now (hal_clock_ns).
void nettimer_run(uint64_t now);
// When nettimer_run must be called next. Also starts and stops the timers that are needed only at times,
// so it is called after every batch of work.
uint64_t nettimer_deadline(uint64_t now);

#endif
