// SPDX-License-Identifier: MIT
// PVH entry: 32-bit protected mode, paging off, ebx = start info (Xen's x86/HVM direct boot ABI) -> long
// mode, ring 0, about sixty instructions -> ring 3, boot_start(). Owns the boot page tables and the stacks.
// Not here: anything that loops (boot.c does it at native speed). Context: once, at reset.

#include "../monitor/monitor.h"

#define BOOT_ADDRESS 0x100000 // link.ld; all of ring 0 stays there
#define CR0_PG_WP_NE_MP_PE 0x80010023
#define CR4_PAE_OSFXSR_OSXMMEXCPT 0x620
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define CPUID_LM_NX (1 << 29 | 1 << 20) // of 0x80000001's edx

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18             // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long BOOT_ADDRESS

// An address as a number, which the linker cannot give in code of 32 bits that may lie anywhere.
#define AT(symbol) symbol - boot_entry + BOOT_ADDRESS

    .section .boot.text, "ax"
    .code32
    .globl boot_entry
boot_entry:
    cli
    cld
    movl %ebx, AT(boot_start_info)
    rdtsc
    movl %eax, AT(boot_entry_tsc)
    movl %edx, AT(boot_entry_tsc)+4
    movl $0x80000000, %eax
    cpuid
    testl %eax, %eax           // the highest extended leaf; without any, one of the basic ones
    jns .Lunfit
    movl $0x80000001, %eax
    cpuid
    notl %edx
    testl $CPUID_LM_NX, %edx
    jnz .Lunfit
    movl $AT(boot_pd)+7, AT(boot_pdpt)
    movl $AT(boot_pdpt)+7, AT(boot_pml4)
    movl $AT(boot_pml4), %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $CR4_PAE_OSFXSR_OSXMMEXCPT, %eax
    movl %eax, %cr4
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME_NXE, %eax
    wrmsr
    movl $CR0_PG_WP_NE_MP_PE, %eax
    movl %eax, %cr0
    lgdtl AT(monitor_gdtr)
    ljmp $MONITOR_CODE0, $AT(1f)
    .code64
1:  movl $MONITOR_DATA3, %eax
    movl %eax, %ds
    movl %eax, %es
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $MONITOR_DATA0, %eax
    movl %eax, %ss
    leaq monitor_tss(%rip), %rax // TSS descriptor: base 15:0, 23:16, 31:24
    movw %ax, monitor_gdt+MONITOR_TSS+2(%rip)
    shrl $16, %eax
    movb %al, monitor_gdt+MONITOR_TSS+4(%rip)
    movb %ah, monitor_gdt+MONITOR_TSS+7(%rip)
    movl $MONITOR_TSS, %eax
    ltr %ax
    lidt monitor_idtr(%rip)
    leaq boot_stack0_tmp(%rip), %rsp // iretq needs a stack of its own for these five words
    pushq $MONITOR_DATA3
    leaq boot_stack_top-8(%rip), %rax
    pushq %rax
    pushq $2                   // ring 3 runs with interrupts off, IOPL 0
    pushq $MONITOR_CODE3
    leaq boot_start(%rip), %rax
    pushq %rax
    iretq

    .code32
.Lunfit:                       // no console but the ports of hal/uart.c and Xen's log, no end but isa-debug-exit
    movl $AT(.Lunfit_text), %esi
1:  lodsb
    movl $0x3f8, %edx
    outb %al, %dx
    outb %al, $0xe9
    cmpb $'\n', %al
    jne 1b
    movl $(120 + 1), %eax
    movl $0xf4, %edx
    outb %al, %dx
2:  hlt
    jmp 2b

// Identity map of the first GiB with 2 MiB pages, reachable from ring 3: only until MONITOR_LOCK.
    .section .boot.data, "aw"
    .align 4096
boot_pd:
    .set i, 0
    .rept 512
    .quad (i << 21) | 0x87
    .set i, i+1
    .endr

.Lunfit_text:
    .ascii "PANIC: this processor, as the VM has it, lacks long mode or NX (qemu64 has both)\n"

    .section .monitor.bss, "aw", @nobits // one entry each
    .align 4096
    .globl boot_pdpt
boot_pml4: .skip 4096
boot_pdpt: .skip 4096

    .section .bss.boot, "aw", @nobits
    .align 16
    .globl boot_start_info, boot_entry_tsc
boot_start_info: .skip 8
boot_entry_tsc: .skip 8
    .skip 64
boot_stack0_tmp:

// Stacks, each with an unmapped guard page below; link.ld places the section, boot.c unmaps the guards.
    .section .stacks, "aw", @nobits
    .align 4096
    .globl boot_guard0, boot_guard1, boot_stack_bottom, boot_stack_top, boot_panic_stack_top
boot_guard0: .skip 4096
boot_stack_bottom: .skip 256 * 1024
boot_stack_top:
boot_guard1: .skip 4096
    .skip 16 * 1024
boot_panic_stack_top:
