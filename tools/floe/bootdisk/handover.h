// SPDX-License-Identifier: MIT
// A small kernel between a boot loader that speaks Multiboot2 and an image that starts by PVH: how it is entered, what it
// leaves. Context: once, before the image's first instruction, in 32-bit protected mode without paging.

#ifndef FLOE_HANDOVER_H
#define FLOE_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

enum { HANDOVER_MAGIC = 0x36d76289, HANDOVER_CMDLINE_MAX = 4096, HANDOVER_RAM_MAX = 8, HANDOVER_RSDP_MAX = 64 };

// xen/include/public/arch-x86/hvm/start_info.h, version 1, with what it points to behind it.
typedef struct {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
} handover_info_t;
_Static_assert(sizeof(handover_info_t) == 56, "hvm_start_info version 1");

typedef struct {
    uint64_t start, size;
    uint32_t type, reserved;
} handover_ram_t;
_Static_assert(sizeof(handover_ram_t) == 24, "hvm_memmap_table_entry");

typedef struct {
    handover_info_t info;
    handover_ram_t ram[HANDOVER_RAM_MAX];
    uint8_t rsdp[HANDOVER_RSDP_MAX];
    char cmdline[HANDOVER_CMDLINE_MAX];
} handover_t;

// Put the image, the loader's only module, where its segments belong, and fill in `out` (at the physical address
// `out_at`) for it. eax, ebx: what the loader left there. Returns NULL and *entry, or what is wrong, without having
// moved anything.
const char *handover_place(uint32_t eax, uint32_t ebx, handover_t *out, uint32_t out_at, uint32_t *entry);

#endif
