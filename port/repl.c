// SPDX-License-Identifier: MIT
// The REPL of a dev image: upstream's friendly and raw REPL on the console, soft reset on Ctrl-D. Owns nothing.
// Only in the dev archive. Context: main loop, after the script has ended.

#include "port.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/runtime/pyexec.h"

void floe_repl(void) {
    mp_hal_stdout_cooked = true;
    for (;;) {
        int ended = pyexec_mode_kind == PYEXEC_MODE_RAW_REPL ? pyexec_raw_repl() : pyexec_friendly_repl();
        if (ended != 0) {
            mp_printf(&mp_plat_print, "MPY: soft reboot\n");
            gc_sweep_all();
            mp_deinit();
            floe_heap_init();
            mp_init();
            floe_bootargs_init();
        }
    }
}
