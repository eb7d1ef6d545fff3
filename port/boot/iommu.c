// SPDX-License-Identifier: MIT
// Where devices reach, on a machine that has an IOMMU (Intel VT-d 3.3, clauses 9 and 11.4): what ring 3 may write they
// write, what it may read they read, as far as it is RAM; neither the code, nor what can become code, nor the monitor
// and its tables. Owns the tables that say so, which ring 3 loses with the registers. Not here: that there is one
// (acpi.c). Context: ring 3, once, on the boot page tables.

#include <string.h>

#include "../hal/hal.h"
#include "boot.h"

enum { CAP = 0x08, ECAP = 0x10, GCMD = 0x18, GSTS = 0x1c, RTADDR = 0x20, CCMD = 0x28, IOTLB = 8 }; // 11.4
#define CAP_39_BITS BIT64(9)     // three levels of tables
#define CAP_LARGE BIT64(34)      // pages of 2 MiB
#define GCMD_TRANSLATE BIT64(31) // and of GSTS the bit that says it is so
#define GCMD_ROOT BIT64(30)
#define FORGET_ALL (BIT64(63) | BIT64(61)) // of CCMD, until bit 63 is 0
#define FORGET_ALL_PAGES (BIT64(63) | BIT64(60))
#define BUSY BIT64(63)
#define ENTRY_LARGE 0x80ull
#define CONTEXT_39_BITS 1ull
#define CONTEXT_DOMAIN (1ull << 8)
#define DONE_CYCLES (1ull << 32)
#define MIB2 (2ull << 20)
#define GIB (1ull << 30)

enum { ENTRIES = 512 };

static volatile char *registers;
static uint64_t *top; // of three levels, by 9 bits of an address each

static uint64_t read64(unsigned at) { return *(volatile uint64_t *)(registers + at); }
static void write64(unsigned at, uint64_t v) { *(volatile uint64_t *)(registers + at) = v; }

// Without an answer there is no going on: devices would reach everything.
static void tell(uint32_t bit) {
    uint64_t begin = hal_clock_cycles();
    *(volatile uint32_t *)(registers + GCMD) = bit;
    while ((*(volatile uint32_t *)(registers + GSTS) & bit) == 0) {
        hal_assert(hal_clock_cycles() - begin < DONE_CYCLES);
    }
}

static void forget(unsigned at, uint64_t what) {
    uint64_t begin = hal_clock_cycles();
    write64(at, what);
    while ((read64(at) & BUSY) != 0) {
        hal_assert(hal_clock_cycles() - begin < DONE_CYCLES);
    }
}

static uint64_t *dma_table(uint64_t *entry) {
    if (*entry == 0) {
        *entry = (uint64_t)boot_new_table() | BOOT_DMA_READ | BOOT_DMA_WRITE;
    }
    return (uint64_t *)(*entry & ~(uint64_t)(HAL_PAGE_SIZE - 1));
}

void boot_iommu_map(uint64_t start, uint64_t end, unsigned rights) {
    for (uint64_t a = start; boot_acpi.iommu != 0 && a < end;) {
        if (top == NULL) {
            top = boot_new_table();
        }
        uint64_t *large = &dma_table(&top[a / GIB])[a / MIB2 % ENTRIES];
        if (a % MIB2 == 0 && end - a >= MIB2 && *large == 0) {
            *large = a | rights | ENTRY_LARGE;
            a += MIB2;
        } else {
            dma_table(large)[a / HAL_PAGE_SIZE % ENTRIES] = a | rights;
            a += HAL_PAGE_SIZE;
        }
    }
}

void boot_iommu_start(void) {
    if (boot_acpi.iommu == 0) {
        return;
    }
    registers = boot_reach(boot_acpi.iommu);
    hal_assert((read64(CAP) & (CAP_39_BITS | CAP_LARGE)) == (CAP_39_BITS | CAP_LARGE));
    uint64_t *root = boot_new_table(), *context = boot_new_table();
    for (unsigned i = 0; i < ENTRIES; i += 2) { // all functions of all buses see the same
        root[i] = (uint64_t)context | 1;
        context[i] = (uint64_t)top | 1;
        context[i + 1] = CONTEXT_DOMAIN | CONTEXT_39_BITS;
    }
    hal_mb();
    write64(RTADDR, (uint64_t)root);
    tell((uint32_t)GCMD_ROOT);
    forget(CCMD, FORGET_ALL);
    forget((unsigned)(read64(ECAP) >> 8 & 0x3ff) * 16 + IOTLB, FORGET_ALL_PAGES);
    tell((uint32_t)GCMD_TRANSLATE);
}
