// SPDX-License-Identifier: MIT
// The 16550 at 0x3f8 (National PC16550D), polled: early boot, panics, and the console of a VM that has no
// better one. Owns the port. Not here: buffering (console.c). Context: ring 3, any, also inside a panic.

#include "internal.h"

enum {
    UART = 0x3f8,
    UART_LSR = 5,
    LSR_DATA = 1,
    LSR_THR_EMPTY = 0x20,
};
#define WAIT_CYCLES (1ull << 32) // of the TSC, a second or two; then the byte is dropped: a panic must end

static bool present;
static bool stuck; // it did not take a byte in all that time: no more waiting

void hal_uart_init(void) { present = hal_in8(UART + UART_LSR) != 0xff; }

void hal_uart_write(const char *data, size_t len) {
    if (hal_platform != NULL) {
        hal_platform->write(data, len);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        uint64_t start = hal_clock_cycles();
        while (!(hal_in8(UART + UART_LSR) & LSR_THR_EMPTY) && !stuck) {
            stuck = hal_clock_cycles() - start > WAIT_CYCLES;
        }
        hal_out8(UART, (uint8_t)data[i]);
    }
}

size_t hal_uart_read(char *out, size_t size) {
    size_t n = 0;
    while (present && n < size && (hal_in8(UART + UART_LSR) & LSR_DATA)) {
        out[n++] = (char)hal_in8(UART);
    }
    return n;
}
