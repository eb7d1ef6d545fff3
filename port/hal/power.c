// SPDX-License-Identifier: MIT
// Ending and resetting the VM. Owns nothing. Not here: what led to it. Context: any, once.
//
// The exit code leaves by QEMU's isa-debug-exit (port 0xf4) as code + 1, so that QEMU's own status,
// (value << 1) | 1, is 3 for success and never 1, which is QEMU's own failure. One byte is written: isa-debugcon takes
// no more, which hands it to a file where nobody sees QEMU's status (tools/floe/fleet). Where neither is there, the
// VM powers off (ACPI) or resets, and only the console says how it ended. A reset leaves by the same
// door first: floe starts the VM again for HAL_RESET_CODE and HAL_WAKE_CODE, and takes a reset of the machine for the
// crash that it else is. Under Xen all of it is the platform's.
//
// A way out may only be asked for: QEMU from 9.1 on takes the request, lets us run on, and ends with what was asked
// for last. So one code is written once, and after a way that is there nothing is done until it had its time.

#include "../monitor/monitor.h"
#include "internal.h"

enum {
    DEBUG_EXIT_PORT = 0xf4,
    KBD_STATUS_COMMAND = 0x64,
    KBD_PULSE_RESET = 0xfe,
    RESET_CONTROL = 0xcf9,
    RESET_FULL = 0x06,
    ABSENT = 0xffff, // what a port reads as that no device has; isa-debug-exit's reads as 0
    ABSENT_8 = 0xff,
};
#define FLUSH_NS 2000000000ull
#define WAIT_CYCLES (1ull << 34) // of the TSC, which always goes: some seconds, for a host that has other things to do

const hal_platform_t *hal_platform;

// After a way out was taken, whose port reads as this now: wait for the end where there is such a way.
static void await_end(long port) {
    uint64_t start = hal_clock_cycles();
    while ((port & ABSENT) != ABSENT && hal_clock_cycles() - start < WAIT_CYCLES) {
        __asm__ volatile("pause");
    }
}

// Leave with a code, where there is a way that takes one.
static void leave(int code) {
    hal_console_flush(FLUSH_NS);
    if (hal_platform != NULL) {
        hal_platform->end(code);
    }
    hal_out8(DEBUG_EXIT_PORT, (uint8_t)(code + 1));
    await_end(hal_in8(DEBUG_EXIT_PORT) == ABSENT_8 ? ABSENT : 0);
}

// All of these do the same, so that none waits for another.
static _Noreturn void reset_machine(void) {
    hal_out8(KBD_STATUS_COMMAND, KBD_PULSE_RESET);
    hal_out8(RESET_CONTROL, RESET_FULL);
    for (;;) {
        monitor_call(MONITOR_TRIPLE_FAULT, 0, 0, 0);
    }
}

static _Noreturn void reset(int code) {
    leave(code);
    reset_machine();
}

_Noreturn void hal_reset(void) { reset(HAL_RESET_CODE); }

_Noreturn void hal_wake(void) { reset(HAL_WAKE_CODE); }

_Noreturn void hal_exit(int code) {
    leave(code);
    await_end(hal_acpi_off() ? 0 : monitor_call(MONITOR_POWER_OFF, 0, 0, 0));
    reset_machine();
}
