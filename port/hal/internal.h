// SPDX-License-Identifier: MIT
// What the files of port/hal owe each other and main.c's start order; nothing for modules.

#ifndef FLOE_HAL_INTERNAL_H
#define FLOE_HAL_INTERNAL_H

#include "hal.h"

void hal_clock_init(void);
// Where the rate is measured: end the measurement, before the LAPIC timer is used for anything else. Main's start
// order calls it last; it takes at most what is missing to 1 ms since hal_clock_init().
void hal_clock_settle(void);
void hal_irq_init(void);
void hal_entropy_init(void);
void hal_uart_init(void);
// Send bytes and wait for each: early boot and panic only.
void hal_uart_write(const char *data, size_t len);
// Bytes the 16550 has received, at most size.
size_t hal_uart_read(char *out, size_t size);

// A panic: from here on no event source is run but the console's.
void hal_event_panic(void);

// Arm the LAPIC timer for an absolute hal_clock_ns(); UINT64_MAX stops it.
void hal_irq_timer(uint64_t deadline_ns);
// Halt until an interrupt; the caller has armed the timer.
void hal_irq_halt(void);
// LAPIC timer ticks per second are read against this while the clock calibrates itself.
uint32_t hal_irq_timer_count(void);
void hal_irq_timer_start(uint32_t count);

// RAM taken from the top: the GC heap's areas. NULL if free RAM would fall below reserve.
void *hal_mem_take(size_t bytes, size_t align, size_t reserve);
// Give back what hal_mem_take gave, all of it. False, and nothing changed, while it does not border on free RAM.
bool hal_mem_return(void *p, size_t bytes);
// The largest piece hal_mem_take can give while leaving reserve bytes to the C heap.
size_t hal_mem_largest(size_t reserve);
// MORECORE of the C allocator: grow or shrink the heap at the bottom of RAM. (void *)-1 when full.
void *hal_mem_sbrk(ptrdiff_t bytes);
size_t hal_mem_sbrk_used(void);

#endif
