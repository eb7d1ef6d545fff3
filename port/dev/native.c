// SPDX-License-Identifier: MIT
// Room for native code made at run time: the arena whose pages the monitor turns from writable to executable
// and back, never both. Owns the arena's fill mark. Not here: code generation (py/emitnx64.c). Context: main loop.

#include <string.h>

#include "boot/boot.h"
#include "dev.h"
#include "hal/hal.h"
#include "monitor/monitor.h"
#include "py/persistentcode.h"
#include "py/runtime.h"

enum { PROT_WRITE = 0, PROT_EXEC = 1, ALIGN = 16 };

static uint64_t arena_next;

// Copy finished code into the arena and return where it runs. reloc: what a .mpy file says of addresses in it, or NULL.
// Until a soft reset the arena only grows: a function may be referenced from anywhere, also from other native code.
void *floe_commit_exec(void *code, size_t len, void *reloc) {
    arena_next = arena_next != 0 ? arena_next : boot_arena_start;
    uint64_t at = (arena_next + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
    if (len > boot_arena_end - boot_arena_start || at + len > boot_arena_end) {
        m_malloc_fail(len);
    }
    if (reloc != NULL) {
        mp_native_relocate(reloc, code, at);
    }
    uint64_t first = at & ~(uint64_t)(HAL_PAGE_SIZE - 1);
    uint64_t pages = (at + len - first + HAL_PAGE_SIZE - 1) / HAL_PAGE_SIZE;
    hal_assert(monitor_call(MONITOR_PROTECT, (long)first, (long)pages, PROT_WRITE) == 0);
    memcpy((void *)at, code, len);
    hal_assert(monitor_call(MONITOR_PROTECT, (long)first, (long)pages, PROT_EXEC) == 0);
    arena_next = at + len;
    return (void *)at;
}

// No code of the interpreter that ended is referenced any more.
void floe_native_reset(void) { arena_next = boot_arena_start; }
