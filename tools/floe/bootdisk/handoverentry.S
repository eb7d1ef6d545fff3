// SPDX-License-Identifier: MIT
// The header that a Multiboot2 loader looks for (specification 2.0, clause 3.1), its first instruction, and the last
// one before the image's. It lies below 1 MiB, where images have nothing. Owns the stack and what the image is told.

#define MAGIC 0xe85250d6
#define STACK 8192
#define CR0_PE_ET 0x11

    .section .header, "a"
    .align 8
header:
    .long MAGIC, 0, header_end - header, -(MAGIC + header_end - header)
    .short 0, 0                // the last tag
    .long 8
header_end:

    .text
    .code32
    .globl handover_entry
handover_entry:
    cli
    cld
    movl $stack_top, %esp
    subl $12, %esp
    pushl $entry
    pushl $start_info
    pushl $start_info
    pushl %ebx
    pushl %eax
    call handover_place
    testl %eax, %eax
    jnz failed
    movl $CR0_PE_ET, %eax      // as PVH has it: protection and nothing else
    movl %eax, %cr0
    xorl %eax, %eax
    movl %eax, %cr4
    movl $start_info, %ebx
    jmp *entry

// A console that is there without a driver: the first 16550, and QEMU's debug port.
failed:
    movl %eax, %ebp
    movl $text, %esi
    call say
    movl %ebp, %esi
    call say
    movl $line_end, %esi
    call say
1:  hlt
    jmp 1b

say:                           // the text at esi
    lodsb
    testb %al, %al
    jz 2f
    movl $0x3fd, %edx
    movl %eax, %ecx
    movl $100000, %edi         // a 16550 that is not there, or stuck, costs no more
1:  inb %dx, %al
    testb $0x20, %al
    jnz 3f
    decl %edi
    jnz 1b
3:  movl %ecx, %eax
    movl $0x3f8, %edx
    outb %al, %dx
    outb %al, $0xe9
    jmp say
2:  ret

// ISO C's, with cdecl's arguments, as far as the compiler asks for them.
    .globl memmove, memset
memmove:
    pushl %esi
    pushl %edi
    movl 12(%esp), %edi
    movl 16(%esp), %esi
    movl 20(%esp), %ecx
    movl %edi, %eax
    subl %esi, %eax            // below the length: the source's end would be overwritten before it is read
    cmpl %ecx, %eax
    jb 1f
    movl %ecx, %edx
    shrl $2, %ecx
    rep movsl
    movl %edx, %ecx
    andl $3, %ecx
    rep movsb
    jmp 2f
1:  leal -1(%edi,%ecx), %edi
    leal -1(%esi,%ecx), %esi
    std
    rep movsb
    cld
2:  movl 12(%esp), %eax
    popl %edi
    popl %esi
    ret

memset:
    pushl %edi
    movl 8(%esp), %edi
    movl 12(%esp), %eax
    movl 16(%esp), %ecx
    rep stosb
    movl 8(%esp), %eax
    popl %edi
    ret

    .section .rodata
text: .asciz "PANIC: floe's boot disk: "
line_end: .asciz "\r\n"

    .bss
    .align 16
    .skip STACK
stack_top:
entry: .skip 4
    .align 16
    .globl start_info
start_info: .skip 8192         // a handover_t
