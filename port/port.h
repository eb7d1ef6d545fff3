// SPDX-License-Identifier: MIT
// What the files beside main.c owe each other.

#ifndef FLOE_PORT_H
#define FLOE_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Set up the GC heap in free RAM; again, after a soft reset, in the same place (gccollect.c).
void floe_heap_init(void);

// Run a frozen script as __main__; its exit code (script.c).
int floe_run_frozen(const char *name);
// Print the Python frames that a scan of the stack from sp finds (traceback.c).
void floe_print_frames(uintptr_t sp);

// sys.argv and os.environ from the kernel command line (bootargs.c).
void floe_bootargs_init(void);
// How often the interpreter was started: more than once after a soft reset.
extern unsigned floe_starts;

// Merge what --env-file named into the environment, once after a start; what the command line says wins (envfile.c).
void floe_env_complete(void);
extern bool floe_env_is_complete;

// Bytes of the C heap in use (libc/malloc.c).
size_t libc_malloc_used(void);

// The REPL after the script, until the VM ends (repl.c, dev archive only).
_Noreturn void floe_repl(void);

// Stamps in microseconds since kernel entry (mod_floe.c).
void floe_stamp(const char *name);
// One console line with all stamps, where the command line asks for it (floe.stamps=1).
void floe_stamps_print(void);

#endif
