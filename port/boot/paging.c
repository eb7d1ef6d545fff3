// SPDX-License-Identifier: MIT
// The final page tables (Intel SDM vol. 3, 4.5): every page writable or executable or neither, never both. RAM is
// mapped once for ring 3, hal_ram_offset above its physical addresses; the monitor's part of the image and the tables
// for ring 0 alone, and the registers of devices, where they are. Owns the tables until the monitor takes them. Not
// here: changes at run time (the monitor's PROTECT service). Context: ring 3 at boot, at native speed, before
// MONITOR_LOCK.

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
#define HPET 0xfed00000ull
#define XEN_PAGES_START \
    0xfeff8000ull // pages that Xen shares with a guest: memory, not registers (its hvm_info_table.h)
#define XEN_PAGES_END 0xff000000ull
#define PML4E_SPAN (512 * GIB)
#define RAM_MAX PML4E_SPAN

enum { ENTRIES = 512, FIXED_TABLES = 31, GUARD_TABLES = 4, IOMMU_TABLES = 12 };

// Of the largest region, the C heap has this part at its start, and what devices are given this one at its end: what
// one or two network cards take. Python's heap is between them; what outgrows its part goes on in another (hal/mem.c).
enum { C_HEAP_DIVISOR = 4, DEVICES_DIVISOR = 16, GUARD = HAL_PAGE_SIZE };
#define DEVICES_MAX (16ull << 20)
#define PARTED_ABOVE (64ull << 10)     // bytes of a region worth it: each part has a page, past its guard
#define LARGE_PAGES_FROM (16ull << 20) // from here on Python's part ends where a large page does

extern char boot_guard0[], boot_guard1[];
uint64_t boot_arena_start, boot_arena_end;

static uint64_t pool_next, pool_end;

uint64_t *boot_new_table(void) {
    hal_assert(pool_next < pool_end);
    uint64_t *t = (uint64_t *)pool_next;
    pool_next += HAL_PAGE_SIZE;
    memset(t, 0, HAL_PAGE_SIZE);
    return t;
}

static uint64_t *table_at(uint64_t *entry) {
    if (!(*entry & PTE_PRESENT)) {
        *entry = (uint64_t)boot_new_table() | PTE_PRESENT | PTE_WRITE | PTE_USER;
    }
    return (uint64_t *)(*entry & PTE_ADDR);
}

static uint64_t *pde_of(uint64_t *pml4, uint64_t a) {
    uint64_t *pdpt = table_at(&pml4[a / PML4E_SPAN]);
    return &table_at(&pdpt[(a / GIB) % ENTRIES])[(a / MIB2) % ENTRIES];
}

static uint64_t *pte_of(uint64_t *pml4, uint64_t a) {
    uint64_t *pde = pde_of(pml4, a);
    if (*pde & PTE_LARGE) { // split: the small pages take over the large one's rights
        uint64_t base = *pde & PTE_ADDR, prot = *pde & ~(PTE_ADDR | PTE_LARGE);
        uint64_t *pt = boot_new_table();
        for (unsigned i = 0; i < ENTRIES; i++) {
            pt[i] = (base + i * (uint64_t)HAL_PAGE_SIZE) | prot;
        }
        *pde = (uint64_t)pt | PTE_PRESENT | PTE_WRITE | PTE_USER;
    }
    return &table_at(pde)[(a / HAL_PAGE_SIZE) % ENTRIES];
}

// Map the physical [start, end) with prot, offset further up; 0 unmaps. Large pages where they fit.
static void map(uint64_t *pml4, uint64_t start, uint64_t end, uint64_t offset, uint64_t prot) {
    for (uint64_t a = start; a < end;) {
        if (a % MIB2 == 0 && end - a >= MIB2 && prot != 0) {
            *pde_of(pml4, a + offset) = a | prot | PTE_LARGE;
            a += MIB2;
        } else {
            *pte_of(pml4, a + offset) = prot ? a | prot : 0;
            a += HAL_PAGE_SIZE;
        }
    }
}

// Without an offset, ring 3's right to a page that both have counts: its parts come last.
static void map_image(uint64_t *pml4) {
    char *shared = (char *)((uint64_t)&monitor_pending & ~(uint64_t)(HAL_PAGE_SIZE - 1));
    const struct {
        char *start, *end;
        uint64_t offset, prot;
    } part[] = {
        {link_start, link_text, 0, PROT_MONITOR_RX},
        {link_monitor, link_data, 0, PROT_MONITOR_RW},
        {link_monitor_bss, link_end, 0, PROT_MONITOR_RW},
        {shared, shared + HAL_PAGE_SIZE, 0, PROT_MONITOR_RW},
        {link_text, link_rodata, hal_ram_offset, PROT_RX},
        {link_rodata, link_monitor, hal_ram_offset, PROT_R},
        {link_data, link_monitor_ro, hal_ram_offset, PROT_RW},
        {link_monitor_ro, link_monitor_bss, hal_ram_offset, PROT_R},
        {boot_guard0, boot_guard0 + HAL_PAGE_SIZE, hal_ram_offset, 0},
        {boot_guard1, boot_guard1 + HAL_PAGE_SIZE, hal_ram_offset, 0},
        {link_end, link_end + floe_app.appended, hal_ram_offset, PROT_R},
    };
    for (unsigned i = 0; i < HAL_ARRAY_LEN(part); i++) {
        map(pml4, (uint64_t)part[i].start, (uint64_t)part[i].end, part[i].offset, part[i].prot);
    }
}

static void insert_ram(unsigned at, boot_ram_t region) {
    hal_assert(boot_ram_count < BOOT_RAM_MAX);
    for (unsigned i = boot_ram_count++; i > at; i--) {
        boot_ram[i] = boot_ram[i - 1];
    }
    boot_ram[at] = region;
}

// The native code arena: small pages whose entries lie in consecutive tables, as MONITOR_PROTECT expects, between two
// unmapped ones.
static void map_arena(uint64_t *pml4, size_t pages) {
    uint64_t size = (pages * (uint64_t)HAL_PAGE_SIZE + MIB2 - 1) & ~(MIB2 - 1);
    uint64_t start = (boot_ram[0].start + GUARD + MIB2 - 1) & ~(MIB2 - 1);
    if (pages == 0 || start + 2 * size > boot_ram[0].end) {
        return;
    }
    uint64_t *first = boot_new_table();
    for (uint64_t a = start; a < start + size; a += MIB2) {
        uint64_t *pt = a == start ? first : boot_new_table();
        for (unsigned i = 0; i < ENTRIES; i++) {
            pt[i] = (a + i * (uint64_t)HAL_PAGE_SIZE) | PROT_RW;
        }
        *pde_of(pml4, a + hal_ram_offset) = (uint64_t)pt | PTE_PRESENT | PTE_WRITE | PTE_USER;
    }
    boot_arena_start = monitor_arena_start = start + hal_ram_offset;
    boot_arena_end = monitor_arena_end = start + size + hal_ram_offset;
    monitor_arena_ptes = (uint64_t)first;
    monitor_arena_offset = hal_ram_offset;
    // The gap between the tables and the arena stays usable as RAM of its own.
    insert_ram(1, (boot_ram_t){start + size + GUARD, boot_ram[0].end});
    boot_ram[0].end = start - GUARD;
    map(pml4, start - GUARD, start, hal_ram_offset, 0);
    map(pml4, start + size, start + size + GUARD, hal_ram_offset, 0);
}

// The C heap's part of RAM and the devices', each with an unmapped page towards the rest.
static void part_ram(uint64_t *pml4) {
    unsigned largest = 0;
    for (unsigned i = 1; i < boot_ram_count; i++) {
        if (boot_ram[i].end - boot_ram[i].start > boot_ram[largest].end - boot_ram[largest].start) {
            largest = i;
        }
    }
    boot_ram_t all = boot_ram[largest];
    uint64_t size = all.end - all.start, for_devices = size / DEVICES_DIVISOR;
    if (size <= PARTED_ABOVE) {
        return;
    }
    for_devices = for_devices < DEVICES_MAX ? for_devices : DEVICES_MAX;
    uint64_t unit = size < LARGE_PAGES_FROM ? HAL_PAGE_SIZE : MIB2;
    uint64_t c_heap_end = (all.start + size / C_HEAP_DIVISOR) & ~(uint64_t)(HAL_PAGE_SIZE - 1);
    uint64_t python_end = (all.end - for_devices) & ~(unit - 1);
    map(pml4, c_heap_end, c_heap_end + GUARD, hal_ram_offset, 0);
    map(pml4, python_end, python_end + GUARD, hal_ram_offset, 0);
    boot_ram[largest] = (boot_ram_t){c_heap_end + GUARD, python_end};
    insert_ram(0, (boot_ram_t){all.start, c_heap_end});
    insert_ram(boot_ram_count, (boot_ram_t){python_end + GUARD, all.end});
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

static uint64_t first_page(boot_ram_t file) { return file.start & ~(uint64_t)(HAL_PAGE_SIZE - 1); }

// What ring 3 may write devices may, and what it may read, but for code and the arena's pages, which become code.
static void map_for_devices(void) {
    boot_iommu_map((uint64_t)link_rodata, (uint64_t)link_monitor, BOOT_DMA_READ);
    boot_iommu_map((uint64_t)link_data, (uint64_t)link_monitor_ro, BOOT_DMA_BOTH);
    boot_iommu_map((uint64_t)link_end, (uint64_t)link_end + floe_app.appended, BOOT_DMA_READ);
    for (unsigned i = 0; i < boot_module_count; i++) {
        boot_iommu_map(first_page(boot_module[i]), boot_module[i].end, BOOT_DMA_READ);
    }
    for (unsigned i = 0; i < boot_ram_count; i++) {
        boot_iommu_map(boot_ram[i].start, boot_ram[i].end, BOOT_DMA_BOTH);
    }
    boot_iommu_start();
}

// The tables themselves, which may take some more. What is left is RAM; but devices do not reach it.
static void map_tables(uint64_t *pml4, uint64_t start) {
    for (uint64_t a = start; a < pool_next; a += HAL_PAGE_SIZE) {
        *pte_of(pml4, a + hal_ram_offset) = 0;
        *pte_of(pml4, a) = a | PROT_MONITOR_RW;
    }
    for (unsigned i = 0; i < boot_ram_count && boot_acpi.iommu == 0; i++) {
        if (boot_ram[i].start == pool_end) {
            boot_ram[i].start = pool_next;
        }
    }
}

static void move_up(boot_ram_t *r, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        r[i].start += hal_ram_offset;
        r[i].end += hal_ram_offset;
    }
}

_Noreturn void boot_paging(size_t arena_pages) {
    uint64_t ram_end = boot_ram[boot_ram_count - 1].end;
    hal_assert(ram_end <= RAM_MAX);
    uint64_t of_ram = 2 * (boot_ram_count + boot_module_count) + (ram_end + GIB - 1) / GIB + GUARD_TABLES;
    uint64_t tables = FIXED_TABLES + (floe_app.appended != 0) + of_ram + arena_pages / ENTRIES + 1 +
                      (boot_acpi.iommu != 0 ? IOMMU_TABLES + of_ram : 0);
    uint64_t pool_start = pool_next = boot_ram[0].start;
    pool_end = pool_start + tables * HAL_PAGE_SIZE;
    hal_assert(pool_end < boot_ram[0].end);
    uint64_t *pml4 = boot_new_table();
    for (unsigned i = 0; i < boot_ram_count; i++) {
        map(pml4, boot_ram[i].start, boot_ram[i].end, hal_ram_offset, PROT_RW);
    }
    boot_ram[0].start = pool_end;
    uint64_t mmio_start = MMIO_START;
    for (unsigned i = 0; i < boot_ram_count; i++) {
        if (boot_ram[i].end > mmio_start && boot_ram[i].end <= MMIO_END) {
            mmio_start = (boot_ram[i].end + MIB2 - 1) & ~(MIB2 - 1);
        }
    }
    map(pml4, mmio_start, MMIO_END, 0, PROT_MMIO);
    if (boot_acpi.iommu != 0) { // the timer's interrupts are writes to wherever it is told to, past the IOMMU
        map(pml4, boot_acpi.iommu, boot_acpi.iommu + HAL_PAGE_SIZE, 0, 0);
        map(pml4, HPET, HPET + HAL_PAGE_SIZE, 0, 0);
    }
    if (hal_cpu_hypervisor() == HAL_HV_XEN) {
        map(pml4, XEN_PAGES_START, XEN_PAGES_END, 0, PROT_RW);
    }
    for (unsigned i = 0; i < boot_module_count; i++) {
        map(pml4, first_page(boot_module[i]), boot_module[i].end, hal_ram_offset, PROT_R);
    }
    map_image(pml4);
    map_arena(pml4, arena_pages);
    part_ram(pml4);
    map_for_devices();
    map_tables(pml4, pool_start);
    move_up(boot_ram, boot_ram_count);
    move_up(boot_module, boot_module_count);
    boot_enter((uint64_t)pml4, cr4_hardening());
}
