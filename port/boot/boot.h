// SPDX-License-Identifier: MIT
// What boot leaves for the HAL: the PVH start info, copied before its memory is reused, and the RAM that
// is free once the page tables stand. Context: written by boot_start(), read-only afterwards.

#ifndef FLOE_BOOT_H
#define FLOE_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// BOOT_RAM_FOUND: regions that are taken note of; dividing them makes more.
enum { BOOT_RAM_MAX = 20, BOOT_RAM_FOUND = 16, BOOT_MODULE_MAX = 4, BOOT_CMDLINE_MAX = 4096 };

typedef struct {
    uint64_t start, end; // bytes, page aligned, end exclusive
} boot_ram_t;

extern uint64_t boot_start_info; // physical address, from ebx
extern uint64_t boot_entry_tsc;  // cycle counter at kernel entry
// Addresses are physical until boot_go_on(), then ring 3's.
// Free RAM. Until boot_paging() it ascends, and boot_ram[0] begins right after the image. Then the C heap's comes first
// and that for devices last, each with an unmapped page towards the rest.
extern boot_ram_t boot_ram[BOOT_RAM_MAX];
extern unsigned boot_ram_count;
extern uint64_t boot_ram_total; // bytes of RAM the machine has
extern char boot_cmdline[BOOT_CMDLINE_MAX];
extern bool boot_cmdline_cut; // the host's was longer

// Files the hypervisor loaded beside the kernel (QEMU's -initrd): exact bounds, mapped read-only, never reused.
extern boot_ram_t boot_module[BOOT_MODULE_MAX];
extern unsigned boot_module_count;

// What ACPI's tables say of the machine: each value was checked to be possible, and is 0 where there is none.
enum { BOOT_VIRTIO_MAX = 24, BOOT_IOAPIC_MAX = 4 };
typedef struct {
    uint32_t base, size; // registers
    uint32_t gsi;        // the interrupt; of an I/O APIC: its first one
} boot_registers_t;
typedef struct {
    uint32_t button;        // a port, where button_enable is one, too; else the address of a register
    uint16_t button_enable; // PM1's port of what may interrupt
    uint16_t button_events; // the bits of both that are the power button's
    uint32_t button_gsi;
    uint32_t sleep_control;                  // register that ends the VM
    uint8_t sleep_type;                      // and what for
    uint32_t pci_config, pci_start, pci_end; // configuration space; memory for BARs, the last byte included
    uint32_t iommu;                          // its registers, of HAL_PAGE_SIZE
    unsigned ioapic_count, virtio_count;
    boot_registers_t ioapic[BOOT_IOAPIC_MAX], virtio[BOOT_VIRTIO_MAX]; // there is one I/O APIC at least
} boot_acpi_t;
extern boot_acpi_t boot_acpi;
void boot_acpi_read(uint64_t rsdp);

// A device's registers, until the boot page tables go; once, and none of a GiB with tables that ACPI has.
volatile void *boot_reach(uint64_t registers);

// Stack of the interpreter, and that of a panic.
extern char boot_stack_bottom[], boot_stack_top[], boot_panic_stack_top[];

// Borders of the sections (link.ld).
extern char link_start[], link_text[], link_rodata[], link_monitor[], link_data[], link_monitor_ro[],
    link_monitor_bss[], link_end[];

// The part of RAM whose pages MONITOR_PROTECT may turn executable; start == end without one.
extern uint64_t boot_arena_start, boot_arena_end;

// Draw the canary of this boot. Before it, no function that returns may have arrays.
void boot_canary(void);

// 64 random bits, by RDRAND where the processor has it; without, few of them are, but the ones that it has are fresh.
uint64_t boot_random(void);

// Draw hal_ram_offset; "floe.aslr=0" on the command line leaves it 0.
void boot_place(void);

// Tell the monitor where a fault goes on.
void boot_faults(void);
_Noreturn void hal_fault_entry(void); // panic.c: from ring 0, on the panic's stack

// Build the final page tables behind the image, give them to the monitor and go on in boot_go_on(), at the addresses
// that they have. Takes its memory from boot_ram[0]. arena_pages: pages to set aside for native code.
_Noreturn void boot_paging(size_t arena_pages);

// A page for tables, zeroed, which ring 3 loses with the lock.
uint64_t *boot_new_table(void);

// Where boot_acpi.iommu is 0 these do nothing. Let devices reach the physical [start, end), and have the IOMMU, from
// start() on, keep them from all else; PANIC if it does not.
enum { BOOT_DMA_READ = 1, BOOT_DMA_WRITE = 2, BOOT_DMA_BOTH = 3 };
void boot_iommu_map(uint64_t start, uint64_t end, unsigned rights);
void boot_iommu_start(void);

// Move the image's addresses, switch to the tables, with these bits of CR4 besides.
_Noreturn void boot_enter(uint64_t pml4, uint64_t cr4);
_Noreturn void boot_go_on(int refused); // refused: the monitor's answer, 0

#endif
