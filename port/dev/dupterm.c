// SPDX-License-Identifier: MIT
// os.dupterm of a dev image: a second terminal beside the console, as upstream's boards have it. Owns nothing: the
// stream is a root pointer of extmod/os_dupterm.c. Not here: the console. Context: main loop.

#include "dev.h"
#include "extmod/misc.h"
#include "py/mphal.h"
#include "py/mpstate.h"
#include "py/runtime.h"

enum { LOOK_MS = 10 }; // a stream written in Python has no event that would end a wait

bool floe_dupterm_active(void) { return MP_STATE_VM(dupterm_objs[0]) != MP_OBJ_NULL; }

int floe_dupterm_read(void) {
    int c = mp_os_dupterm_rx_chr();
    if (c < 0) {
        mp_event_wait_ms(LOOK_MS);
    }
    return c;
}

uintptr_t floe_dupterm_ready(uintptr_t flags) { return floe_dupterm_active() ? mp_os_dupterm_poll(flags) : 0; }

void floe_dupterm_copy(const char *data, size_t len) { mp_os_dupterm_tx_strn(data, len); }
