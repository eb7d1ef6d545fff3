// SPDX-License-Identifier: MIT
// What boot found in ACPI's tables, put to work: the power button, be it PM1's (ACPI 6.5, 4.8.3.1) or a generic event
// device's (QEMU docs/specs/acpi_hw_reduced_hotplug.rst), and power off by a register (4.8.3.7). Owns these registers.
// Not here: the tables (boot/acpi.c), what the button does (stop.c). Context: main loop.

#include "../boot/boot.h"
#include "internal.h"

#define POLL_NS 250000000ull // while the script does not wait, no interrupt comes through
enum { SLEEP_ENABLE = 0x20, SLEEP_TYPE_SHIFT = 2, SLEEP_TYPE_MASK = 7 };

static int button_irq;
static uint64_t button_next;

// Whether it was pressed since the last call. PM1's bits are cleared by a write, a GED's by being read.
static bool pressed(void) {
    uint16_t port = (uint16_t)boot_acpi.button;
    if (boot_acpi.button_enable == 0) {
        return (hal_mmio_read32((void *)(uintptr_t)boot_acpi.button) & boot_acpi.button_events) != 0;
    }
    bool is = (hal_in16(port) & boot_acpi.button_events) != 0;
    if (is) {
        hal_out16(port, boot_acpi.button_events);
    }
    return is;
}

static bool button_run(void *arg) {
    (void)arg;
    uint64_t now = hal_clock_ns();
    if (!hal_irq_take(button_irq) && now < button_next) {
        return false;
    }
    button_next = now + POLL_NS;
    bool is = pressed();
    if (is) {
        hal_stop_ask();
    }
    return is;
}

void hal_button_init(void) {
    static hal_event_source_t source = {.run = button_run};
    if (boot_acpi.button == 0 || (button_irq = hal_irq_gsi(boot_acpi.button_gsi)) < 0) {
        return;
    }
    if (boot_acpi.button_enable != 0) {
        hal_out16((uint16_t)boot_acpi.button, boot_acpi.button_events);
        hal_out16(boot_acpi.button_enable, boot_acpi.button_events);
    }
    hal_event_add(&source);
}

bool hal_acpi_off(void) {
    if (boot_acpi.sleep_control == 0) {
        return false;
    }
    unsigned type = boot_acpi.sleep_type & SLEEP_TYPE_MASK;
    hal_mmio_write8((void *)(uintptr_t)boot_acpi.sleep_control, (uint8_t)(SLEEP_ENABLE | type << SLEEP_TYPE_SHIFT));
    return true;
}

bool hal_virtio_mmio(unsigned n, uint64_t *base, uint64_t *size, uint64_t *gsi) {
    if (n >= boot_acpi.virtio_count) {
        return false;
    }
    *base = boot_acpi.virtio[n].base;
    *size = boot_acpi.virtio[n].size;
    *gsi = boot_acpi.virtio[n].gsi;
    return true;
}
