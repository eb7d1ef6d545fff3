// SPDX-License-Identifier: MIT
// The hypervisor asks for the VM's end: the keys that ask the script are typed at the console, and 5 s later the VM
// ends without being asked. Owns that deadline. Not here: how the wish arrives, how a script ends. Context: main loop.

#include <string.h>

#include "internal.h"

#define GRACE_NS 5000000000ull

static uint64_t end_by;

static bool stop_run(void *arg) {
    (void)arg;
    if (hal_clock_ns() >= end_by) {
        hal_exit(1); // as of a script that KeyboardInterrupt has ended: it was not done
    }
    return false;
}

static uint64_t stop_deadline(void *arg) {
    (void)arg;
    return end_by;
}

void hal_stop_ask(void) {
    static hal_event_source_t source = {.run = stop_run, .deadline = stop_deadline};
    if (end_by == 0) {
        end_by = hal_clock_ns() + GRACE_NS;
        hal_event_add(&source);
        hal_console_input(hal_console_stop, strlen(hal_console_stop));
    }
}
