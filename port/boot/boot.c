// SPDX-License-Identifier: MIT
// First C code: reads the PVH start info (Xen public/arch-x86/hvm/start_info.h describes it), copies what
// is needed out of memory that is about to be reused, and enters main(). Owns boot_ram and boot_cmdline.
// Not here: page tables (paging.c), devices. Context: ring 3, once, on the boot page tables.

#include "boot.h"

#include <string.h>

#include "../app.h"
#include "../hal/hal.h"
#include "../monitor/monitor.h"

enum { PVH_MAGIC = 0x336ec578, PVH_RAM = 1, LOW_MEMORY_END = 0x100000 };

typedef struct {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp;
    uint64_t memmap; // from version 1 on
    uint32_t memmap_entries, reserved;
} pvh_start_info_t;
_Static_assert(sizeof(pvh_start_info_t) == 56, "hvm_start_info version 1");

typedef struct {
    uint64_t addr, size;
    uint32_t type, reserved;
} pvh_memmap_entry_t;

typedef struct {
    uint64_t addr, size, cmdline, reserved;
} pvh_module_t;

boot_ram_t boot_ram[BOOT_RAM_MAX];
unsigned boot_ram_count;
uint64_t boot_ram_total;
char boot_cmdline[BOOT_CMDLINE_MAX];
bool boot_cmdline_cut;
boot_ram_t boot_module[BOOT_MODULE_MAX];
unsigned boot_module_count;

static const char hypervisor_word[] = "virtio_mmio.device=";

int main(void);
_Noreturn void boot_start(void);

#define PAGE_DOWN(a) ((a) & ~(uint64_t)(HAL_PAGE_SIZE - 1))
#define PAGE_UP(a) PAGE_DOWN((a) + HAL_PAGE_SIZE - 1)

static void add_ram(uint64_t start, uint64_t end) {
    boot_ram_total += end - start;
    uint64_t image_end = (uint64_t)link_end + floe_app.appended;
    if (start <= (uint64_t)link_start && end > (uint64_t)link_start) {
        start = image_end;
    }
    if (start < LOW_MEMORY_END) {
        start = LOW_MEMORY_END;
    }
    start = PAGE_UP(start);
    end = PAGE_DOWN(end);
    if (start < end && boot_ram_count < BOOT_RAM_FOUND) {
        boot_ram[boot_ram_count++] = (boot_ram_t){start, end};
    }
}

// Take [start, end) out of the free RAM; it lies inside one region, or outside all.
static void reserve(uint64_t start, uint64_t end) {
    for (unsigned i = 0; i < boot_ram_count; i++) {
        boot_ram_t r = boot_ram[i];
        if (start >= r.end || end <= r.start) {
            continue;
        }
        boot_ram[i].end = start > r.start ? start : r.start;
        if (end < r.end && boot_ram_count < BOOT_RAM_FOUND) {
            boot_ram[boot_ram_count++] = (boot_ram_t){end, r.end};
        }
    }
}

static void add_modules(const pvh_module_t *list, uint32_t count) {
    for (uint32_t i = 0; i < count && boot_module_count < BOOT_MODULE_MAX; i++) {
        if (list[i].size > 0) {
            boot_module[boot_module_count++] = (boot_ram_t){list[i].addr, list[i].addr + list[i].size};
            reserve(PAGE_DOWN(list[i].addr), PAGE_UP(list[i].addr + list[i].size));
        }
    }
}

static void drop_empty_ram(void) {
    unsigned kept = 0;
    for (unsigned i = 0; i < boot_ram_count; i++) {
        if (boot_ram[i].start < boot_ram[i].end) {
            boot_ram[kept++] = boot_ram[i];
        }
    }
    boot_ram_count = kept;
}

// QEMU's microvm appends its devices to the end, behind the script's arguments: they are put in front.
static void copy_cmdline(const char *from) {
    size_t end = strnlen(from, sizeof(boot_cmdline) - 2), tail = end;
    boot_cmdline_cut = from[end] != '\0';
    while (tail > 0) {
        size_t word = tail;
        while (word > 0 && from[word - 1] == ' ') {
            word--;
        }
        while (word > 0 && from[word - 1] != ' ') {
            word--;
        }
        if (strncmp(from + word, hypervisor_word, sizeof(hypervisor_word) - 1) != 0) {
            break;
        }
        tail = word;
    }
    memcpy(boot_cmdline, from + tail, end - tail);
    boot_cmdline[end - tail] = ' ';
    memcpy(boot_cmdline + end - tail + 1, from, tail);
}

// Hypercalls are ring 0's: the monitor makes them, by the instruction that this maker's processor has.
static void find_xen(void) {
    enum { EBX_AUTH = 0x68747541, EBX_HYGO = 0x6f677948 };
    if (hal_cpu_hypervisor() == HAL_HV_XEN) {
        uint32_t r[4];
        hal_cpuid(0, 0, r);
        monitor_hypercalls = r[1] == EBX_AUTH || r[1] == EBX_HYGO ? MONITOR_VMMCALL : MONITOR_VMCALL;
    }
}

static void sort_ram(void) {
    for (unsigned i = 1; i < boot_ram_count; i++) {
        for (unsigned j = i; j > 0 && boot_ram[j].start < boot_ram[j - 1].start; j--) {
            boot_ram_t t = boot_ram[j];
            boot_ram[j] = boot_ram[j - 1];
            boot_ram[j - 1] = t;
        }
    }
}

_Noreturn void boot_start(void) {
    boot_canary();
    boot_faults();
    monitor_idt_init();
    __asm__ volatile("fninit"); // after a reset the x87 counts in single precision
    const pvh_start_info_t *si = (const pvh_start_info_t *)boot_start_info;
    hal_assert(si != NULL && si->magic == PVH_MAGIC && si->version >= 1);
    if (si->cmdline != 0) {
        copy_cmdline((const char *)si->cmdline);
    }
    const pvh_memmap_entry_t *map = (const pvh_memmap_entry_t *)si->memmap;
    for (uint32_t i = 0; i < si->memmap_entries; i++) {
        if (map[i].type == PVH_RAM) {
            add_ram(map[i].addr, map[i].addr + map[i].size);
        }
    }
    add_modules((const pvh_module_t *)si->modlist, si->nr_modules);
    drop_empty_ram();
    sort_ram();
    hal_assert(boot_ram_count > 0);
    find_xen();
    boot_acpi_read(monitor_hypercalls != 0 ? 0 : si->rsdp); // Xen has ways of its own for all that they tell
    boot_place();
    boot_paging(floe_app.arena_pages);
}

_Noreturn void boot_go_on(int refused) {
    hal_assert(refused == 0);
    main();
    hal_exit(0);
}
