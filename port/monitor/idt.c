// SPDX-License-Identifier: MIT
// Builds the interrupt descriptor table (Intel SDM vol. 3, 6.14.1). Owns nothing: the table is the
// monitor's. Not here: the stubs (monitor.S). Context: ring 3 during boot, before the page tables are locked,
// because loops are slow where ring 0 is emulated.

#include "monitor.h"

typedef struct {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_mid;
    uint32_t offset_high, reserved;
} idt_gate_t;
_Static_assert(sizeof(idt_gate_t) == 16, "64-bit gate");

enum { GATE_INTERRUPT = 0x8e, GATE_DPL3 = 0x60, VECTOR_BP = 3, VECTOR_DF = 8 };

extern idt_gate_t monitor_idt[256];
extern const char monitor_fault_stubs[], monitor_irq_stubs[], monitor_service[], monitor_spurious[];

static void gate(unsigned vector, uint64_t handler, uint8_t type, uint8_t ist) {
    monitor_idt[vector] = (idt_gate_t){
        .offset_low = (uint16_t)handler,
        .selector = MONITOR_CODE0,
        .ist = ist,
        .type = type,
        .offset_mid = (uint16_t)(handler >> 16),
        .offset_high = (uint32_t)(handler >> 32),
    };
}

void monitor_idt_init(void) {
    for (unsigned i = 0; i < 32; i++) {
        gate(i, (uint64_t)monitor_fault_stubs + i * MONITOR_FAULT_STUB, GATE_INTERRUPT, i == VECTOR_DF ? 1 : 0);
    }
    gate(VECTOR_BP, (uint64_t)monitor_service, GATE_INTERRUPT | GATE_DPL3, 0);
    for (unsigned i = 0; i < MONITOR_IRQS; i++) {
        gate(MONITOR_IRQ_BASE + i, (uint64_t)monitor_irq_stubs + i * MONITOR_IRQ_STUB, GATE_INTERRUPT, 0);
    }
    gate(MONITOR_SPURIOUS, (uint64_t)monitor_spurious, GATE_INTERRUPT, 0);
}
