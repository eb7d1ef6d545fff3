// SPDX-License-Identifier: MIT
// The VM is stopped and goes on: all parts are told. Owns nothing: the list is the linker's. Not here: how it is
// stopped (port/xen/suspend.c), what each part does. Context: main loop.

#include "hal.h"

extern const hal_suspend_hook_t __start_hal_suspend[], __stop_hal_suspend[];

void hal_suspend_tell(hal_suspend_t what) {
    for (const hal_suspend_hook_t *hook = __start_hal_suspend; hook < __stop_hal_suspend; hook++) {
        (*hook)(what);
    }
}
