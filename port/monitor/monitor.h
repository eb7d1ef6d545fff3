// SPDX-License-Identifier: MIT
// What ring 0 offers to ring 3, and the memory both can see. The monitor is all code that ever runs in
// ring 0: descriptor tables, fault and interrupt stubs, and the services below (Intel SDM vol. 3, ch. 5-7).
// Owns GDT, IDT, TSS, its stacks and the page tables; after MONITOR_LOCK ring 3 cannot reach any of them.
// Not here: policy. Context: services are called from ring 3 by `int3`; interrupts come only inside idle.

#ifndef FLOE_MONITOR_H
#define FLOE_MONITOR_H

// ---- selectors (also used by assembly) ----
#define MONITOR_CODE0 0x10
#define MONITOR_DATA0 0x18
#define MONITOR_DATA3 0x2b
#define MONITOR_CODE3 0x33
#define MONITOR_TSS 0x40

// ---- services: number in rax, arguments in rdi, rsi, rdx; result in rax ----
#define MONITOR_NOP 0
// sti; hlt; cli: returns after one interrupt was taken.
#define MONITOR_IDLE 1
// rdi: physical address of the final PML4, rsi: CR4 bits to set besides, rdx: how much further ring 3 goes on, there.
// Once only; later calls return -1.
#define MONITOR_LOCK 2
// rdi: page address inside the arena, rsi: pages, rdx: 0 writable, 1 executable. 0, or -1 outside it.
#define MONITOR_PROTECT 3
// rdi: MSR number of KVM's system-time or wall-clock MSR; the monitor supplies the address. 0 or -1.
#define MONITOR_KVMCLOCK 4
// Load an empty IDT and trap: the machine resets.
#define MONITOR_TRIPLE_FAULT 5
// Write ACPI S5 to the PM1a control port QEMU's pc and q35 use. Returns, as the end comes later or there is no such
// port: what the port reads as, 0xffff where there is none.
#define MONITOR_POWER_OFF 6
// rcx: number of a Xen hypercall, rdi, rsi, rdx: its arguments. Its result; -1 where there is no Xen, or not that one.
#define MONITOR_HYPERCALL 7
#define MONITOR_SERVICES 8

#define MONITOR_PORTS 0xd00 // of the I/O ports so many can be opened to ring 3

#define MONITOR_IRQ_BASE 0x40 // vector of irq 0
#define MONITOR_IRQS 48
#define MONITOR_TIMER_IRQ 47 // the LAPIC timer's
#define MONITOR_SPURIOUS 0xff

#define MONITOR_IRQ_STUB 14  // bytes of code
#define MONITOR_FAULT_STUB 9 // the same

#ifndef __ASSEMBLER__
#include <stdint.h>

// Registers of the last fault, as monitor.S stores them.
typedef struct {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t vector, error, rip, cs, rflags, rsp, ss, cr2;
} monitor_fault_t;

// pvclock as KVM and Xen write it.
typedef struct {
    volatile uint32_t version;
    uint32_t pad0;
    volatile uint64_t tsc_timestamp;
    volatile uint64_t system_time;
    volatile uint32_t tsc_to_system_mul;
    volatile int8_t tsc_shift;
    volatile uint8_t flags;
    uint8_t pad[2];
} monitor_pvclock_t;

typedef struct {
    volatile uint32_t version, sec, nsec;
} monitor_wallclock_t;

extern monitor_fault_t monitor_fault;
// Written by the hypervisor; mapped read-only in ring 3.
extern const monitor_pvclock_t monitor_pvclock;
extern const monitor_wallclock_t monitor_wallclock;
extern volatile uint64_t monitor_pending; // one bit per irq; ring 3 clears, never while it idles

// Set by boot code before the lock, out of reach afterwards.
extern uint64_t monitor_arena_start, monitor_arena_end;   // ring 3's addresses
extern uint64_t monitor_arena_offset;                     // so much above the physical ones
extern uint64_t monitor_arena_ptes;                       // physical
extern uint64_t monitor_panic_entry, monitor_panic_stack; // where a fault goes on, and its stack pointer
enum { MONITOR_VMCALL = 1, MONITOR_VMMCALL = 2 };
extern uint8_t monitor_ports[MONITOR_PORTS / 8]; // a bit each; 0: ring 3 may use it
extern uint8_t monitor_hypercalls;               // by which instruction; 0: none are made

static inline long monitor_call(long fn, long a, long b, long c) {
    long r = fn;
    __asm__ volatile("int3" : "+a"(r), "+D"(a), "+S"(b), "+d"(c)::"rcx", "r8", "r9", "r10", "r11", "memory", "cc");
    return r;
}

// Fill the IDT. Boot code calls it once, before the lock.
void monitor_idt_init(void);
#endif

#endif
