// SPDX-License-Identifier: MIT
// Forced into every file under test (-include): hal.h with its register accesses led into fake_device.c,
// and the knobs of the HAL's stand-in (fake_hal.c). Time is simulated: each look at the clock costs 1 us.

#ifndef FAKE_HAL_H
#define FAKE_HAL_H

#include "hal.h"

uint32_t fake_mmio_read(const volatile void *p, unsigned width);
void fake_mmio_write(volatile void *p, unsigned width, uint32_t value);

#define hal_mmio_read8(p) ((uint8_t)fake_mmio_read((p), 1))
#define hal_mmio_read16(p) ((uint16_t)fake_mmio_read((p), 2))
#define hal_mmio_read32(p) fake_mmio_read((p), 4)
#define hal_mmio_write8(p, v) fake_mmio_write((p), 1, (v))
#define hal_mmio_write16(p, v) fake_mmio_write((p), 2, (v))
#define hal_mmio_write32(p, v) fake_mmio_write((p), 4, (v))

typedef struct {
    uint64_t now;
    void (*on_clock)(void); // called at each look at the clock: what happens while someone waits
    const char *cmdline;
    uint64_t table[3]; // the device that ACPI's tables name: size, base, interrupt; no size: none
    size_t mem_total;
    int dma_left;     // allocations that still succeed; -1: all
    int irqs_left;    // the same for interrupts
    uint64_t pending; // irqs raised and not taken
    int irqs;         // irqs handed out
    unsigned gsi[HAL_IRQ_MAX];
    bool seeded;
    size_t entropy_bytes;
    size_t input_room;
    const hal_console_sink_t *sink;
} fake_hal_t;

extern fake_hal_t fake_hal;

// The newest of the last few pieces of DMA memory whose address has these bits; 0: none.
uint64_t fake_hal_dma_find(uint64_t low, uint64_t mask);

void fake_hex(const void *data, size_t len); // prints bytes in hexadecimal

#endif
