// SPDX-License-Identifier: MIT
// PCI configuration space by mechanism 1 or, on a machine without its ports, in memory (PCI Express 4.0, 7.2.2),
// assignment of memory BARs (PCI Local Bus 3.0, 3.2.2.3, 6.2.5) and of bridges' memory windows (PCI-to-PCI Bridge 1.2,
// 3.2.5.8), where the firmware left that to us. Owns the part of the 32-bit MMIO window it hands out.
// Not here: capabilities (the drivers'). Context: ring 3, at probe.

#include "../boot/boot.h"
#include "internal.h"

enum {
    CONFIG_ADDRESS = 0xcf8,
    CONFIG_DATA = 0xcfc,
    REG_ID = 0x00,
    REG_COMMAND = 0x04,
    REG_HEADER = 0x0c,
    REG_BAR0 = 0x10,
    REG_BRIDGE_BUSES = 0x18,
    REG_BRIDGE_MEMORY = 0x20, // bits 31 to 20 of the window's first and last byte, in bits 15 to 4 and 31 to 20
    COMMAND_MEMORY = 2,
    COMMAND_MASTER = 4,
    HEADER_BRIDGE = 1,
    BAR_IO = 1,
    BAR_64BIT = 4,
    SCAN_BUSES = 32, // plenty for the bridges of q35
};
// UEFI gives BARs addresses above 4 GiB, where ring 3 has none, and has the configuration space at 0xe0000000, 256 MiB
// of it; a device put there is out of reach. SeaBIOS and qboot have it at 0xb0000000.
#define WINDOW_START 0xf0000000ull
#define WINDOW_END 0xfeb00000ull // below it: PCI; from there on: virtio-mmio, I/O APIC, LAPIC

#define BRIDGE_WINDOW 0x100000ull // the smallest there is: a virtio device takes 20 KiB of it

// What is left for BARs on each bus, and the bridge to it.
static struct {
    uint32_t next, end;
    hal_pci_t bridge;
} window[SCAN_BUSES];

// Whether the configuration space lies at boot_acpi.pci_config: there are no ports.
static bool in_memory;

static volatile uint8_t *memory_register(const hal_pci_t *d, unsigned offset) {
    uint32_t function = (uint32_t)d->bus << 20 | (uint32_t)d->dev << 15 | (uint32_t)d->fn << 12;
    return (volatile uint8_t *)(uintptr_t)(boot_acpi.pci_config + function + (offset & 0xfff));
}

// Point the data port at a register; written only when it moved, because each port access is an exit.
static void select_register(const hal_pci_t *d, unsigned offset) {
    static uint32_t selected;
    uint32_t address =
        1u << 31 | (uint32_t)d->bus << 16 | (uint32_t)d->dev << 11 | (uint32_t)d->fn << 8 | (offset & 0xfc);
    if (address != selected) {
        hal_out32(CONFIG_ADDRESS, address);
        selected = address;
    }
}

uint32_t hal_pci_read32(const hal_pci_t *d, unsigned offset) {
    if (in_memory) {
        return hal_mmio_read32(memory_register(d, offset & ~3u));
    }
    select_register(d, offset);
    return hal_in32(CONFIG_DATA);
}

uint16_t hal_pci_read16(const hal_pci_t *d, unsigned offset) {
    return (uint16_t)(hal_pci_read32(d, offset) >> (8 * (offset & 2)));
}

uint8_t hal_pci_read8(const hal_pci_t *d, unsigned offset) {
    return (uint8_t)(hal_pci_read32(d, offset) >> (8 * (offset & 3)));
}

void hal_pci_write32(const hal_pci_t *d, unsigned offset, uint32_t v) {
    if (in_memory) {
        hal_mmio_write32(memory_register(d, offset & ~3u), v);
        return;
    }
    select_register(d, offset);
    hal_out32(CONFIG_DATA, v);
}

void hal_pci_write16(const hal_pci_t *d, unsigned offset, uint16_t v) {
    if (in_memory) {
        hal_mmio_write16(memory_register(d, offset & ~1u), v);
        return;
    }
    select_register(d, offset);
    hal_out16((uint16_t)(CONFIG_DATA + (offset & 2)), v);
}

static uint32_t take_window(unsigned bus, uint64_t bytes);

// qboot numbers the buses behind bridges and opens no window to them; SeaBIOS does, and assigns all BARs.
static void open_window(unsigned bus) {
    const hal_pci_t *d = &window[bus].bridge;
    if (bus == 0) {
        window[bus].next = in_memory ? boot_acpi.pci_start : (uint32_t)WINDOW_START;
        window[bus].end = in_memory ? boot_acpi.pci_end : (uint32_t)WINDOW_END;
        return;
    }
    uint32_t at = d->vendor == 0 ? 0 : take_window(d->bus, BRIDGE_WINDOW);
    window[bus].next = at;
    window[bus].end = at + (uint32_t)BRIDGE_WINDOW;
    if (at != 0) {
        hal_pci_write32(d, REG_BRIDGE_MEMORY, at >> 16 | at);
        hal_pci_write16(d, REG_COMMAND, COMMAND_MEMORY | COMMAND_MASTER);
    }
}

// Room of a size, which is its alignment, too; 0: there is none.
static uint32_t take_window(unsigned bus, uint64_t bytes) {
    if (window[bus].end == 0) {
        open_window(bus);
    }
    uint64_t at = (window[bus].next + bytes - 1) & ~(bytes - 1);
    if (window[bus].next == 0 || at + bytes > window[bus].end) {
        return 0;
    }
    window[bus].next = (uint32_t)(at + bytes);
    return (uint32_t)at;
}

static bool scan_bus(unsigned bus, bool (*visit)(const hal_pci_t *, void *), void *arg, unsigned *last_bus) {
    for (unsigned dev = 0; dev < 32; dev++) {
        for (unsigned fn = 0; fn < 8; fn++) {
            hal_pci_t d = {.bus = (uint8_t)bus, .dev = (uint8_t)dev, .fn = (uint8_t)fn};
            uint32_t id = hal_pci_read32(&d, REG_ID);
            if (id == UINT32_MAX || id == 0) {
                if (fn == 0) {
                    break;
                }
                continue;
            }
            d.vendor = (uint16_t)id;
            d.device = (uint16_t)(id >> 16);
            if (visit(&d, arg)) {
                return true;
            }
            uint8_t header = (uint8_t)(hal_pci_read32(&d, REG_HEADER) >> 16);
            if ((header & 0x7f) == HEADER_BRIDGE) {
                uint32_t buses = hal_pci_read32(&d, REG_BRIDGE_BUSES);
                unsigned secondary = buses >> 8 & 0xff, subordinate = buses >> 16 & 0xff;
                if (secondary > bus && secondary < SCAN_BUSES) {
                    window[secondary].bridge = d;
                }
                if (subordinate > *last_bus && subordinate < SCAN_BUSES) {
                    *last_bus = subordinate;
                }
            }
            if (fn == 0 && !(header & 0x80)) {
                break; // not a multi-function device
            }
        }
    }
    return false;
}

bool hal_pci_scan(bool (*visit)(const hal_pci_t *d, void *arg), void *arg) {
    hal_pci_t host = {0};
    if (hal_pci_read32(&host, REG_ID) == UINT32_MAX) {
        in_memory = boot_acpi.pci_config != 0; // of a microvm; no firmware has assigned anything
        if (!in_memory) {
            return false;
        }
    }
    unsigned last_bus = 0;
    for (unsigned bus = 0; bus <= last_bus; bus++) {
        if (scan_bus(bus, visit, arg, &last_bus)) {
            return true;
        }
    }
    return false;
}

volatile void *hal_pci_bar(const hal_pci_t *d, unsigned bar, size_t *size) {
    unsigned reg = REG_BAR0 + 4 * bar;
    if (bar > 5) {
        return NULL;
    }
    uint32_t low = hal_pci_read32(d, reg);
    if (low & BAR_IO) {
        return NULL;
    }
    bool wide = (low & 6) == BAR_64BIT;
    uint16_t command = hal_pci_read16(d, REG_COMMAND);
    hal_pci_write16(d, REG_COMMAND, command & (uint16_t)~(COMMAND_MEMORY | COMMAND_MASTER)); // no decoding while sizing
    hal_pci_write32(d, reg, UINT32_MAX);
    uint32_t mask = hal_pci_read32(d, reg) & ~0xfu;
    uint64_t bytes = mask == 0 ? 0 : (uint64_t)(~mask + 1u);
    uint64_t addr = low & ~0xfu;
    if (wide) {
        addr |= (uint64_t)hal_pci_read32(d, reg + 4) << 32;
    }
    if (bytes != 0 && (addr < 0xc0000000ull || addr + bytes > WINDOW_END)) {
        addr = take_window(d->bus, bytes);
    }
    hal_pci_write32(d, reg, (uint32_t)addr | (low & 0xf));
    if (wide) {
        hal_pci_write32(d, reg + 4, (uint32_t)(addr >> 32));
    }
    hal_pci_write16(d, REG_COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER);
    *size = bytes;
    return addr == 0 || bytes == 0 ? NULL : (volatile void *)addr;
}
