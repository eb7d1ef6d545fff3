// SPDX-License-Identifier: MIT
// port/monitor on the host: its code runs in a process, where each privileged instruction faults, is written down and
// passed over, and iretq goes on in the same ring as it does in a VM. Commands: service RAX RDI RSI RDX RCX;
// irq N; spurious; elsewhere PML4; fault VECTOR ERROR RIP RSP RFLAGS CR2; arena START END OFFSET, with page table
// entries of our own;
// hypercalls BY; cr4 VALUE; uart STATUS; idt; tables.
// No address sanitizer: the LAPIC's registers lie where its shadow is.

#define _GNU_SOURCE // REG_RAX and its like
#include "talk.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "monitor/monitor.h"

enum { CODE = 0x33, DATA = 0x2b, EVENTS = 4096, PTES = 4096, SLACK = 1024, LAPIC_SIZE = 4096, GATES = 256 };
enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15, REGISTERS };
#define LAPIC 0xfee00000ul
#define EOI (*(volatile uint32_t *)(LAPIC + 0xb0))
#define UNTOUCHED 0x5a5a5a5a5a5a5a5aull

extern const char monitor_fault_stubs[], monitor_irq_stubs[], monitor_service[], monitor_spurious[], hal_fault_entry[],
    boot_panic_stack_top[];
extern const uint8_t monitor_gdt[], monitor_gdtr[], monitor_tss[], monitor_idt[], monitor_idtr[];

// What enter() loads and stores; the frame is what the processor would have pushed, above[0] on top.
uint64_t in[REGISTERS], out[REGISTERS], target, above[16], above_count, out_rsp, saved_rsp, in_panic, panic_flags;
uint64_t frame, *patched = &frame; // where the address of that frame goes

// Go to `target` with the registers of `in`, on a stack with an interrupt's frame that leads back here, and whatever
// is to lie on top of it. hal_fault_entry is where a fault leads.
void enter(void);
__asm__(".text\n"
        "enter: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "  mov %rsp, saved_rsp\n"
        "  mov %rsp, %rax\n"
        "  push $0x2b; push %rax; pushfq; push $0x33; push $1f\n"
        "  mov %rsp, out_rsp\n"
        "  mov patched, %rcx\n"
        "  mov %rsp, (%rcx)\n"
        "  mov above_count, %rcx\n"
        "2: test %rcx, %rcx; jz 3f\n"
        "  dec %rcx; push above(, %rcx, 8); jmp 2b\n"
        "3: mov in+0, %rax; mov in+8, %rbx; mov in+16, %rcx; mov in+24, %rdx; mov in+32, %rsi; mov in+40, %rdi\n"
        "  mov in+48, %rbp; mov in+56, %r8; mov in+64, %r9; mov in+72, %r10; mov in+80, %r11; mov in+88, %r12\n"
        "  mov in+96, %r13; mov in+104, %r14; mov in+112, %r15\n"
        "  jmp *target\n"
        ".globl hal_fault_entry\n"
        "hal_fault_entry: pushfq; pop panic_flags; movq $1, in_panic\n"
        ".globl enter_end\n"
        "enter_end: 1: mov %rax, out+0; mov %rbx, out+8; mov %rcx, out+16; mov %rdx, out+24; mov %rsi, out+32; mov "
        "%rdi, out+40\n"
        "  mov %rbp, out+48; mov %r8, out+56; mov %r9, out+64; mov %r10, out+72; mov %r11, out+80; mov %r12, out+88\n"
        "  mov %r13, out+96; mov %r14, out+104; mov %r15, out+112\n"
        "  mov %rsp, out_rsp\n"
        "  mov saved_rsp, %rsp\n"
        "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
        ".bss\n"
        ".balign 16\n"
        "  .skip 4096\n"
        ".globl boot_panic_stack_top\n"
        "boot_panic_stack_top:\n"
        "  .skip 16\n"
        ".text\n");

static struct {
    const char *what;
    uint64_t a, b, c, d;
} event[EVENTS];
static unsigned events;
static uint64_t cr2, cr4 = 0x620, uart = 0x60, looks, ptes[SLACK + PTES + SLACK]; // looks: at the 16550's state
static const uint8_t idt_at_reset[16];
static sigjmp_buf gone;

static void note(const char *what, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    if (events < EVENTS) {
        event[events++] = (__typeof__(event[0])){what, a, b, c, d};
    }
}

typedef struct {
    uint8_t code[3], length, whole; // length to skip; bytes of code that have to be the same
    const char *what;
} privileged_t;

static const privileged_t privileged[] = {
    {{0x0f, 0x22, 0xdf}, 3, 3, "cr3"},
    {{0x0f, 0x20, 0xe0}, 3, 3, "get cr4"},
    {{0x0f, 0x22, 0xe0}, 3, 3, "cr4"},
    {{0x0f, 0x20, 0xd0}, 3, 3, "cr2"},
    {{0x0f, 0x30}, 2, 2, "wrmsr"},
    {{0x0f, 0x01, 0x3f}, 3, 3, "invlpg"},
    {{0x0f, 0x01, 0x1d}, 7, 3, "lidt"},
    {{0xfb}, 1, 1, "sti"},
    {{0xf4}, 1, 1, "hlt"},
    {{0xfa}, 1, 1, "cli"},
    {{0x66, 0xef}, 2, 2, "outw"},
    {{0x66, 0xed}, 2, 2, "inw"},
    {{0xee}, 1, 1, "outb"},
    {{0xec}, 1, 1, "inb"},
    {{0xef}, 1, 1, "outl"},
    {{0xe6}, 2, 1, "outbi"},
    {{0x0f, 0x0b, 0x01}, 3, 3, "vmcall"},
    {{0x0f, 0x0b, 0x02}, 3, 3, "vmmcall"},
};

static void emulate(const privileged_t *p, greg_t *r, const uint8_t *at) {
    uint64_t dx = (uint16_t)r[REG_RDX], ax = (uint64_t)r[REG_RAX];
    if (strcmp(p->what, "get cr4") == 0) {
        r[REG_RAX] = (greg_t)cr4;
    } else if (strcmp(p->what, "cr2") == 0) {
        r[REG_RAX] = (greg_t)cr2;
    } else if (strcmp(p->what, "cr3") == 0 || strcmp(p->what, "invlpg") == 0) {
        note(p->what, (uint64_t)r[REG_RDI], 0, 0, 0);
    } else if (strcmp(p->what, "cr4") == 0) {
        note(p->what, ax, 0, 0, 0);
    } else if (strcmp(p->what, "wrmsr") == 0) {
        note(p->what, (uint32_t)r[REG_RCX], (uint32_t)ax, (uint32_t)r[REG_RDX], 0);
    } else if (strcmp(p->what, "inb") == 0 || strcmp(p->what, "inw") == 0) {
        r[REG_RAX] = (greg_t)((ax & ~0xffull) | uart);
        looks += dx == 0x3fd;
    } else if (strncmp(p->what, "vm", 2) == 0) {
        note(p->what, ax, (uint64_t)r[REG_RDI], (uint64_t)r[REG_RSI], (uint64_t)r[REG_RDX]);
        r[REG_RAX] = 0x7777;
    } else if (strcmp(p->what, "lidt") == 0) {
        int32_t further; // than the next instruction
        memcpy(&further, at + 3, sizeof(further));
        note(p->what, *(const uint16_t *)(at + p->length + further), 0, 0, 0);
    } else {
        uint64_t mask = p->what[3] == 'b' ? 0xff : p->what[3] == 'w' ? 0xffff : 0xffffffff;
        note(p->what, at[0] == 0xe6 ? at[1] : dx, ax & mask, 0, 0);
    }
}

static void caught(int number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)r[REG_RIP];
    (void)info;
    for (unsigned i = 0; i < sizeof(privileged) / sizeof(privileged[0]); i++) {
        if (memcmp(at, privileged[i].code, privileged[i].whole) == 0) {
            emulate(&privileged[i], r, at);
            r[REG_RIP] += privileged[i].length;
            return;
        }
    }
    note(number == SIGILL && at[0] == 0x0f && at[1] == 0x0b ? "ud2" : "signal", (uint64_t)number, 0, 0, 0);
    siglongjmp(gone, 1);
}

// What vmcall does in a process is the business of the hypervisor below: have it fault on any.
static void make_hypercalls_fault(void) {
    uintptr_t first = (uintptr_t)monitor_service & ~4095ul;
    uint8_t *p = (uint8_t *)first;
    if (mprotect(p, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
        abort();
    }
    for (unsigned i = 0; i < 8189; i++) {
        if (p[i] == 0x0f && p[i + 1] == 0x01 && (p[i + 2] == 0xc1 || p[i + 2] == 0xd9)) {
            p[i + 2] = p[i + 2] == 0xc1 ? 1 : 2;
            p[i + 1] = 0x0b;
        }
    }
}

static void go(uint64_t where) {
    static const char *const names[] = {"rbx", "rbp", "r12", "r13", "r14", "r15"};
    static const uint8_t kept[] = {RBX, RBP, R12, R13, R14, R15};
    target = where;
    events = 0;
    in_panic = 0;
    EOI = UINT32_MAX;
    int left = sigsetjmp(gone, 1);
    if (left == 0) {
        enter();
    }
    for (unsigned i = 0; i < events; i++) {
        printf("%s %lx %lx %lx %lx\n", event[i].what, event[i].a, event[i].b, event[i].c, event[i].d);
    }
    for (unsigned i = 0; i < SLACK + PTES + SLACK; i++) {
        if (ptes[i] != UNTOUCHED) {
            printf("pte %d %lx\n", (int)i - SLACK, ptes[i]);
            ptes[i] = UNTOUCHED;
        }
    }
    for (unsigned i = 0; i < sizeof(kept) && left == 0 && in_panic == 0; i++) {
        if (in[kept[i]] != out[kept[i]]) {
            printf("lost %s\n", names[i]);
        }
    }
    if (left == 0 && in_panic == 0 && out_rsp != saved_rsp) {
        printf("lost rsp\n");
    }
    if (EOI != UINT32_MAX) {
        printf("eoi %x\n", EOI);
    }
    printf("looks %lx\n", looks);
    looks = 0;
    printf("pending %lx\n", monitor_pending);
    monitor_pending = 0;
    printf("%s %lx\n", left != 0 ? "gone" : in_panic ? "panic" : "rax", in_panic ? out_rsp : out[RAX]);
}

static void fault(const talk_t *t) {
    uint64_t vector = talk_number(t, 1), k = 0;
    if (strcmp(t->word[2], "-") != 0) {
        above[k++] = talk_number(t, 2);
    }
    above[k++] = talk_number(t, 3);
    above[k++] = CODE;
    above[k++] = talk_number(t, 5);
    above[k++] = talk_number(t, 4);
    above[k++] = DATA;
    above_count = k;
    cr2 = talk_number(t, 6);
    go((uint64_t)monitor_fault_stubs + (vector & 31) * MONITOR_FAULT_STUB);
    const uint64_t *f = (const uint64_t *)&monitor_fault;
    printf("fault");
    for (unsigned i = 0; i < sizeof(monitor_fault) / sizeof(*f); i++) {
        printf(" %lx", f[i]);
    }
    printf("\n");
    printf("flags %lx\n", panic_flags);
    printf("top %lx\n", (uint64_t)boot_panic_stack_top);
}

static void tables(void) {
    uint64_t base = (uint64_t)monitor_gdt, idt = (uint64_t)monitor_idt;
    printf("gdtr %d %d\n", monitor_gdtr[0] | monitor_gdtr[1] << 8, memcmp(monitor_gdtr + 2, &base, 8) == 0);
    printf("idtr %d %d\n", monitor_idtr[0] | monitor_idtr[1] << 8, memcmp(monitor_idtr + 2, &idt, 8) == 0);
    printf("idt %lx\n", idt);
    unsigned limit = monitor_gdt[MONITOR_TSS] | (unsigned)monitor_gdt[MONITOR_TSS + 1] << 8;
    printf("gdt ");
    talk_print_bytes(monitor_gdt, MONITOR_TSS + 16);
    printf("tss ");
    talk_print_bytes(monitor_tss, limit + 1);
}

static void idt(void) {
    monitor_idt_init();
    printf("service %lx\nspurious %lx\n", (uint64_t)monitor_service, (uint64_t)monitor_spurious);
    for (unsigned i = 0; i < 32; i++) {
        printf("stub %u %lx\n", i, (uint64_t)monitor_fault_stubs + i * MONITOR_FAULT_STUB);
    }
    for (unsigned i = 0; i < MONITOR_IRQS; i++) {
        printf("stub %u %lx\n", MONITOR_IRQ_BASE + i, (uint64_t)monitor_irq_stubs + i * MONITOR_IRQ_STUB);
    }
    for (unsigned i = 0; i < GATES; i++) {
        if (memcmp(monitor_idt + 16 * i, idt_at_reset, 16) != 0) {
            printf("gate %u ", i);
            talk_print_bytes(monitor_idt + 16 * i, 16);
        }
    }
}

static void command(const talk_t *t) {
    for (unsigned i = 0; i < REGISTERS; i++) {
        in[i] = 0x1111111111111111ull * (i + 1);
    }
    above_count = 0;
    patched = &frame;
    monitor_panic_entry = (uint64_t)hal_fault_entry;
    monitor_panic_stack = (uint64_t)boot_panic_stack_top - 8;
    if (talk_is(t, "service")) {
        in[RAX] = talk_number(t, 1);
        in[RDI] = talk_number(t, 2);
        in[RSI] = talk_number(t, 3);
        in[RDX] = talk_number(t, 4);
        in[RCX] = talk_number(t, 5);
        go((uint64_t)monitor_service);
    } else if (talk_is(t, "elsewhere")) { // a lock: from enter()'s label 1, which takes note of the registers, on
        extern const char enter_end[];
        in[RAX] = MONITOR_LOCK;
        in[RDI] = talk_number(t, 1);
        in[RSI] = 0;
        in[RDX] = (uint64_t)(hal_fault_entry - enter_end);
        go((uint64_t)monitor_service);
        printf("top %lx\n", out_rsp);
    } else if (talk_is(t, "irq")) { // behind the idle service's frame, of which it takes the stack pointer alone
        above[0] = above[1] = above[2] = above[4] = 1;
        above_count = 5;
        patched = &above[3];
        go((uint64_t)monitor_irq_stubs + talk_number(t, 1) * MONITOR_IRQ_STUB);
    } else if (talk_is(t, "spurious")) {
        go((uint64_t)monitor_spurious);
    } else if (talk_is(t, "fault")) {
        fault(t);
    } else if (talk_is(t, "arena")) {
        monitor_arena_start = talk_number(t, 1);
        monitor_arena_end = talk_number(t, 2);
        monitor_arena_ptes = (uint64_t)(ptes + SLACK);
        monitor_arena_offset = talk_number(t, 3);
    } else if (talk_is(t, "hypercalls")) {
        monitor_hypercalls = (uint8_t)talk_number(t, 1);
    } else if (talk_is(t, "cr4")) {
        cr4 = talk_number(t, 1);
    } else if (talk_is(t, "uart")) {
        uart = talk_number(t, 1);
    } else if (talk_is(t, "idt")) {
        idt();
    } else if (talk_is(t, "tables")) {
        tables();
    } else if (talk_is(t, "clocks")) {
        printf("%lx %lx\n", (uint64_t)&monitor_pvclock, (uint64_t)&monitor_wallclock);
    }
}

int main(void) {
    static uint8_t stack[65536];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction act = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap((void *)LAPIC, LAPIC_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0) != (void *)LAPIC) {
        perror("mmap");
        return 1;
    }
    for (unsigned i = 0; i < SLACK + PTES + SLACK; i++) {
        ptes[i] = UNTOUCHED;
    }
    make_hypercalls_fault();
    if (sigaltstack(&other, NULL) != 0 || sigaction(SIGSEGV, &act, NULL) != 0 || sigaction(SIGILL, &act, NULL) != 0) {
        return 1;
    }
    return talk(command);
}
