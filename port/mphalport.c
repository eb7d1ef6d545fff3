// SPDX-License-Identifier: MIT
// MicroPython's HAL over hal.h. Owns nothing but the cooked flag. Not here: the console's buffers. Context: main loop.

#include "dev/dev.h"
#include "py/mphal.h"

#include <string.h>

#include "port.h"
#include "py/runtime.h"
#include "py/stream.h"

#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull
enum { SPIN_US = 100 }; // shorter waits than this are not worth an interrupt

bool mp_hal_stdout_cooked;

void mp_hal_wait_ms(int timeout_ms) {
    hal_event_wait(timeout_ms < 0 ? UINT64_MAX : hal_clock_ns() + (uint64_t)timeout_ms * NS_PER_MS);
}

static void delay_until(uint64_t end) {
    for (;;) {
        mp_handle_pending(true);
        if (hal_clock_ns() >= end) {
            return;
        }
        hal_event_wait(end);
    }
}

// So many units from now; no time beyond the end of the clock.
static uint64_t after(uint64_t n, uint64_t unit_ns) {
    uint64_t now = hal_clock_ns();
    return n < (UINT64_MAX - now) / unit_ns ? now + n * unit_ns : UINT64_MAX;
}

void mp_hal_delay_ms(mp_uint_t ms) { delay_until(after(ms, NS_PER_MS)); }

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t end = after(us, NS_PER_US);
    if (us >= SPIN_US) {
        delay_until(end);
    }
    while (hal_clock_ns() < end) {
    }
}

static bool keyboard_interrupt(void) {
    if (floe_input_withheld()) {
        return false; // it is for the REPL beside the script
    }
    if (floe_repl_runs()) {
        mp_sched_keyboard_interrupt(); // it is for what was typed there, and the script's loop is not asked
    } else {
        floe_interrupt();
    }
    return true;
}

void mp_hal_set_interrupt_char(int c) {
    hal_console_interrupt_char = c;
    hal_console_on_interrupt = keyboard_interrupt;
}

// A character of os.dupterm's; without one wait for whatever happens next, and return -1.
static int other_input(void) {
    if (FLOE_DEV && floe_dupterm_active()) {
        return floe_dupterm_read();
    }
    mp_event_wait_indefinite();
    return -1;
}

int mp_hal_stdin_rx_chr(void) {
    for (;;) {
        unsigned char c;
        if (!floe_input_withheld() && hal_console_read(&c, 1) == 1) {
            return c;
        }
        int other = other_input();
        if (other >= 0) {
            return other;
        }
    }
}

uintptr_t mp_hal_stdio_poll(uintptr_t flags) {
    uintptr_t ready = flags & MP_STREAM_POLL_WR;
    if ((flags & MP_STREAM_POLL_RD) && !floe_input_withheld() && hal_console_readable()) {
        ready |= MP_STREAM_POLL_RD;
    }
    return FLOE_DEV ? ready | floe_dupterm_ready(flags) : ready;
}

mp_uint_t mp_hal_stdout_tx_strn(const char *str, size_t len) {
    if (!floe_output_held(str, len)) {
        hal_console_write(str, len);
    }
    if (FLOE_DEV && floe_dupterm_active()) {
        floe_dupterm_copy(str, len);
    }
    return len;
}

void mp_hal_stdout_tx_str(const char *str) { mp_hal_stdout_tx_strn(str, strlen(str)); }

void mp_hal_stdout_tx_strn_cooked(const char *str, size_t len) {
    while (mp_hal_stdout_cooked && len > 0) {
        const char *nl = memchr(str, '\n', len);
        size_t n = nl != NULL ? (size_t)(nl - str) : len;
        mp_hal_stdout_tx_strn(str, n);
        if (nl == NULL) {
            return;
        }
        mp_hal_stdout_tx_strn("\r\n", 2);
        str += n + 1;
        len -= n + 1;
    }
    mp_hal_stdout_tx_strn(str, len);
}
