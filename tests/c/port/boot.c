// SPDX-License-Identifier: MIT
// port/boot/boot.c and paging.c run whole on the host: from a PVH start info to the tables that the monitor would
// get. RAM is identity mapped here too, as far as the tables go. Commands: ram ADDR SIZE TYPE; module ADDR SIZE;
// cmdline HEX; appended BYTES, behind the image; offset BYTES; boot ARENA_PAGES; iommu CAPABILITIES ANSWERS: the
// machine has one, with this register, which does what it is told to, or not (0); xen MAKER (the second word of CPUID
// leaf 0): Xen runs this VM; cpuid LEAVES EBX ECX, of leaf 7.

#include "talk.h"

#include <setjmp.h>
#include <sys/mman.h>

#include "app.h"
#include "monitor/monitor.h"

static floe_app_t fake_app;
static uint64_t locked_pml4, locked_cr4;

#define main floe_main
#define floe_app fake_app
#include "boot/boot.c"
#include "boot/paging.c"
#undef main
#undef MIB2
#undef GIB
#define ENTRIES DMA_ENTRIES
#include "boot/iommu.c"
#undef ENTRIES

enum { IOMMU_AT = 0xfed90000, IOTLB_AT = 0x100 };
static uint64_t iommu[HAL_PAGE_SIZE / 8]; // its registers
enum { MAP_START = 0x110000, MAP_END = 0x30000000, ENTRIES_MAX = 64 };

uintptr_t hal_ram_offset;
uint64_t boot_start_info, boot_entry_tsc, monitor_arena_start, monitor_arena_end, monitor_arena_ptes,
    monitor_arena_offset;
static pvh_start_info_t info = {.magic = PVH_MAGIC, .version = 1};
static pvh_memmap_entry_t memmap[ENTRIES_MAX];
static uint64_t modules[ENTRIES_MAX][4];
static jmp_buf done;
static uint32_t xen_maker, leaf_7[4], leaves;
uint8_t monitor_hypercalls;

void monitor_idt_init(void) {}
void boot_canary(void) {}
void boot_faults(void) {}
void boot_place(void) {}

_Noreturn void boot_enter(uint64_t pml4, uint64_t cr4) {
    locked_pml4 = pml4;
    locked_cr4 = cr4;
    boot_go_on(0);
}

boot_acpi_t boot_acpi;
static bool answers;
volatile void *boot_reach(uint64_t at) { return at == IOMMU_AT ? iommu : NULL; }
void boot_acpi_read(uint64_t rsdp) { (void)rsdp; }

// The IOMMU has done what it was told to whenever somebody looks at the time.
uint64_t hal_clock_cycles(void) {
    static uint64_t now;
    if (boot_acpi.iommu != 0 && answers) {
        *(uint32_t *)(registers + GSTS) |= *(uint32_t *)(registers + GCMD);
        *(uint64_t *)(registers + CCMD) &= ~BUSY;
        *(uint64_t *)(registers + IOTLB_AT + IOTLB) &= ~BUSY;
    }
    return now += 1 << 30;
}

void hal_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4]) {
    memset(r, 0, 16);
    if (leaf == 0) {
        r[0] = leaves;
        r[1] = xen_maker;
    } else if (leaf == 7 && subleaf == 0) {
        memcpy(r, leaf_7, sizeof(leaf_7));
    }
}

hal_hv_t hal_cpu_hypervisor(void) { return xen_maker != 0 ? HAL_HV_XEN : HAL_HV_NONE; }

// What the x87 is after a reset (Intel's manual, volume 3, 9.1.1), as Xen's domains have it:
// single precision, exceptions on.
static const uint16_t x87_of_reset = 0x40;
static uint16_t x87_of_main;

int floe_main(void) {
    __asm__ volatile("fnstcw %0" : "=m"(x87_of_main));
    return 0;
}

_Noreturn void hal_exit(int code) { longjmp(done, code + 1); }

TALK_PANIC(longjmp(done, 121))

typedef struct {
    uint64_t start, end, flags;
} range_t;

static void flush(range_t *r) {
    if (r->start < r->end) {
        printf("map %llx %llx %llx\n", (unsigned long long)r->start, (unsigned long long)r->end,
               (unsigned long long)r->flags);
    }
    r->start = r->end = 0;
}

// One leaf, joined with its neighbour where both have the same rights.
static void leaf(range_t *r, uint64_t va, uint64_t size, uint64_t entry) {
    uint64_t flags = entry & ~(PTE_ADDR | PTE_LARGE);
    if ((entry & PTE_ADDR) != va - (va >= PML4E_SPAN ? hal_ram_offset : 0)) {
        printf("elsewhere %llx %llx\n", (unsigned long long)va, (unsigned long long)entry);
    }
    if (r->end != va || r->flags != flags) {
        flush(r);
        *r = (range_t){va, va, flags};
    }
    r->end = va + size;
}

// A table that an entry points to, and whether the entry leaves all rights to the leaves.
static uint64_t *below(uint64_t entry) {
    printf("table %llx\n", (unsigned long long)(entry & PTE_ADDR));
    if ((entry & 7) != 7 || (entry & PTE_NX)) {
        printf("narrow %llx\n", (unsigned long long)entry);
    }
    return (uint64_t *)(entry & PTE_ADDR);
}

static void walk_pd(range_t *r, uint64_t *pd, uint64_t base) {
    for (uint64_t i = 0; i < ENTRIES; i++) {
        uint64_t va = base + i * MIB2;
        if (!(pd[i] & PTE_PRESENT)) {
            continue;
        }
        if (pd[i] & PTE_LARGE) {
            leaf(r, va, MIB2, pd[i]);
            continue;
        }
        uint64_t *pt = below(pd[i]);
        for (uint64_t k = 0; k < ENTRIES; k++) {
            if (pt[k] & PTE_PRESENT) {
                leaf(r, va + k * HAL_PAGE_SIZE, HAL_PAGE_SIZE, pt[k]);
            }
        }
    }
}

static void walk(uint64_t *pml4) {
    range_t r = {0};
    printf("table %llx\n", (unsigned long long)(uintptr_t)pml4);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        if (!(pml4[i] & PTE_PRESENT)) {
            continue;
        }
        uint64_t *pdpt = below(pml4[i]);
        for (uint64_t k = 0; k < ENTRIES; k++) {
            if (pdpt[k] & PTE_PRESENT) {
                walk_pd(&r, below(pdpt[k]), i * PML4E_SPAN + k * GIB);
            }
        }
    }
    flush(&r);
}

// What any device of any bus reaches, page by page.
static void walk_dma(void) {
    uint64_t *root = *(uint64_t **)(registers + RTADDR), *context = (uint64_t *)(root[0] & PTE_ADDR);
    printf("table %llx\ntable %llx\n", (unsigned long long)(uintptr_t)root, (unsigned long long)(uintptr_t)context);
    for (unsigned i = 0; i < ENTRIES; i += 2) {
        if (root[i] != root[0] || root[i + 1] != 0 || context[i] != context[0] || context[i + 1] != 0x101) {
            printf("another function %u\n", i / 2);
        }
    }
    range_t r = {0};
    uint64_t *levels = (uint64_t *)(context[0] & PTE_ADDR);
    printf("table %llx\n", (unsigned long long)(uintptr_t)levels);
    for (uint64_t g = 0; g < ENTRIES; g++) {
        uint64_t *pd = levels[g] != 0 ? below(levels[g] | 7) : NULL;
        for (uint64_t i = 0; pd != NULL && i < ENTRIES; i++) {
            uint64_t *pt = pd[i] == 0 || (pd[i] & PTE_LARGE) ? &pd[i] : below(pd[i] | 7);
            bool large = pt == &pd[i];
            for (uint64_t k = 0; k < (large ? 1 : ENTRIES); k++) {
                uint64_t at = g * GIB + i * MIB2 + k * HAL_PAGE_SIZE, rights = pt[k] & BOOT_DMA_BOTH;
                if (rights != 0 && (pt[k] & PTE_ADDR) != at) {
                    printf("elsewhere %llx\n", (unsigned long long)at);
                }
                for (uint64_t n = 0; rights != 0 && n < (large ? ENTRIES : 1); n++) {
                    uint64_t page = at + n * HAL_PAGE_SIZE;
                    if (r.end != page || r.flags != rights) {
                        if (r.end > r.start) {
                            printf("dma %llx %llx %llx\n", (unsigned long long)r.start, (unsigned long long)r.end,
                                   (unsigned long long)r.flags);
                        }
                        r = (range_t){page, page, rights};
                    }
                    r.end = page + HAL_PAGE_SIZE;
                }
            }
        }
    }
    printf("dma %llx %llx %llx\n", (unsigned long long)r.start, (unsigned long long)r.end, (unsigned long long)r.flags);
    printf("translates %x\n", *(uint32_t *)(registers + GSTS));
}

static void boot(size_t arena_pages) {
    fake_app.arena_pages = arena_pages;
    info.memmap = (uint64_t)(uintptr_t)memmap;
    info.modlist = (uint64_t)(uintptr_t)modules;
    boot_start_info = (uint64_t)(uintptr_t)&info;
    __asm__ volatile("fldcw %0" : : "m"(x87_of_reset));
    if (setjmp(done) == 0) {
        boot_start();
    }
    if (locked_pml4 == 0) {
        return;
    }
    printf("x87 %x\n", x87_of_main);
    walk((uint64_t *)locked_pml4);
    if (boot_acpi.iommu != 0) {
        walk_dma();
    }
    for (unsigned i = 0; i < boot_ram_count; i++) {
        printf("free %llx %llx\n", (unsigned long long)boot_ram[i].start, (unsigned long long)boot_ram[i].end);
    }
    if (monitor_arena_offset != (monitor_arena_end != 0 ? hal_ram_offset : 0)) {
        printf("arena elsewhere\n");
    }
    printf("arena %llx %llx %llx\n", (unsigned long long)monitor_arena_start, (unsigned long long)monitor_arena_end,
           (unsigned long long)monitor_arena_ptes);
    printf("hypercalls %x\n", monitor_hypercalls);
    printf("cr4 %llx\n", (unsigned long long)locked_cr4);
    printf("total %llx\n", (unsigned long long)boot_ram_total);
}

static void command(const talk_t *t) {
    if (talk_is(t, "ram")) {
        memmap[info.memmap_entries++] =
            (pvh_memmap_entry_t){talk_number(t, 1), talk_number(t, 2), (uint32_t)talk_number(t, 3), 0};
    } else if (talk_is(t, "module")) {
        modules[info.nr_modules][0] = talk_number(t, 1);
        modules[info.nr_modules++][1] = talk_number(t, 2);
    } else if (talk_is(t, "appended")) {
        fake_app.appended = talk_number(t, 1);
    } else if (talk_is(t, "offset")) {
        hal_ram_offset = talk_number(t, 1);
    } else if (talk_is(t, "iommu")) {
        boot_acpi.iommu = IOMMU_AT;
        iommu[CAP / 8] = talk_number(t, 1);
        iommu[ECAP / 8] = IOTLB_AT / 16 << 8;
        answers = talk_number(t, 2) != 0;
    } else if (talk_is(t, "xen")) {
        xen_maker = (uint32_t)talk_number(t, 1);
    } else if (talk_is(t, "cpuid")) {
        leaves = (uint32_t)talk_number(t, 1);
        leaf_7[1] = (uint32_t)talk_number(t, 2);
        leaf_7[2] = (uint32_t)talk_number(t, 3);
    } else if (talk_is(t, "cmdline")) {
        size_t len;
        unsigned char *p = talk_bytes(t, 1, &len);
        char *text = malloc(len + 1); // ends where the block does
        memcpy(text, p, len);
        text[len] = '\0';
        memset(boot_cmdline, 0, sizeof(boot_cmdline));
        copy_cmdline(text);
        free(text);
        free(p);
        talk_print_bytes(boot_cmdline, strnlen(boot_cmdline, sizeof(boot_cmdline)));
    } else if (talk_is(t, "boot")) {
        boot(talk_number(t, 1));
    }
}

int main(void) {
    void *want = (void *)MAP_START;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    if (mmap(want, MAP_END - MAP_START, PROT_READ | PROT_WRITE, flags, -1, 0) != want) {
        perror("mmap");
        return 1;
    }
    return talk(command);
}
