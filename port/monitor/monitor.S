// SPDX-License-Identifier: MIT
// All of ring 0 after entry: fault stubs, interrupt stubs, services. Intel SDM vol. 3, ch. 6.
// Owns the tables in .monitor.data. Not here: the way into long mode (boot/entry.S).
// Context: ring 0, interrupts off except in the idle service. On hosts that emulate ring 0 each
// instruction costs about 700 cycles, so that every path is as short as it can be. Its addresses are those of
// link.ld, wherever ring 3 lies (boot/paging.c).

#include "monitor.h"

#define SCHED_OP 29 // Xen public/xen.h, sched.h
#define SCHEDOP_SHUTDOWN 2

    .section .monitor.text, "ax"
    .code64

// ---- services -------------------------------------------------------------------------------------
    .globl monitor_service
monitor_service:
    cmpl $MONITOR_IDLE, %eax  // first, as the most frequent one
    jne 1f
service_idle:                  // an interrupt ends it, wherever it comes (irq_stub)
    sti
    hlt                       // sti takes effect after hlt has begun: no interrupt is lost in between
    cli
    iretq

1:  jb service_nop
    cmpl $MONITOR_PROTECT, %eax
    jb service_lock
    je service_protect
    cmpl $MONITOR_TRIPLE_FAULT, %eax
    jb service_kvmclock
    je service_triple_fault
    cmpl $MONITOR_HYPERCALL, %eax
    jb service_power_off
    je service_hypercall
service_bad:
    movq $-1, %rax
    iretq
service_nop:
    xorl %eax, %eax
    iretq

service_lock:
    cmpb $0, monitor_locked(%rip)
    jne service_bad
    movb $1, monitor_locked(%rip)
    addq %rdx, (%rsp)         // where ring 3 goes on
    movq %rdi, %cr3
    movq %cr4, %rax
    orq %rsi, %rax
    movq %rax, %cr4
    xorl %eax, %eax
    iretq

service_protect:
    cmpl $1, %edx
    ja service_bad
    testl $0xfff, %edi
    jnz service_bad
    cmpq monitor_arena_start(%rip), %rdi
    jb service_bad
    cmpq monitor_arena_end(%rip), %rdi
    jae service_bad
    cmpq $0x100000, %rsi      // 4 GiB worth of pages: no overflow in the sum below
    ja service_bad
    movq %rsi, %rcx
    shlq $12, %rcx
    addq %rdi, %rcx
    cmpq monitor_arena_end(%rip), %rcx
    ja service_bad
    movq %rdi, %r8            // r8: page table entry of the page
    subq monitor_arena_start(%rip), %r8
    shrq $9, %r8
    addq monitor_arena_ptes(%rip), %r8
    leaq 0x5(%rdi), %r9       // present, user, read-only, executable
    testl %edx, %edx
    jnz 1f
    movabsq $0x8000000000000007, %r9 // present, user, writable, not executable
    addq %rdi, %r9
1:  subq monitor_arena_offset(%rip), %r9
    testq %rsi, %rsi
    jz 3f
2:  movq %r9, (%r8)
    invlpg (%rdi)
    addq $4096, %r9
    addq $4096, %rdi
    addq $8, %r8
    decq %rsi
    jnz 2b
3:  xorl %eax, %eax
    iretq

service_kvmclock:
    movl %edi, %ecx
    leaq monitor_pvclock(%rip), %rax // below 4 GiB, and its physical address
    orl $1, %eax
    xorl %edx, %edx
    cmpl $0x4b564d01, %ecx    // MSR_KVM_SYSTEM_TIME_NEW
    je 1f
    leaq monitor_wallclock(%rip), %rax
    cmpl $0x4b564d00, %ecx    // MSR_KVM_WALL_CLOCK_NEW
    jne service_bad
1:  wrmsr
    xorl %eax, %eax
    iretq

service_triple_fault:
    lidt empty_idtr(%rip)
    ud2

service_power_off:
    movl $0x604, %edx         // PM1a_CNT: SLP_EN, SLP_TYP 0
    movl $0x2000, %eax
    outw %ax, %dx
    inw %dx, %ax
    iretq

service_hypercall:
    cmpl $63, %ecx
    ja service_bad
    movl %ecx, %eax
    btq %rax, hypercalls_allowed(%rip)
    jnc service_bad
    cmpb $1, monitor_hypercalls(%rip)
    jb service_bad
    je 1f
    vmmcall
    iretq
1:  vmcall
    iretq

// ---- interrupts: set the bit, acknowledge, end the idle service ------------------------------------
// Only that has interrupts on, so its caller is returned to at once. A machine that forgets what sti said of the next
// instruction (QEMU's emulation of SVM does, below Xen) interrupts before hlt, which would then sleep for ever.
    .globl monitor_irq_stubs
monitor_irq_stubs:             // MONITOR_IRQ_STUB bytes each
    .set v, 0
    .rept MONITOR_IRQS
    btsq $v, monitor_pending(%rip)
    .byte 0xe9                 // jmp, the long one for all
    .long irq_end - . - 4
    .set v, v+1
    .endr
    .if . - monitor_irq_stubs - MONITOR_IRQS * MONITOR_IRQ_STUB
    .error "MONITOR_IRQ_STUB"
    .endif
irq_end:
    addr32 movl $0, 0xfee000b0 // LAPIC EOI
    movq 24(%rsp), %rsp       // the idle service's stack: its caller's frame
    iretq
    .globl monitor_spurious
monitor_spurious:             // which ring 3 may have sent itself; for a real one nothing is in service here
    addr32 movl $0, 0xfee000b0 // LAPIC EOI
    iretq

// ---- faults: save everything, go on in ring 3 at hal_fault_entry ------------------------------------
// Those whose vector comes with an error code are shorter by a push, and padded to MONITOR_FAULT_STUB bytes.
    .globl monitor_fault_stubs
monitor_fault_stubs:
    .set v, 0
    .rept 32
    .set with_error, 0x60227d00 >> v & 1 // 8, 10 to 14, 17, 21, 29, 30
    .if !with_error
    pushq $0
    .endif
    pushq $v
    .byte 0xe9
    .long fault_common - . - 4
    .if with_error
    nop
    nop
    .endif
    .set v, v+1
    .endr
    .if . - monitor_fault_stubs - 32 * MONITOR_FAULT_STUB
    .error "MONITOR_FAULT_STUB"
    .endif

fault_common:                  // monitor_fault_t, from its end
    cld
    pushq %r15
    pushq %r14
    pushq %r13
    pushq %r12
    pushq %r11
    pushq %r10
    pushq %r9
    pushq %r8
    pushq %rbp
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rbx
    pushq %rax
    movq %rsp, %rsi
    leaq monitor_fault(%rip), %rdi
    movl $22, %ecx
    rep movsq
    movq %cr2, %rax
    stosq
    addq $17 * 8, %rsp         // the processor's frame
    movq monitor_fault+120(%rip), %r9 // vector
    movq (%rsp), %r8           // rip
    incl monitor_depth(%rip)
    cmpl $1, monitor_depth(%rip)
    jne 1f
    movq %r9, .Lfirst_vector(%rip)
    movq %r8, .Lfirst_rip(%rip)
1:  cmpl $2, monitor_depth(%rip)
    ja fault_in_panic
    addq $40, %rsp
    pushq $MONITOR_DATA3
    pushq monitor_panic_stack(%rip)
    pushq $2
    pushq $MONITOR_CODE3
    pushq monitor_panic_entry(%rip)
    iretq

// Even the panic path faults, perhaps because it cannot reach its console: say so from here, where every port is open,
// at the 16550's and at the one whose bytes Xen writes to its log. Then end the VM.
fault_in_panic:
    cmpl $3, monitor_depth(%rip)
    ja 2f                      // not even from here
    leaq .Ltext_panic(%rip), %rsi
    call .Lsay
    movq %r9, %rbx
    call .Lsay_number
    call .Lsay
    movq %r8, %rbx
    call .Lsay_number
    call .Lsay
    movq .Lfirst_vector(%rip), %rbx
    call .Lsay_number
    call .Lsay
    movq .Lfirst_rip(%rip), %rbx
    call .Lsay_number
    movb $'\n', %al
    call .Lsay_byte
    movl $SCHED_OP, %eax
    movl $SCHEDOP_SHUTDOWN, %edi
    leaq .Lshutdown_crash(%rip), %rsi
    cmpb $1, monitor_hypercalls(%rip)
    jb 2f
    je 1f
    vmmcall
1:  vmcall
2:  movl $(120 + 1), %eax      // hal/power.c: code + 1 at isa-debug-exit's port
    movl $0xf4, %edx
    outb %al, %dx
    movl $1 << 24, %ecx        // QEMU may let us run on until it ends
1:  pause
    loop 1b
    jmp service_triple_fault

.Lsay:                         // rsi: text that a zero ends; left behind the zero
    lodsb
    testb %al, %al
    jz 1f
    call .Lsay_byte
    jmp .Lsay
1:  ret

.Lsay_number:                  // rbx: 16 hexadecimal digits
    movl $16, %edi
1:  rolq $4, %rbx
    movb %bl, %al
    andb $0xf, %al
    cmpb $10, %al
    jb 2f
    addb $('a' - '0' - 10), %al
2:  addb $'0', %al
    call .Lsay_byte
    decl %edi
    jnz 1b
    ret

.Lsay_byte:                    // al
    movb %al, %ah
    movl $1000, %ecx           // looks whether the 16550 has room
1:  movl $0x3fd, %edx
    inb %dx, %al
    testb $0x20, %al
    jnz 2f
    decl %ecx
    jnz 1b
2:  movb %ah, %al
    movl $0x3f8, %edx
    outb %al, %dx
    outb %al, $0xe9
    ret

// ---- read-only tables ------------------------------------------------------------------------------
    .align 8
hypercalls_allowed:            // memory_op, grant_table_op, vcpu_op, sched_op, event_channel_op, hvm_op
    .quad 1 << 12 | 1 << 20 | 1 << 24 | 1 << 29 | 1 << 32 | 1 << 34
    .align 4
.Lshutdown_crash:
    .long 3
empty_idtr:
    .word 0
    .quad 0

// ---- tables and state, supervisor only after the lock -----------------------------------------------
    .section .monitor.data, "aw"
    .align 16
    .globl monitor_gdt, monitor_gdtr, monitor_idtr, monitor_tss, monitor_ports
monitor_gdt:                   // Linux's order: others were not tested on page-table based KVM
    .quad 0, 0
    .quad 0x00af9b000000ffff   // 0x10 code, ring 0, 64 bit
    .quad 0x00cf93000000ffff   // 0x18 data, ring 0
    .quad 0x00cffb000000ffff   // 0x23 code, ring 3, 32 bit
    .quad 0x00cff3000000ffff   // 0x2b data, ring 3
    .quad 0x00affb000000ffff   // 0x33 code, ring 3, 64 bit
    .quad 0
    .quad 0x0000890000000000 + (tss_end - monitor_tss - 1), 0 // 0x40 TSS; entry.S adds the base
gdt_end:
    .skip 6                    // the addresses of both are aligned
monitor_gdtr:
    .word gdt_end - monitor_gdt - 1
    .quad monitor_gdt
    .skip 6
monitor_idtr:
    .word 4095
    .quad monitor_idt
    .align 16
    .skip 4                    // the stacks' addresses are aligned
monitor_tss:
    .long 0
    .quad stack0_top, 0, 0     // RSP0..2
    .quad 0
    .quad stack_df_top         // IST1: double fault
    .fill 6, 8, 0
    .quad 0
    .word 0
    .word monitor_ports - monitor_tss
monitor_ports:                 // a bit that is 0 opens a port to ring 3; those past the limit are closed
    .macro PORTS first, mask   // of the eight from first on
    .org monitor_ports + \first / 8, 0xff
    .byte ~\mask & 0xff
    .endm
    PORTS 0x020, 0x02          // the masks of the two 8259
    PORTS 0x060, 0x10          // keyboard controller: reset
    PORTS 0x070, 0x03          // CMOS clock
    PORTS 0x0a0, 0x02
    PORTS 0x0f0, 0xf0          // isa-debug-exit
    PORTS 0x3f8, 0xff          // 16550
    PORTS 0x510, 0x03          // fw_cfg's selector and data; its DMA, at 0x514, writes wherever it is told to
    PORTS 0xcf8, 0xff          // PCI configuration, and reset at 0xcf9
    .org monitor_ports + MONITOR_PORTS / 8, 0xff
    .byte 0xff
tss_end:
    .align 8
    .globl monitor_arena_start, monitor_arena_end, monitor_arena_ptes, monitor_arena_offset
    .globl monitor_panic_entry, monitor_panic_stack
monitor_arena_start: .quad 0
monitor_arena_end: .quad 0
monitor_arena_ptes: .quad 0
monitor_arena_offset: .quad 0
monitor_panic_entry: .quad 0
monitor_panic_stack: .quad 0
.Lfirst_vector: .quad 0        // of the first fault
.Lfirst_rip: .quad 0
monitor_depth: .long 0         // faults so far: one, and one inside the panic that it led to
.Ltext_panic:
    .asciz "\nPANIC: fault inside a panic, vector 0x"
    .asciz " rip=0x"
    .asciz ", after vector 0x"
    .asciz " rip=0x"
monitor_locked: .byte 0
    .globl monitor_hypercalls
monitor_hypercalls: .byte 0

    .section .monitor.bss, "aw", @nobits
    .align 4096
    .globl monitor_idt
    .skip 4096                 // below it: a page that ring 0 cannot write either (.monitor.ro)
stack0_top:
    .skip 4096
stack_df_top:
monitor_idt:
    .skip 4096

// ---- written by the hypervisor, read-only for ring 3, on a page of its own --------------------------
    .section .monitor.ro, "aw", @nobits
    .align 4096
    .globl monitor_pvclock, monitor_wallclock
monitor_pvclock: .skip 64
monitor_wallclock: .skip 64

// ---- what the monitor tells ring 3: nothing in ring 0 depends on it, ring 3 may write it ------------
    .section .bss.monitor_shared, "aw", @nobits
    .align 256                // on one page
    .globl monitor_pending, monitor_fault
monitor_pending: .skip 8
monitor_fault: .skip 184
