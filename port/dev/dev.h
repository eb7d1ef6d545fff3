// SPDX-License-Identifier: MIT
// What only a dev image has, to the rest of the port. A sealed image's archive has no file of this folder: there each
// call of these is behind FLOE_DEV, and folds away.

#ifndef FLOE_DEV_H
#define FLOE_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A device: boot.py, the script, the REPL, and again after each soft reset (repl.c).
_Noreturn void floe_repl(void);
enum { FLOE_SOFT_RESET = -1 }; // what floe_run_frozen returns after machine.soft_reset()
bool floe_repl_is_soft_reset(const void *exc);
// One character for the REPL; PYEXEC_FORCED_EXIT in the result asks for a soft reset (repl.c).
int floe_repl_char(int c);
// Whether the host's input ends with these two characters; whether it has ended: at the prompt the VM ends (repl.c).
bool floe_repl_is_input_end(int before, int c);
bool floe_repl_input_over(void);
// Raw-paste mode (rawpaste.c): begin it; whether it is on; a character of it, results as floe_repl_char().
void floe_paste_begin(void);
bool floe_paste_active(void);
int floe_paste_char(int c);

// The REPL beside a running script (live.c): from begin to end a script runs; reset forgets everything.
void floe_live_begin(void);
void floe_live_end(void);
void floe_live_reset(void);
void floe_live_fresh_loop(void); // nothing of the last script's tasks and streams is in asyncio's loop
bool floe_live_withholds(void);
bool floe_live_serves(void);
bool floe_live_holds(const char *data, size_t len);
// From what runs at that REPL: interrupt the script afterwards. False: nothing runs there.
bool floe_live_interrupt_script(void);
// For how long the last program at that REPL held up the script.
uint64_t floe_live_pause_ns(void);
// Write what was held back, if raw mode is over.
void floe_live_release(void);

// Another __main__ (swap.c): whether one waits; the function that runs it, which then waits no more. reset: the heap is
// another one, forget what was replaced.
void floe_swap_reset(void);
bool floe_swap_has_main(void);
void *floe_swap_take_main(void);

// os.dupterm (dupterm.c). read: a character of it, or -1 after a short wait for an event.
bool floe_dupterm_active(void);
int floe_dupterm_read(void);
uintptr_t floe_dupterm_ready(uintptr_t flags);
void floe_dupterm_copy(const char *data, size_t len);

// Forget the native code made so far: nothing refers to it after a soft reset (native.c).
void floe_native_reset(void);

// Console input is for the REPL beside the script, and not for the script.
static inline bool floe_input_withheld(void) { return FLOE_DEV && floe_live_withholds(); }
// What was typed at that REPL runs.
static inline bool floe_repl_runs(void) { return FLOE_DEV && floe_live_serves(); }
// Took the script's output, to be written when raw mode ends.
static inline bool floe_output_held(const char *data, size_t len) { return FLOE_DEV && floe_live_holds(data, len); }

#endif
