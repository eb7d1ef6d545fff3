// SPDX-License-Identifier: MIT
// What the guests of this folder share: they run in ring 3 on the port alone, without MicroPython. The word behind `--`
// on the command line names what one does.

#ifndef TESTS_SECURITY_GUEST_H
#define TESTS_SECURITY_GUEST_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "boot/boot.h"
#include "hal/internal.h"
#include "monitor/monitor.h"
#include "xen/xen.h"

enum { PAGE = 4096, ENTRIES = 512, ARENA_PAGES = 512, GIBS = 4, LINE = 160 };
#define PRESENT_WRITE_USER 7ull
#define PRESENT_WRITE 3ull
#define LARGE 0x80ull
#define GIB (1ull << 30)
#define MIB2 (2ull << 20)

typedef struct {
    const char *name;
    void (*run)(void);
} verb_t;

static const hal_driver_t *const drivers[] = {0};
const floe_app_t floe_app = {.drivers = drivers, .name = "guest", .version = "1", .arena_pages = ARENA_PAGES};

static uint64_t pml4[ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t pdpt[ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t pd[GIBS][ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t moved_pdpt[2][ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t moved_pd[2][ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t pt[2][ENTRIES] __attribute__((aligned(PAGE)));

static inline void say(const char *format, ...) {
    char line[LINE];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    hal_uart_write(line, (size_t)(n < LINE ? n : LINE - 1));
}

static inline long ask(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t rcx) {
    __asm__ volatile("int3"
                     : "+a"(number), "+D"(a), "+S"(b), "+d"(c), "+c"(rcx)::"r8", "r9", "r10", "r11", "memory", "cc");
    return (long)number;
}

static inline uint64_t *table(uint64_t entry) { return (uint64_t *)((entry & ~(PAGE - 1ull)) + hal_ram_offset); }
static inline uint64_t entry_for(const volatile void *page) { return hal_physical(page) | PRESENT_WRITE_USER; }

// The entry of one page, in tables of ring 3's own: its 2 MiB become small pages where they are not yet.
static inline uint64_t *own_entry(uint64_t page) {
    static unsigned used;
    uint64_t *middle = table(table(pml4[page / GIB / ENTRIES])[page / GIB % ENTRIES]);
    uint64_t *large = &middle[page / MIB2 % ENTRIES];
    if (*large & LARGE) {
        uint64_t *small = pt[used++];
        for (uint64_t k = 0; k < ENTRIES; k++) {
            small[k] = (*large / MIB2 * MIB2 + k * PAGE) | PRESENT_WRITE_USER;
        }
        *large = entry_for(small);
    }
    return &table(*large)[page / PAGE % ENTRIES];
}

// Tables of ring 3's own: all memory for everybody, but for the monitor's code, which ring 0 could not execute (SMEP);
// the first GiB again where ring 3 is.
static inline void make_tables(void) {
    for (uint64_t k = 0; k < ENTRIES; k++) {
        uint64_t v = hal_ram_offset + k * MIB2, gib = v / GIB, first = hal_ram_offset / GIB;
        uint64_t *middle = moved_pd[gib - first], *upper = moved_pdpt[gib / ENTRIES - first / ENTRIES];
        pml4[gib / ENTRIES] = entry_for(upper);
        upper[gib % ENTRIES] = entry_for(middle);
        middle[v / MIB2 % ENTRIES] = k * MIB2 | PRESENT_WRITE_USER | LARGE;
    }
    pml4[0] = entry_for(pdpt);
    for (uint64_t i = 0; i < GIBS; i++) {
        pdpt[i] = entry_for(pd[i]);
        for (uint64_t k = 0; k < ENTRIES; k++) {
            pd[i][k] = (i * GIB + k * MIB2) | PRESENT_WRITE_USER | LARGE;
        }
    }
    for (uint64_t page = hal_physical(link_start); page < hal_physical(link_text); page += PAGE) {
        *own_entry(page) = page | PRESENT_WRITE;
    }
}

static inline void start(void) {
    xen_start();
    hal_uart_init();
}

// Do what the command line's word names; return where it names nothing.
static inline void run_verb(const verb_t *verbs, size_t count) {
    start();
    const char *word = strstr(boot_cmdline, "-- ");
    for (size_t i = 0; word != NULL && i < count; i++) {
        size_t n = strlen(verbs[i].name);
        if (strncmp(word + 3, verbs[i].name, n) == 0 && (word[3 + n] == ' ' || word[3 + n] == '\0')) {
            say("ready\n");
            verbs[i].run();
            say("it went on\n");
            hal_exit(1);
        }
    }
}

#endif
