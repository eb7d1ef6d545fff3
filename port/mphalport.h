// SPDX-License-Identifier: MIT
// MicroPython's HAL names, each one line over hal.h. See mphalport.c.

#ifndef FLOE_MPHALPORT_H
#define FLOE_MPHALPORT_H

#include "hal/hal.h"
#include "shared/runtime/interrupt_char.h"

static inline mp_uint_t mp_hal_ticks_ms(void) { return hal_clock_ns() / 1000000; }
static inline mp_uint_t mp_hal_ticks_us(void) { return hal_clock_ns() / 1000; }
static inline mp_uint_t mp_hal_ticks_cpu(void) { return hal_clock_cycles(); }
static inline uint64_t mp_hal_time_ns(void) { return hal_clock_wall_ns(); }
#define mp_hal_ticks_ms mp_hal_ticks_ms
#define mp_hal_ticks_us mp_hal_ticks_us
#define mp_hal_ticks_cpu mp_hal_ticks_cpu
#define mp_hal_time_ns mp_hal_time_ns

// Whether "\n" leaves as "\r\n": on while a REPL has the console, off for a script's output.
extern bool mp_hal_stdout_cooked;
// What input() reads a line with (input.c).
struct _vstr_t;
int floe_readline(struct _vstr_t *line, const char *prompt);
#define mp_hal_readline floe_readline

#endif
