// SPDX-License-Identifier: MIT
// port/hal/pci.c on the host, with one device on bus 0 that has one BAR of 64 bits and 16 KiB at the address that the
// first argument has, in hexadecimal: prints where it is, once that has been looked at, and what the device has then.

#define hal_in32 port_in32
#define hal_out16 port_out16
#define hal_out32 port_out32
#include "hal/hal.h"
#undef hal_in32
#undef hal_out16
#undef hal_out32

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ADDRESS_PORT = 0xcf8, BAR_LOW = 0x10, BAR_HIGH = 0x14, KIND = 4, BAR_BYTES = 0x4000 };

static uint32_t selected, registers[64];

static void hal_out32(uint16_t port, uint32_t v) {
    unsigned offset = selected & 0xfc;
    if (port == ADDRESS_PORT) {
        selected = v;
    } else if (offset == BAR_LOW) {
        registers[offset / 4] = (v & ~(BAR_BYTES - 1u)) | KIND;
    } else {
        registers[offset / 4] = v;
    }
}

static void hal_out16(uint16_t port, uint16_t v) { (void)port, (void)v; } // the command register

static uint32_t hal_in32(uint16_t port) { return port == ADDRESS_PORT ? selected : registers[(selected & 0xfc) / 4]; }

#include "hal/pci.c"

boot_acpi_t boot_acpi;

int main(int argc, char **argv) {
    uint64_t at = argc == 2 ? strtoull(argv[1], NULL, 16) : 0;
    registers[BAR_LOW / 4] = (uint32_t)at | KIND;
    registers[BAR_HIGH / 4] = (uint32_t)(at >> 32);
    hal_pci_t device = {.dev = 1};
    size_t size = 0;
    volatile void *found = hal_pci_bar(&device, 0, &size);
    uint64_t told = (registers[BAR_LOW / 4] & ~0xfu) | (uint64_t)registers[BAR_HIGH / 4] << 32;
    printf("%" PRIx64 " %" PRIx64 " %zx\n", (uint64_t)(uintptr_t)found, told, size);
}
