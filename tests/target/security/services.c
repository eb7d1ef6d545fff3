// SPDX-License-Identifier: MIT
// A guest without MicroPython, in ring 3: asks the monitor for every service with every bad argument, and the processor
// for what ring 0 alone may do. The word behind `--` on the command line says what; "services" prints one line for each
// answer that is not what it has to be, everything else ends in a PANIC that names its cause.

#include "guest.h"

int main(void);

static volatile uint64_t seen[PAGE / 8] __attribute__((aligned(PAGE))) = {0x5ee};
static volatile uint64_t hidden[PAGE / 8] __attribute__((aligned(PAGE))) = {0xbad};

static void expect(const char *what, uint64_t argument, long answer, long right) {
    if (answer != right) {
        say("%s %lx: %ld\n", what, argument, answer);
    }
}

static void try_lock(void) {
    static const uint64_t cr4[] = {0, 1ull << 20, 1ull << 11, 1ull << 16, ~0ull};
    make_tables();
    *own_entry((uint64_t)seen) = entry_for(hidden);
    for (unsigned i = 0; i < HAL_ARRAY_LEN(cr4); i++) {
        expect("lock", cr4[i], ask(MONITOR_LOCK, hal_physical(pml4), cr4[i], 0, 0), -1);
        expect("lock of nothing", cr4[i], ask(MONITOR_LOCK, 0, cr4[i], 0, 0), -1);
        expect("page tables of ring 3", cr4[i], (long)seen[0], 0x5ee);
    }
}

static void try_protect(void) {
    uint64_t start = boot_arena_start, end = boot_arena_end, pages = (end - start) / PAGE;
    const uint64_t bad[][3] = {
        {start - PAGE, 1, 1},
        {start - PAGE, 2, 0},
        {end, 1, 1},
        {end, 0, 1},
        {end - PAGE, 2, 1},
        {start, pages + 1, 1},
        {start, 1ull << 52, 1},
        {start, (1ull << 52) + 1, 1},
        {start + PAGE, ~0ull, 1},
        {start + 1, 1, 1},
        {start + PAGE - 1, 1, 1},
        {start, 1, 2},
        {start, 1, 0xffffffff},
        {start + (1ull << 32), 1, 1},
        {(uint64_t)link_start, 1, 0},
        {(uint64_t)link_text, 1, 0},
        {(uint64_t)link_data, 1, 1},
        {(uint64_t)link_end, 1, 0},
        {0, 1, 0},
        {~0ull & ~(PAGE - 1ull), 1, 1},
        {1ull << 63, 1, 1},
    };
    expect("arena", pages, pages >= ARENA_PAGES, 1);
    for (unsigned i = 0; i < HAL_ARRAY_LEN(bad); i++) {
        expect("protect", bad[i][0], ask(MONITOR_PROTECT, bad[i][0], bad[i][1], bad[i][2], 0), -1);
    }
    for (uint64_t kind = 2; kind-- > 0;) { // writable again in the end
        expect("protect all", kind, ask(MONITOR_PROTECT, start, pages, kind, 0), 0);
    }
    *(volatile uint64_t *)start = *(volatile uint64_t *)(end - 8) = 1;
    expect("protect nothing", 0, ask(MONITOR_PROTECT, start, 0, 1, 0), 0);
}

static void try_services(void) {
    static const uint64_t numbers[] = {MONITOR_SERVICES, 9, 63, 255, 1u << 31, 0xffffffff, ~0ull};
    static const uint64_t msrs[] = {0,          0x10,       0x1b,       0x174,      0x176,      0x277,
                                    0x4b564cff, 0x4b564d02, 0xc0000080, 0xc0000082, 0xffffffff, ~0ull};
    expect("nop", 0, ask(MONITOR_NOP, 1, 2, 3, 4), 0);
    for (unsigned i = 0; i < HAL_ARRAY_LEN(numbers); i++) {
        expect("service", numbers[i], ask(numbers[i], 1, 2, 3, 4), -1);
    }
    try_lock();
    try_protect();
    for (unsigned i = 0; i < HAL_ARRAY_LEN(msrs); i++) {
        expect("msr", msrs[i], ask(MONITOR_KVMCLOCK, msrs[i], ~0ull, ~0ull, 0), -1);
    }
    for (uint64_t i = 0; i < 130; i++) {
        expect("hypercall", i, ask(MONITOR_HYPERCALL, 1, 2, 3, i), -1);
    }
    expect("hypercall", ~0ull, ask(MONITOR_HYPERCALL, 1, 2, 3, ~0ull), -1);
}

// ---- what ends in a panic -----------------------------------------------------------------------------

static void int8(void) { __asm__ volatile("int $8"); }
static void int14(void) { __asm__ volatile("int $14"); }
static void int64(void) { __asm__ volatile("int $0x40"); }
static void int111(void) { __asm__ volatile("int $0x6f"); }
static void int128(void) { __asm__ volatile("int $0x80"); }
static void int255(void) { __asm__ volatile("int $0xff"); }
static void read_cr3(void) { __asm__ volatile("mov %%cr3, %%rax" ::: "rax"); }
static void write_cr3(void) { __asm__ volatile("mov %0, %%cr3" ::"r"(hal_physical(pml4))); }
static void write_cr0(void) { __asm__ volatile("mov %0, %%cr0" ::"r"(0x80000013ul)); }
static void write_cr4(void) { __asm__ volatile("mov %0, %%cr4" ::"r"(0x620ul)); }
static void rdmsr(void) { __asm__ volatile("rdmsr" ::"c"(0xc0000080) : "eax", "edx"); }
static void wrmsr(void) { __asm__ volatile("wrmsr" ::"c"(0xc0000080), "a"(0x900), "d"(0)); }
static void lidt(void) { __asm__ volatile("lidt %0" ::"m"(hidden)); }
static void lgdt(void) { __asm__ volatile("lgdt %0" ::"m"(hidden)); }
static void ltr(void) { __asm__ volatile("ltr %w0" ::"r"(MONITOR_TSS)); }
static void invlpg(void) { __asm__ volatile("invlpg %0" ::"m"(hidden)); }
static void far_return(void) {
    __asm__ volatile("leaq 1f(%%rip), %%rax; pushq $0x10; pushq %%rax; lretq; 1:" ::: "rax");
}
static void port_of_power(void) { hal_out16(0xd00, 0); }
static void interrupt_controller(void) { hal_out8(0x20, 0); }
static void interval_timer(void) { hal_out8(0x43, 0); }
static void isa_dma(void) { hal_in8(0x08); }
static void last_port(void) { hal_out8(0xffff, 0); }

// popf leaves IOPL as it was and says nothing; what is seen of IF is the host's below some KVMs.
static void interrupts_on(void) {
    uint64_t flags;
    __asm__ volatile("pushfq; orq $0x3200, (%%rsp); popfq; pushfq; pop %0" : "=r"(flags));
    say("flags %lx\n", flags & 0x3000);
    hal_exit(0);
}

static void arena_write(void) {
    ask(MONITOR_PROTECT, boot_arena_start, 1, 1, 0);
    *(volatile uint8_t *)boot_arena_start = 0xc3;
}

static void arena_call(void) {
    *(volatile uint8_t *)boot_arena_start = 0xc3; // ret
    ask(MONITOR_PROTECT, boot_arena_start, 1, 1, 0);
    ((void (*)(void))boot_arena_start)();
    say("called\n");
    ask(MONITOR_PROTECT, boot_arena_start, 1, 0, 0);
    ((void (*)(void))boot_arena_start)();
}

static void sgdt(void) {
    uint32_t r[4];
    hal_cpuid(7, 0, r);
    say("umip %d\n", (r[2] & BIT64(2)) != 0);
    __asm__ volatile("sgdt %0" : "=m"(hidden));
}

// What firmware left to the two controllers of old would come as vector 8, which is the double fault's.
static void old_controllers(void) {
    hal_irq_init();
    say("masked %x %x\n", (unsigned)hal_in8(0x21), (unsigned)hal_in8(0xa1));
    hal_exit(0);
}

static const verb_t verbs[] = {
    {"int8", int8},
    {"int14", int14},
    {"int64", int64},
    {"int111", int111},
    {"int128", int128},
    {"int255", int255},
    {"read_cr3", read_cr3},
    {"write_cr3", write_cr3},
    {"write_cr0", write_cr0},
    {"write_cr4", write_cr4},
    {"rdmsr", rdmsr},
    {"wrmsr", wrmsr},
    {"lidt", lidt},
    {"lgdt", lgdt},
    {"ltr", ltr},
    {"invlpg", invlpg},
    {"far_return", far_return},
    {"port_of_power", port_of_power},
    {"interrupt_controller", interrupt_controller},
    {"interval_timer", interval_timer},
    {"isa_dma", isa_dma},
    {"last_port", last_port},
    {"interrupts_on", interrupts_on},
    {"old_controllers", old_controllers},
    {"arena_write", arena_write},
    {"arena_call", arena_call},
    {"sgdt", sgdt},
};

int main(void) {
    run_verb(verbs, HAL_ARRAY_LEN(verbs));
    try_services();
    say("all services asked\n");
    hal_exit(0);
}
