// SPDX-License-Identifier: MIT
// A guest without MicroPython that tries to break the promises of SECURITY.md which the port alone keeps: those that
// the words behind `--` name. Each ends in a PANIC, or is "refused"; "it went on" is what must never come of one, but
// where the protection was switched off on purpose (tests/support/promises.py).

#include "guest.h"

enum { FOUND = 42, FRAME = 512, SMALL = 16, KERNEL_GS_BASE = 0xc0000102, XEN_VERSION = 17 };

int main(void);

extern uint64_t monitor_gdt[];

typedef int (*code_t)(void);
static volatile uint8_t code[] = {0xb8, FOUND, 0, 0, 0, 0xc3}; // mov eax, 42; ret
static const int constant = 1;
static char small[SMALL];
static volatile size_t too_long = SMALL + 1;

// ---- pages --------------------------------------------------------------------------------------------

__attribute__((noinline, noclone)) static int function(void) {
    __asm__ volatile("");
    return 1;
}

static bool write_text(void) {
    for (unsigned i = 0; i < sizeof(code); i++) {
        ((volatile uint8_t *)function)[i] = code[i];
    }
    return function() == FOUND;
}

static bool write_constant(void) {
    const int *place = &constant;
    __asm__ volatile("" : "+r"(place)); // or the compiler knows what it is
    *(volatile int *)place = FOUND;
    return *place == FOUND;
}

static bool run_data(void) { return ((code_t)code)() == FOUND; }

static bool run_stack(void) {
    volatile uint8_t copy[sizeof(code)];
    for (unsigned i = 0; i < sizeof(code); i++) {
        copy[i] = code[i];
    }
    return ((code_t)copy)() == FOUND;
}

static bool page_zero(void) {
    static volatile uintptr_t address; // for the compiler, it might be anything
    *(volatile int *)address = FOUND;
    return *(volatile int *)address == FOUND;
}

__attribute__((noinline, noclone)) static int deeper(void) {
    volatile char frame[FRAME];
    frame[0] = 1;
    return (uintptr_t)frame < (uintptr_t)boot_stack_bottom - FRAME ? frame[0] : deeper() + frame[0];
}

static bool overflow_stack(void) { return deeper() > 0; }

// Where ring 0 has a word of its own: it has not moved.
static volatile uint64_t *of_ring_0(void *p) { return (volatile uint64_t *)hal_physical(p); }

static bool read_monitor(void) { return of_ring_0(monitor_gdt)[MONITOR_CODE0 / 8] != 0; }

static bool read_monitor_code(void) { return *of_ring_0(link_start) != 0; }

// Whoever can, has the monitor make pages executable that are no arena.
static bool write_monitor(void) {
    *of_ring_0(&monitor_arena_start) = boot_arena_start - PAGE;
    bool served = ask(MONITOR_PROTECT, boot_arena_start - PAGE, 1, 1, 0) == 0;
    *of_ring_0(&monitor_arena_start) = boot_arena_start;
    return served;
}

static bool write_tables(void) {
    of_ring_0(link_end)[ENTRIES - 1] = 0; // the last entry of the first table, which maps nothing
    return true;
}

// The last byte of what was given, and one past it.
static bool writes_at(volatile char *last, ptrdiff_t past) {
    last[0] = FOUND;
    last[past] = FOUND;
    return last[0] == FOUND && last[past] == FOUND;
}

// All of the C heap's own region, as malloc() asks for it.
static bool past_c_heap(void) {
    hal_mem_sbrk(0);
    size_t bytes = boot_ram[0].end - boot_ram[0].start;
    return writes_at((char *)hal_mem_sbrk((ptrdiff_t)bytes) + bytes - 1, 1);
}

// The first area, where Python's heap begins to take.
static bool past_heap(void) { return writes_at((char *)hal_mem_take(PAGE, PAGE, 0) + PAGE - 1, 1); }

// What is given to devices comes from the end of RAM; the other end is that towards the heap.
static bool past_devices(void) {
    const boot_ram_t *own = &boot_ram[boot_ram_count - 1];
    return writes_at(hal_mem_dma(own->end - own->start, 1), -1);
}

static bool past_arena(void) { return writes_at((char *)boot_arena_end - 1, 1); }

static bool before_arena(void) { return writes_at((char *)boot_arena_start, -1); }

// ---- services -----------------------------------------------------------------------------------------

static bool lock_again(void) {
    make_tables();
    return ask(MONITOR_LOCK, hal_physical(pml4), 0, 0, 0) == 0 && read_monitor();
}

static bool protect_outside(void) { return ask(MONITOR_PROTECT, boot_arena_end, 1, 1, 0) == 0; }

static bool write_executable(void) {
    volatile uint8_t *arena = (volatile uint8_t *)boot_arena_start;
    ask(MONITOR_PROTECT, boot_arena_start, 1, 1, 0);
    for (unsigned i = 0; i < sizeof(code); i++) {
        arena[i] = code[i];
    }
    return ((code_t)arena)() == FOUND;
}

static bool run_writable(void) {
    volatile uint8_t *arena = (volatile uint8_t *)boot_arena_start;
    ask(MONITOR_PROTECT, boot_arena_start, 1, 0, 0);
    for (unsigned i = 0; i < sizeof(code); i++) {
        arena[i] = code[i];
    }
    return ((code_t)arena)() == FOUND;
}

static bool write_msr(void) { return ask(MONITOR_KVMCLOCK, KERNEL_GS_BASE, 0, 0, 0) == 0; }

static bool high_port(void) {
    hal_in8(0xffff);
    return true;
}

static bool dma_port(void) { // fw_cfg's, of which nothing is asked here
    hal_out32(0x514, 0);
    return true;
}

static bool hypercall(void) {
    return ask(MONITOR_HYPERCALL, 0, 0, 0, XEN_VERSION) >> 16 >= 4; // 4.17 is 0x40011
}

// ---- C ------------------------------------------------------------------------------------------------

__attribute__((force_align_arg_pointer)) static void landed(void) {
    say("smash_stack: it went on\n");
    hal_exit(0);
}

__attribute__((noinline, noclone)) static bool smash_stack(void) {
    volatile uintptr_t words[2];
    volatile uintptr_t *word = words;
    __asm__ volatile("" : "+r"(word));
    for (unsigned i = 0; i < 8; i++) {
        word[i] = (uintptr_t)landed;
    }
    return false;
}

static bool write_too_much(void) {
    memcpy(small, link_rodata, too_long);
    return true;
}

// The panic cannot reach its console.
static bool silence(void) {
    hal_platform = (const hal_platform_t *)8;
    *(volatile char *)16 = 0;
    return true;
}

static bool random_unfed(void) {
    uint8_t drawn[16];
    return hal_entropy_get(drawn, sizeof(drawn));
}

static bool random_stuck(void) {
    static const uint8_t zeros[64];
    hal_entropy_noise(HAL_NOISE_DEVICE, zeros, sizeof(zeros));
    return random_unfed();
}

#define VERB(name) {#name, name}
static const struct {
    const char *name;
    bool (*broken)(void);
} verbs[] = {
    VERB(write_text),      VERB(write_constant),   VERB(run_data),     VERB(run_stack),         VERB(page_zero),
    VERB(overflow_stack),  VERB(read_monitor),     VERB(write_tables), VERB(read_monitor_code), VERB(write_monitor),
    VERB(protect_outside), VERB(write_executable), VERB(run_writable), VERB(write_msr),         VERB(high_port),
    VERB(hypercall),       VERB(lock_again),       VERB(smash_stack),  VERB(silence),           VERB(write_too_much),
    VERB(random_unfed),    VERB(random_stuck),     VERB(dma_port),     VERB(past_c_heap),       VERB(past_heap),
    VERB(past_devices),    VERB(past_arena),       VERB(before_arena),
};

static size_t len_of(const char *word) {
    const char *end = strchr(word, ' ');
    return end != NULL ? (size_t)(end - word) : strlen(word);
}

static void run(const char *name, size_t len) {
    for (unsigned i = 0; i < HAL_ARRAY_LEN(verbs); i++) {
        if (strlen(verbs[i].name) == len && memcmp(verbs[i].name, name, len) == 0) {
            bool broken = verbs[i].broken();
            say("%s: %s\n", verbs[i].name, broken ? "it went on" : "refused");
        }
    }
}

int main(void) {
    start();
    const char *words = strstr(boot_cmdline, "-- ");
    for (const char *end = words != NULL ? words + 2 : ""; *end == ' '; end += 1 + len_of(end + 1)) {
        run(end + 1, len_of(end + 1));
    }
    hal_exit(0);
}
