// SPDX-License-Identifier: MIT
// Local APIC and I/O APIC: routing, the one-shot timer, halting (Intel SDM vol. 3, ch. 11; 82093AA data
// sheet). Owns both and the table of irqs. Not here: the stubs, which set a bit and acknowledge (monitor.S).
// Context: ring 3. Interrupts reach the processor only inside hal_irq_halt().

#include "../boot/boot.h"
#include "../monitor/monitor.h"
#include "internal.h"

#define LAPIC_BASE 0xfee00000ul

enum {
    LAPIC_ID = 0x20,
    LAPIC_SVR = 0xf0,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_TIMER_INITIAL = 0x380,
    LAPIC_TIMER_CURRENT = 0x390,
    LAPIC_TIMER_DIVIDE = 0x3e0,
    LAPIC_ENABLE = 0x100,
    LAPIC_NMI = 0x400,
    LAPIC_MASKED = 0x10000,
    LAPIC_DIVIDE_BY_1 = 0xb,
    IOAPIC_VERSION = 1,
    IOAPIC_REDIRECTION = 0x10,
    PIC1_DATA = 0x21,
    PIC2_DATA = 0xa1,
};

static unsigned irqs_used;
static uint32_t lapic_id;                // in bits 31:24, as the I/O APIC wants it
static unsigned inputs[BOOT_IOAPIC_MAX]; // of the I/O APICs, 0 until asked
static uint64_t timer_armed = UINT64_MAX;

static volatile uint32_t *lapic(unsigned reg) { return (volatile uint32_t *)(LAPIC_BASE + reg); }

static uint32_t ioapic_read(uintptr_t base, unsigned reg) {
    hal_mmio_write32((void *)base, reg);
    return hal_mmio_read32((void *)(base + 0x10));
}

static void ioapic_write(uintptr_t base, unsigned reg, uint32_t v) {
    hal_mmio_write32((void *)base, reg);
    hal_mmio_write32((void *)(base + 0x10), v);
}

// The task priority is not touched: it is 0 after a reset, and firmware lets it be. Below SeaBIOS, QEMU reports every
// access to it and then loads all of the processor's registers anew; QEMU's emulation of SVM takes the TSS for none
// from then on, and refuses ring 3 every port.
void hal_irq_init(void) {
    hal_out8(PIC1_DATA, 0xff); // firmware leaves the PIT on vector 8, which is the double fault's
    hal_out8(PIC2_DATA, 0xff);
    lapic_id = hal_mmio_read32(lapic(LAPIC_ID));
    hal_mmio_write32(lapic(LAPIC_SVR), LAPIC_ENABLE | MONITOR_SPURIOUS);
    hal_mmio_write32(lapic(LAPIC_LVT_LINT0), LAPIC_MASKED);
    hal_mmio_write32(lapic(LAPIC_LVT_LINT1), LAPIC_NMI); // the host's: a PANIC that says where the guest stands
    hal_mmio_write32(lapic(LAPIC_TIMER_DIVIDE), LAPIC_DIVIDE_BY_1);
    hal_mmio_write32(lapic(LAPIC_LVT_TIMER), MONITOR_IRQ_BASE + MONITOR_TIMER_IRQ);
}

static int irq_alloc(void) { return irqs_used < MONITOR_TIMER_IRQ ? (int)irqs_used++ : -ENOSPC; }

int hal_irq_gsi(unsigned gsi) {
    for (unsigned i = 0; i < boot_acpi.ioapic_count; i++) {
        uintptr_t base = boot_acpi.ioapic[i].base;
        unsigned input = gsi - boot_acpi.ioapic[i].gsi;
        if (inputs[i] == 0) {
            inputs[i] = ((ioapic_read(base, IOAPIC_VERSION) >> 16) & 0xff) + 1;
        }
        if (input < inputs[i]) {
            int irq = irq_alloc();
            if (irq >= 0) {
                ioapic_write(base, IOAPIC_REDIRECTION + 2 * input + 1, lapic_id);
                ioapic_write(base, IOAPIC_REDIRECTION + 2 * input, (uint32_t)(MONITOR_IRQ_BASE + irq));
            }
            return irq;
        }
    }
    return -ENODEV;
}

int hal_irq_msi(uint64_t *addr, uint32_t *data) {
    int irq = irq_alloc();
    if (irq >= 0) {
        *addr = LAPIC_BASE | (uint64_t)(lapic_id >> 24) << 12;
        *data = (uint32_t)(MONITOR_IRQ_BASE + irq);
    }
    return irq;
}

bool hal_irq_take(int irq) {
    uint64_t bit = BIT64(irq);
    bool was = (monitor_pending & bit) != 0;
    monitor_pending &= ~bit;
    return was;
}

void hal_irq_timer_start(uint32_t count) { hal_mmio_write32(lapic(LAPIC_TIMER_INITIAL), count); }

uint32_t hal_irq_timer_count(void) { return hal_mmio_read32(lapic(LAPIC_TIMER_CURRENT)); }

void hal_irq_timer(uint64_t deadline_ns) {
    if (hal_platform != NULL) {
        hal_platform->timer(deadline_ns);
        return;
    }
    bool fired = hal_irq_take(MONITOR_TIMER_IRQ);
    if (deadline_ns == timer_armed && !fired) {
        return; // each access to the LAPIC costs an exit
    }
    hal_clock_settle();
    timer_armed = deadline_ns;
    uint32_t count = 0; // 0 stops it
    if (deadline_ns != UINT64_MAX) {
        uint64_t now = hal_clock_ns();
        uint64_t ns = deadline_ns > now ? deadline_ns - now : 1;
        uint64_t longest = UINT32_MAX; // 4.3 s at 1 GHz, the bus of QEMU's and KVM's APIC: the event loop arms again
        count = (uint32_t)(ns < longest ? ns : longest);
        if (ns > longest) {
            timer_armed = now + longest;
        }
    }
    hal_irq_timer_start(count);
}

uintptr_t hal_irq_halted;

void hal_irq_halt(void) {
    hal_irq_halted = (uintptr_t)__builtin_frame_address(0);
    hal_span_begin(HAL_SPAN_WAIT);
    monitor_call(MONITOR_IDLE, 0, 0, 0);
    hal_span_end();
}
