// SPDX-License-Identifier: MIT
// The host stops the VM, saves it perhaps, and lets it go on: in the same domain, or in another one (Xen
// public/sched.h, SHUTDOWN_suspend). There the memory is what it was, and the console's and XenStore's pages are empty;
// the shared page, event channels, grants and devices are to be made again. Owns nothing. Not here: who asks
// (control.c); what drivers do (HAL_SUSPEND). Context: main loop, inside an event source: nobody else is in the middle
// of anything.

#include "../hal/internal.h"
#include "shared.h"
#include "xencons.h"

enum { SHUTDOWN_SUSPEND = 2 };
#define FLUSH_NS 1000000000ull // what the console still has would be lost with its page

bool xen_suspend(void (*with_store)(void)) {
    uint32_t reason = SHUTDOWN_SUSPEND;
    hal_console_flush(FLUSH_NS);
    hal_suspend_tell(HAL_SUSPENDING);
    hal_clock_stop();
    bool elsewhere = xen_hypercall(XEN_SCHED_OP, SCHEDOP_SHUTDOWN, (long)&reason, 0) == 0; // else nothing has changed
    if (elsewhere) {
        xen_anew();
    }
    hal_clock_go();
    if (elsewhere) {
        hal_entropy_init();
        xen_console_prod = 0;
        xen_store_anew();
        with_store();
        hal_suspend_tell(HAL_RESUMED);
    }
    return elsewhere;
}
