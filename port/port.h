// SPDX-License-Identifier: MIT
// What the files beside main.c owe each other.

#ifndef FLOE_PORT_H
#define FLOE_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Set up the GC heap in free RAM; again, after a soft reset, in the same place (gccollect.c).
void floe_heap_init(void);

// Run a frozen script as __main__, or in a dev image with NULL what floe.swap() has for it; its exit code (script.c).
int floe_run_frozen(const char *name);
// Interrupt the script: KeyboardInterrupt, or a word to its asyncio loop (script.c).
void floe_interrupt(void);
// End the VM in order: what sockets have still to send leaves (main.c).
_Noreturn void floe_end(int code);
// Print the Python frames that a scan of the stack from sp finds (traceback.c).
void floe_print_frames(uintptr_t sp);

// sys.argv and os.environ from the kernel command line (bootargs.c).
void floe_bootargs_init(void);
// How often the interpreter was started: more than once after a soft reset.
extern unsigned floe_starts;

// littlefs was asked for what it asserts never to be asked: an OSError (misc.c; port/lfsassert.h).
_Noreturn void floe_lfs_refused(int code);

// Bytes of the C heap in use (libc/malloc.c).
size_t libc_malloc_used(void);

// Stamps in microseconds since kernel entry (mod_floe.c).
void floe_stamp(const char *name);
// One console line with all stamps, where the command line asks for it (floe.stamps=1).
void floe_stamps_print(void);

#endif
