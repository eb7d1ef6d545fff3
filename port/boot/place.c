// SPDX-License-Identifier: MIT
// Where ring 3 lies: a random multiple of 2 MiB above the physical addresses of its RAM, drawn at each boot, and the
// way there. The image is position independent; the words in it that are addresses are moved: those that the linker
// lists (RELR, in the generic ABI's notation), and those that floe_app lists, of what was appended to a ready kernel.
// Owns nothing. Not here: the tables (paging.c). Context: ring 3, once, on the boot page tables.

#include "../app.h"
#include "../hal/hal.h"
#include "../monitor/monitor.h"
#include "boot.h"

// From 512 GiB, above all RAM and all registers, to 64 TiB: 25 bits.
#define STEP (2ull << 20)
#define STEPS_MIN (1ull << 18)
#define STEPS_MAX (1ull << 25)

enum { BITMAP_WORDS = 63 };

extern const uint64_t link_relr[], link_relr_end[];

void boot_place(void) {
    char wanted[2];
    size_t at = 0;
    bool off = hal_cmdline_next("floe.aslr", &at, wanted, sizeof(wanted)) == 1 && wanted[0] == '0';
    hal_ram_offset = off ? 0 : (STEPS_MIN + boot_random() % (STEPS_MAX - STEPS_MIN)) * STEP;
}

// Ring 0 stays where it is, and so do the addresses in its data. A pointer that was unset afterwards is none to move.
static void move(uint64_t *word) {
    if (*word != 0 && ((char *)word < link_monitor || (char *)word >= link_data)) {
        *word += hal_ram_offset;
    }
}

// An even word is an address, an odd one says which of the 63 words behind the last one are addresses, too.
static void relocate(void) {
    uint64_t *next = NULL;
    for (const uint64_t *r = link_relr; r < link_relr_end; r++) {
        if (*r % 2 == 0) {
            next = (uint64_t *)*r;
            move(next++);
            continue;
        }
        uint64_t *word = next;
        for (uint64_t bits = *r >> 1; bits != 0; bits >>= 1, word++) {
            if (bits & 1) {
                move(word);
            }
        }
        next += BITMAP_WORDS;
    }
    for (uint64_t *const *word = floe_app.moved; word != NULL && *word != NULL; word++) {
        move(*word);
    }
}

void boot_faults(void) {
    monitor_panic_entry = (uint64_t)hal_fault_entry + hal_ram_offset;
    monitor_panic_stack = (uint64_t)boot_panic_stack_top - 8 + hal_ram_offset;
}

// Nothing on the stack is any good once the tables have changed: boot_go_on() begins a new one.
_Noreturn void boot_enter(uint64_t pml4, uint64_t cr4) {
    relocate();
    boot_faults();
    __asm__ volatile("int3\n"
                     "leaq boot_stack_top-8(%%rip), %%rsp\n"
                     "movl %%eax, %%edi\n"
                     "jmp boot_go_on"
                     :
                     : "a"(MONITOR_LOCK), "D"(pml4), "S"(cr4), "d"(hal_ram_offset)
                     : "memory");
    __builtin_unreachable();
}
