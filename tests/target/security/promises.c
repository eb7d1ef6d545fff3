// SPDX-License-Identifier: MIT
// A guest without MicroPython that tries to break each promise of SECURITY.md which the port alone keeps, one a boot.
// It ends in a PANIC, or with "refused"; "it went on" is what must never come of it, but where the protection was
// switched off on purpose (tests/support/promises.py).

#include "guest.h"

enum { FOUND = 42, FRAME = 512, SMALL = 16, KERNEL_GS_BASE = 0xc0000102, XEN_VERSION = 17 };

int main(void);

extern uint64_t monitor_gdt[];

typedef int (*code_t)(void);
static volatile uint8_t code[] = {0xb8, FOUND, 0, 0, 0, 0xc3}; // mov eax, 42; ret
static const int constant = 1;
static char small[SMALL];
static volatile size_t too_long = SMALL + 1;

static void refused_if(bool refused) {
    if (refused) {
        say("refused\n");
        hal_exit(0);
    }
}

// ---- pages --------------------------------------------------------------------------------------------

__attribute__((noinline, noclone)) static int function(void) {
    __asm__ volatile("");
    return 1;
}

static void write_text(void) {
    for (unsigned i = 0; i < sizeof(code); i++) {
        ((volatile uint8_t *)function)[i] = code[i];
    }
    refused_if(function() != FOUND);
}

static void write_constant(void) {
    const int *place = &constant;
    __asm__ volatile("" : "+r"(place)); // or the compiler knows what it is
    *(volatile int *)place = FOUND;
    refused_if(*place != FOUND);
}

static void run_data(void) { refused_if(((code_t)code)() != FOUND); }

static void run_stack(void) {
    volatile uint8_t copy[sizeof(code)];
    for (unsigned i = 0; i < sizeof(code); i++) {
        copy[i] = code[i];
    }
    refused_if(((code_t)copy)() != FOUND);
}

static void page_zero(void) {
    static volatile uintptr_t address; // for the compiler, it might be anything
    *(volatile int *)address = FOUND;
    refused_if(*(volatile int *)address != FOUND);
}

__attribute__((noinline, noclone)) static int deeper(void) {
    volatile char frame[FRAME];
    frame[0] = 1;
    return (uintptr_t)frame < (uintptr_t)boot_stack_bottom - FRAME ? frame[0] : deeper() + frame[0];
}

static void overflow_stack(void) { say("%d frames\n", deeper()); }

// Where ring 0 has a word of its own: it has not moved.
static volatile uint64_t *of_ring_0(void *p) { return (volatile uint64_t *)hal_physical(p); }

static void read_monitor(void) { say("the monitor has %lx\n", of_ring_0(monitor_gdt)[MONITOR_CODE0 / 8]); }

static void read_monitor_code(void) { say("the monitor has %lx\n", *of_ring_0(link_start)); }

// Whoever can, has the monitor make pages executable that are no arena.
static void write_monitor(void) {
    *of_ring_0(&monitor_arena_start) = boot_arena_start - PAGE;
    refused_if(ask(MONITOR_PROTECT, boot_arena_start - PAGE, 1, 1, 0) != 0);
}

static void write_tables(void) {
    of_ring_0(link_end)[ENTRIES - 1] = 0; // the last entry of the first table, which maps nothing
}

// ---- services -----------------------------------------------------------------------------------------

static void lock_again(void) {
    make_tables();
    refused_if(ask(MONITOR_LOCK, hal_physical(pml4), 0, 0, 0) != 0);
    read_monitor();
}

static void protect_outside(void) { refused_if(ask(MONITOR_PROTECT, boot_arena_end, 1, 1, 0) != 0); }

static void write_executable(void) {
    volatile uint8_t *arena = (volatile uint8_t *)boot_arena_start;
    ask(MONITOR_PROTECT, boot_arena_start, 1, 1, 0);
    for (unsigned i = 0; i < sizeof(code); i++) {
        arena[i] = code[i];
    }
    refused_if(((code_t)arena)() != FOUND);
}

static void run_writable(void) {
    volatile uint8_t *arena = (volatile uint8_t *)boot_arena_start;
    ask(MONITOR_PROTECT, boot_arena_start, 1, 0, 0);
    for (unsigned i = 0; i < sizeof(code); i++) {
        arena[i] = code[i];
    }
    refused_if(((code_t)arena)() != FOUND);
}

static void write_msr(void) { refused_if(ask(MONITOR_KVMCLOCK, KERNEL_GS_BASE, 0, 0, 0) != 0); }

static void high_port(void) { say("the port has %x\n", (unsigned)hal_in8(0xffff)); }

static void hypercall(void) {
    long version = ask(MONITOR_HYPERCALL, 0, 0, 0, XEN_VERSION);
    refused_if(version == -1);
    say("Xen %ld.%ld\n", version >> 16, version & 0xffff);
}

// ---- C ------------------------------------------------------------------------------------------------

__attribute__((force_align_arg_pointer)) static void landed(void) {
    say("returned elsewhere\nit went on\n");
    hal_exit(1);
}

__attribute__((noinline, noclone)) static void smash_stack(void) {
    volatile uintptr_t words[2];
    volatile uintptr_t *word = words;
    __asm__ volatile("" : "+r"(word));
    for (unsigned i = 0; i < 8; i++) {
        word[i] = (uintptr_t)landed;
    }
}

static void write_too_much(void) { memcpy(small, link_rodata, too_long); }

// The panic cannot reach its console.
static void silence(void) {
    hal_platform = (const hal_platform_t *)8;
    *(volatile char *)16 = 0;
}

static void random_unfed(void) {
    uint8_t drawn[16];
    refused_if(!hal_entropy_get(drawn, sizeof(drawn)));
}

static void random_stuck(void) {
    static const uint8_t zeros[64];
    hal_entropy_noise(HAL_NOISE_DEVICE, zeros, sizeof(zeros));
    random_unfed();
}

#define VERB(name) {#name, name}
static const verb_t verbs[] = {
    VERB(write_text),       VERB(write_constant),    VERB(run_data),      VERB(run_stack),    VERB(page_zero),
    VERB(overflow_stack),   VERB(read_monitor),      VERB(write_monitor), VERB(write_tables), VERB(lock_again),
    VERB(protect_outside),  VERB(read_monitor_code), VERB(run_writable),  VERB(write_msr),    VERB(high_port),
    VERB(write_executable), VERB(hypercall),         VERB(smash_stack),   VERB(silence),      VERB(write_too_much),
    VERB(random_unfed),     VERB(random_stuck),
};

int main(void) {
    run_verb(verbs, HAL_ARRAY_LEN(verbs));
    say("no such verb\n");
    hal_exit(2);
}
