// SPDX-License-Identifier: MIT
// The final page tables (Intel SDM vol. 3, 4.5): identity mapped, every page writable or executable or
// neither, never both. Owns the tables until the monitor takes them. Not here: changes at run time (the
// monitor's PROTECT service). Context: ring 3 at boot, at native speed, before MONITOR_LOCK.

#include <string.h>

#include "../app.h"
#include "../hal/hal.h"
#include "../monitor/monitor.h"
#include "boot.h"

#define PTE_PRESENT 1ull
#define PTE_WRITE 2ull
#define PTE_USER 4ull
#define PTE_UNCACHED 0x18ull // PWT | PCD
#define PTE_LARGE 0x80ull
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

#define PROT_RX (PTE_PRESENT | PTE_USER)
#define PROT_R (PTE_PRESENT | PTE_USER | PTE_NX)
#define PROT_RW (PTE_PRESENT | PTE_USER | PTE_WRITE | PTE_NX)
#define PROT_MMIO (PROT_RW | PTE_UNCACHED)
#define PROT_MONITOR_RX (PTE_PRESENT)
#define PROT_MONITOR_RW (PTE_PRESENT | PTE_WRITE | PTE_NX)

#define MIB2 (2ull << 20)
#define GIB (1ull << 30)
#define MMIO_START 0xc0000000ull
#define MMIO_END 0x100000000ull
#define XEN_PAGES_START \
    0xfeff8000ull // pages that Xen shares with a guest: memory, not registers (its hvm_info_table.h)
#define XEN_PAGES_END 0xff000000ull
#define MAPPED_MAX (512 * GIB) // one PDPT

enum { ENTRIES = 512, FIXED_TABLES = 21 };

extern char boot_guard0[], boot_guard1[];
uint64_t boot_arena_start, boot_arena_end;

static uint64_t pool_next, pool_end;

static uint64_t *new_table(void) {
    hal_assert(pool_next < pool_end);
    uint64_t *t = (uint64_t *)pool_next;
    pool_next += HAL_PAGE_SIZE;
    memset(t, 0, HAL_PAGE_SIZE);
    return t;
}

static uint64_t *table_at(uint64_t *entry) {
    if (!(*entry & PTE_PRESENT)) {
        *entry = (uint64_t)new_table() | PTE_PRESENT | PTE_WRITE | PTE_USER;
    }
    return (uint64_t *)(*entry & PTE_ADDR);
}

static uint64_t *pte_of(uint64_t *pml4, uint64_t a) {
    uint64_t *pdpt = table_at(&pml4[0]);
    uint64_t *pd = table_at(&pdpt[(a / GIB) % ENTRIES]);
    uint64_t *pde = &pd[(a / MIB2) % ENTRIES];
    if (*pde & PTE_LARGE) { // split: the small pages take over the large one's rights
        uint64_t base = *pde & PTE_ADDR, prot = *pde & ~(PTE_ADDR | PTE_LARGE);
        uint64_t *pt = new_table();
        for (unsigned i = 0; i < ENTRIES; i++) {
            pt[i] = (base + i * (uint64_t)HAL_PAGE_SIZE) | prot;
        }
        *pde = (uint64_t)pt | PTE_PRESENT | PTE_WRITE | PTE_USER;
    }
    return &table_at(pde)[(a / HAL_PAGE_SIZE) % ENTRIES];
}

// Map [start, end) with prot; 0 unmaps. Large pages where they fit.
static void map(uint64_t *pml4, uint64_t start, uint64_t end, uint64_t prot) {
    for (uint64_t a = start; a < end;) {
        if (a % MIB2 == 0 && end - a >= MIB2 && prot != 0) {
            uint64_t *pdpt = table_at(&pml4[0]);
            table_at(&pdpt[(a / GIB) % ENTRIES])[(a / MIB2) % ENTRIES] = a | prot | PTE_LARGE;
            a += MIB2;
        } else {
            *pte_of(pml4, a) = prot ? a | prot : 0;
            a += HAL_PAGE_SIZE;
        }
    }
}

static void map_image(uint64_t *pml4) {
    const struct {
        char *start, *end;
        uint64_t prot;
    } part[] = {
        {link_start, link_text, PROT_MONITOR_RX},      {link_text, link_rodata, PROT_RX},
        {link_rodata, link_monitor, PROT_R},           {link_monitor, link_data, PROT_MONITOR_RW},
        {link_data, link_monitor_ro, PROT_RW},         {link_monitor_ro, link_monitor_bss, PROT_R},
        {link_monitor_bss, link_end, PROT_MONITOR_RW}, {boot_guard0, boot_guard0 + HAL_PAGE_SIZE, 0},
        {boot_guard1, boot_guard1 + HAL_PAGE_SIZE, 0},
    };
    for (unsigned i = 0; i < HAL_ARRAY_LEN(part); i++) {
        map(pml4, (uint64_t)part[i].start, (uint64_t)part[i].end, part[i].prot);
    }
    map(pml4, (uint64_t)link_end, (uint64_t)link_end + floe_app.appended, PROT_R);
}

// The native code arena: small pages whose entries lie in consecutive tables, as MONITOR_PROTECT expects.
static void map_arena(uint64_t *pml4, size_t pages) {
    uint64_t size = (pages * (uint64_t)HAL_PAGE_SIZE + MIB2 - 1) & ~(MIB2 - 1);
    uint64_t start = (boot_ram[0].start + MIB2 - 1) & ~(MIB2 - 1);
    if (pages == 0 || start + 2 * size > boot_ram[0].end) {
        return;
    }
    uint64_t *first = new_table();
    for (uint64_t a = start; a < start + size; a += MIB2) {
        uint64_t *pt = a == start ? first : new_table();
        for (unsigned i = 0; i < ENTRIES; i++) {
            pt[i] = (a + i * (uint64_t)HAL_PAGE_SIZE) | PROT_RW;
        }
        uint64_t *pdpt = table_at(&pml4[0]);
        table_at(&pdpt[(a / GIB) % ENTRIES])[(a / MIB2) % ENTRIES] = (uint64_t)pt | PTE_PRESENT | PTE_WRITE | PTE_USER;
    }
    boot_arena_start = monitor_arena_start = start;
    boot_arena_end = monitor_arena_end = start + size;
    monitor_arena_ptes = (uint64_t)first;
    // The gap between the tables and the arena stays usable as RAM of its own.
    hal_assert(boot_ram_count < BOOT_RAM_MAX);
    for (unsigned i = boot_ram_count++; i > 1; i--) {
        boot_ram[i] = boot_ram[i - 1];
    }
    boot_ram[1] = (boot_ram_t){start + size, boot_ram[0].end};
    boot_ram[0].end = start;
}

// Ring 0 never executes ring-3 pages (SMEP), ring 3 cannot ask where the descriptor tables are (UMIP).
static uint64_t cr4_hardening(void) {
    enum { CPUID_SMEP_BIT = 7, CPUID_UMIP_BIT = 2, CR4_SMEP_BIT = 20, CR4_UMIP_BIT = 11 };
    uint32_t max[4], r[4];
    hal_cpuid(0, 0, max);
    if (max[0] < 7) {
        return 0;
    }
    hal_cpuid(7, 0, r);
    return (r[1] & BIT64(CPUID_SMEP_BIT) ? BIT64(CR4_SMEP_BIT) : 0) |
           (r[2] & BIT64(CPUID_UMIP_BIT) ? BIT64(CR4_UMIP_BIT) : 0);
}

void boot_paging(size_t arena_pages) {
    uint64_t ram_end = boot_ram[boot_ram_count - 1].end;
    hal_assert(ram_end <= MAPPED_MAX);
    uint64_t tables = FIXED_TABLES + (floe_app.appended != 0) + 2 * (boot_ram_count + boot_module_count) +
                      (ram_end + GIB - 1) / GIB + arena_pages / ENTRIES + 1;
    uint64_t pool_start = pool_next = boot_ram[0].start;
    pool_end = pool_start + tables * HAL_PAGE_SIZE;
    hal_assert(pool_end < boot_ram[0].end);
    uint64_t *pml4 = new_table();
    boot_ram[0].start = pool_end;
    for (unsigned i = 0; i < boot_ram_count; i++) {
        map(pml4, boot_ram[i].start, boot_ram[i].end, PROT_RW);
    }
    uint64_t mmio_start = MMIO_START;
    for (unsigned i = 0; i < boot_ram_count; i++) {
        if (boot_ram[i].end > mmio_start && boot_ram[i].end <= MMIO_END) {
            mmio_start = (boot_ram[i].end + MIB2 - 1) & ~(MIB2 - 1);
        }
    }
    map(pml4, mmio_start, MMIO_END, PROT_MMIO);
    if (hal_cpu_hypervisor() == HAL_HV_XEN) {
        map(pml4, XEN_PAGES_START, XEN_PAGES_END, PROT_RW);
    }
    for (unsigned i = 0; i < boot_module_count; i++) {
        map(pml4, boot_module[i].start & ~(uint64_t)(HAL_PAGE_SIZE - 1), boot_module[i].end, PROT_R);
    }
    map_image(pml4);
    map_arena(pml4, arena_pages);
    map(pml4, pool_start, pool_end, PROT_MONITOR_RW);
    hal_assert(monitor_call(MONITOR_LOCK, (long)pml4, (long)cr4_hardening(), 0) == 0);
}
