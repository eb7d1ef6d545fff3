// SPDX-License-Identifier: MIT
// PVH start info: any map of memory whose pieces do not overlap, modules anywhere, a command line; what comes out is
// free memory that nothing else has, mapped for data only, wherever ring 3 is to lie. port/boot/boot.c, paging.c. RAM
// that tables are put into is mapped at its own address here, too.

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "app.h"
#include "monitor/monitor.h"
#include "world.h"

static floe_app_t fake_app;
static uint64_t locked_pml4;

#define main floe_main
#define floe_app fake_app
#include "boot/boot.c"
#include "boot/paging.c"
#undef main

enum { MAP_START = 0x110000, MAP_END = 0x10000000, MIB = 1 << 20, ENTRIES_MOST = 24, MODULES_MOST = 6 };

uint64_t boot_start_info, boot_entry_tsc, monitor_arena_start, monitor_arena_end, monitor_arena_ptes,
    monitor_arena_offset;
uintptr_t hal_ram_offset;
uint8_t monitor_hypercalls;
static bool xen;

void monitor_idt_init(void) {}
void boot_canary(void) {}
void boot_faults(void) {}

void boot_place(void) {
    uint32_t steps = in_u32(); // none: not moved
    hal_ram_offset = steps == 0 ? 0 : ((1u << 18) + steps % ((1u << 25) - (1u << 18))) * MIB2;
}

_Noreturn void boot_enter(uint64_t pml4, uint64_t cr4) {
    (void)cr4;
    locked_pml4 = pml4;
    boot_go_on(0);
}

void boot_acpi_read(uint64_t rsdp) { (void)rsdp; }
boot_acpi_t boot_acpi; // a machine without IOMMU: tests/c/port/boot.c has one
void boot_iommu_map(uint64_t start, uint64_t end, unsigned rights) { (void)start, (void)end, (void)rights; }
void boot_iommu_start(void) {}
void hal_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4]) { memset(r, (int)(leaf + subleaf), 16); }
hal_hv_t hal_cpu_hypervisor(void) { return xen ? HAL_HV_XEN : HAL_HV_NONE; }
_Noreturn void hal_exit(int code) {
    (void)code;
    __builtin_trap();
}
_Noreturn void hal_panic(const char *fmt, ...) { // the map is refused
    (void)fmt;
    fuzz_leave();
}

// The entry that an address has; 0: none.
static uint64_t leaf_of(uint64_t a) {
    uint64_t e = ((uint64_t *)locked_pml4)[a / PML4E_SPAN];
    for (unsigned shift = 30; (e & PTE_PRESENT) != 0; shift -= 9) {
        e = ((uint64_t *)(e & PTE_ADDR))[(a >> shift) % ENTRIES];
        if (shift == 12 || (e & PTE_LARGE) != 0) {
            return e;
        }
    }
    return 0;
}

int floe_main(void) {
    uint64_t first = (uint64_t)link_end + hal_ram_offset;
    for (unsigned i = 0; i < boot_ram_count; i++) {
        boot_ram_t r = boot_ram[i];
        printf("free %llx to %llx\n", (unsigned long long)r.start, (unsigned long long)r.end);
        FUZZ_CHECK(r.start >= first && r.start < r.end);
        FUZZ_CHECK(leaf_of(r.end) == 0 || i != 0 || boot_ram_count == 1);           // a guard page ends the C heap's
        FUZZ_CHECK(leaf_of(r.start - 1) == 0 || i == 0 || i + 1 != boot_ram_count); // and begins what is for devices
        FUZZ_CHECK(((r.start | r.end) & (HAL_PAGE_SIZE - 1)) == 0);
        for (unsigned k = 0; k < i; k++) {
            FUZZ_CHECK(boot_ram[k].end <= r.start || boot_ram[k].start >= r.end);
        }
        for (uint64_t at = r.start; r.start < r.end; at = r.end - HAL_PAGE_SIZE) {
            uint64_t e = leaf_of(at);
            FUZZ_CHECK((e & (PTE_PRESENT | PTE_USER | PTE_WRITE | PTE_NX)) ==
                       (PTE_PRESENT | PTE_USER | PTE_WRITE | PTE_NX));
            uint64_t there = at - hal_ram_offset;
            FUZZ_CHECK((e & PTE_ADDR & ~(HAL_PAGE_SIZE - 1ull)) == (e & PTE_LARGE ? there & ~(MIB2 - 1) : there));
            if (at == r.end - HAL_PAGE_SIZE) {
                break;
            }
        }
        for (unsigned k = 0; k < boot_module_count; k++) {
            FUZZ_CHECK(boot_module[k].end <= r.start || boot_module[k].start >= r.end);
        }
    }
    for (unsigned k = 0; k < boot_module_count; k++) {
        FUZZ_CHECK((leaf_of(boot_module[k].start) & (PTE_PRESENT | PTE_WRITE | PTE_NX)) == (PTE_PRESENT | PTE_NX));
    }
    FUZZ_CHECK(hal_ram_offset == 0 || leaf_of(locked_pml4 + hal_ram_offset) == 0);
    FUZZ_CHECK(leaf_of(0) == 0 && (leaf_of(locked_pml4) & PTE_USER) == 0);
    FUZZ_CHECK(strnlen(boot_cmdline, sizeof boot_cmdline) < sizeof boot_cmdline);
    fuzz_leave();
}

// The memory of a machine: from 1 MiB on to at least 3, and then pieces with gaps of any size.
static uint32_t memory_map(pvh_memmap_entry_t *e) {
    e[0] = (pvh_memmap_entry_t){0, 0x9fc00, PVH_RAM, 0};
    e[1] = (pvh_memmap_entry_t){MIB, 2ull * MIB + in_u32() % (MAP_END - 3 * MIB), PVH_RAM, 0};
    uint64_t at = e[1].addr + e[1].size;
    uint32_t n = 2;
    for (unsigned more = in_below(ENTRIES_MOST - 2); more > 0; more--) {
        at += (uint64_t)in_u16() << in_below(24);
        e[n] = (pvh_memmap_entry_t){at, (uint64_t)in_u16() << in_below(16), in_one_of(4) ? in_u8() : PVH_RAM, 0};
        at += e[n++].size;
    }
    return n;
}

void fuzz_one(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    void *want = (void *)MAP_START;
    FUZZ_CHECK(mmap(want, MAP_END - MAP_START, PROT_READ | PROT_WRITE, flags, -1, 0) == want); // zeros, each time
    static pvh_memmap_entry_t memmap[ENTRIES_MOST];
    static pvh_module_t modules[MODULES_MOST];
    pvh_start_info_t info = {.magic = PVH_MAGIC, .version = 1, .memmap = (uint64_t)(uintptr_t)memmap};
    xen = in_u8() & 1;
    fake_app.arena_pages = in_one_of(2) ? in_u16() : 0;
    fake_app.appended = in_one_of(2) ? in_u16() : 0;
    info.memmap_entries = memory_map(memmap);
    for (unsigned i = 0; i < info.memmap_entries; i++) {
        printf("map %llx + %llx, %u\n", (unsigned long long)memmap[i].addr, (unsigned long long)memmap[i].size,
               memmap[i].type);
    }
    info.nr_modules = in_below(MODULES_MOST + 1);
    info.modlist = (uint64_t)(uintptr_t)modules;
    uint64_t at = 4ull * MIB;
    for (unsigned i = 0; i < info.nr_modules; i++) { // behind the image and the tables, as loaders do
        at += (uint64_t)in_u16() << in_below(20);
        modules[i] = (pvh_module_t){at, (uint64_t)in_u16() << in_below(12), 0, 0};
        printf("module %llx + %llx\n", (unsigned long long)at, (unsigned long long)modules[i].size);
        at += modules[i].size;
    }
    size_t len;
    uint8_t *line = in_rest(5000, &len);
    if (len > 0) {
        line[len - 1] = 0;
        info.cmdline = (uint64_t)(uintptr_t)line;
    }
    boot_start_info = (uint64_t)(uintptr_t)&info;
    boot_start();
}
