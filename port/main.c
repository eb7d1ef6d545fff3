// SPDX-License-Identifier: MIT
// Start order, and nothing else. Entered from boot_start() in ring 3 on the final page tables. Owns the order.
// Not here: what each step does. Context: once.

#include "app.h"
#include "boot/boot.h"
#include "hal/internal.h"
#include "monitor/monitor.h"
#include "port.h"
#include "py/cstack.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "xen/xen.h"

enum { EMERGENCY_BYTES = 256 };     // of an exception's text once no memory is left; a script may ask for more
#define EXIT_DRAIN_NS 2000000000ull // for what closed sockets have still to send

int main(void);

// The stack of whoever faulted; of the halt, where an NMI came meanwhile and found the monitor.
static void panic_frames(void) {
    uintptr_t sp = monitor_fault.cs == MONITOR_CODE0 ? hal_irq_halted : monitor_fault.rsp;
    floe_print_frames(sp != 0 ? sp : (uintptr_t)__builtin_frame_address(0));
}

static void start_machine(void) {
    xen_start();
    hal_uart_init();
    hal_irq_init();
    hal_clock_init();
    xen_run();
    hal_entropy_init();
    hal_button_init();
    floe_stamp("machine");
    int found = 0;
    for (const hal_driver_t *const *d = floe_app.drivers; *d != NULL; d++) {
        found |= (*d)->probe();
    }
    if (found == 0 && hal_platform == NULL) {
        hal_microvm_explain();
    }
    floe_stamp("drivers");
}

static void start_python(void) {
    mp_cstack_init_with_top(boot_stack_top, (size_t)(boot_stack_top - boot_stack_bottom));
    floe_heap_init();
    mp_init();
    mp_alloc_emergency_exception_buf(MP_OBJ_NEW_SMALL_INT(EMERGENCY_BYTES));
    floe_bootargs_init();
    hal_panic_hook = panic_frames;
    hal_clock_settle();
    floe_stamp("python");
    floe_stamps_print();
}

void floe_end(int code) {
    gc_sweep_all();
    hal_event_drain(EXIT_DRAIN_NS);
    mp_deinit();
    hal_exit(code);
}

int main(void) {
    start_machine();
    start_python();
    if (floe_app.repl != NULL) {
        floe_app.repl();
    }
    int code = floe_run_frozen("boot.py");
    if (code == 0) {
        code = floe_run_frozen(floe_app.main_module);
    }
    floe_end(code);
}

void nlr_jump_fail(void *val) { hal_panic("exception outside of Python, %p", val); }
