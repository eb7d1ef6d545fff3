// SPDX-License-Identifier: MIT
// What boot leaves for the HAL: the PVH start info, copied before its memory is reused, and the RAM that
// is free once the page tables stand. Context: written by boot_start(), read-only afterwards.

#ifndef FLOE_BOOT_H
#define FLOE_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BOOT_RAM_MAX = 16, BOOT_MODULE_MAX = 4, BOOT_CMDLINE_MAX = 4096 };

typedef struct {
    uint64_t start, end; // bytes, page aligned, end exclusive
} boot_ram_t;

extern uint64_t boot_start_info;          // physical address, from ebx
extern uint64_t boot_entry_tsc;           // cycle counter at kernel entry
extern boot_ram_t boot_ram[BOOT_RAM_MAX]; // free RAM, ascending; boot_ram[0] begins right after the image
extern unsigned boot_ram_count;
extern uint64_t boot_ram_total; // bytes of RAM the machine has
extern char boot_cmdline[BOOT_CMDLINE_MAX];
extern bool boot_cmdline_cut; // the host's was longer

// Files the hypervisor loaded beside the kernel (QEMU's -initrd): exact bounds, mapped read-only, never reused.
extern boot_ram_t boot_module[BOOT_MODULE_MAX];
extern unsigned boot_module_count;

// Stack of the interpreter.
extern char boot_stack_bottom[], boot_stack_top[];

// Borders of the sections (link.ld).
extern char link_start[], link_text[], link_rodata[], link_monitor[], link_data[], link_monitor_ro[],
    link_monitor_bss[], link_end[];

// The part of RAM whose pages MONITOR_PROTECT may turn executable; start == end without one.
extern uint64_t boot_arena_start, boot_arena_end;

// Build the final page tables behind the image, give them to the monitor and enter them. Takes its
// memory from boot_ram[0]. arena_pages: pages to set aside for native code.
void boot_paging(size_t arena_pages);

#endif
