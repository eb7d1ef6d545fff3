// SPDX-License-Identifier: MIT
// The stack's canary: the compiler puts __stack_chk_guard between a function's arrays and its return address, and
// calls __stack_chk_fail where it has changed (-fstack-protector-strong). Drawn once per boot. Owns the guard, which
// lies on a page that nothing can write once the monitor is locked. Context: ring 3; boot_canary() before that.

#include "../hal/hal.h"
#include "boot.h"

__attribute__((section(".monitor.ro"))) uintptr_t __stack_chk_guard;

_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void) { hal_panic("stack smashed"); }

// No virtio-rng is there yet. Without RDRAND it is what the time stamp counters of start and now have that nobody
// outside knows.
__attribute__((no_stack_protector)) uint64_t boot_random(void) {
    uint64_t word = (boot_entry_tsc ^ hal_clock_cycles() << 32) * 0x9e3779b97f4a7c15ull;
    uint64_t drawn = 0;
    hal_cpu_random(HAL_NOISE_RDRAND, &drawn, 1);
    return word ^ word >> 32 ^ drawn;
}

// Its lowest byte is 0, which ends a string that is copied over it.
__attribute__((no_stack_protector)) void boot_canary(void) { __stack_chk_guard = boot_random() & ~0xffull; }
