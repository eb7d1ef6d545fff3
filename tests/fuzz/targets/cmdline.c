// SPDX-License-Identifier: MIT
// The kernel command line: taken over from the hypervisor, and asked for each key that Floe has. port/boot/boot.c,
// port/hal/cmdline.c

#include <string.h>

#include "app.h"
#include "monitor/monitor.h"
#include "world.h"

static floe_app_t fake_app;

#define main floe_main
#define floe_app fake_app
#include "boot/boot.c"
#include "hal/cmdline.c"
#undef main

uint64_t boot_start_info, boot_entry_tsc;
uint8_t monitor_hypercalls;

int floe_main(void) { return 0; }
void monitor_idt_init(void) {}
void boot_canary(void) {}
void boot_acpi_read(uint64_t rsdp) { (void)rsdp; }
void boot_faults(void) {}
void boot_place(void) {}
_Noreturn void boot_paging(size_t arena_pages) {
    (void)arena_pages;
    __builtin_trap();
}
void hal_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4]) { memset(r, (int)(leaf + subleaf), 16); }
hal_hv_t hal_cpu_hypervisor(void) { return HAL_HV_NONE; }
_Noreturn void hal_exit(int code) {
    (void)code;
    __builtin_trap();
}
_Noreturn void hal_panic(const char *fmt, ...) {
    (void)fmt;
    __builtin_trap();
}

void fuzz_one(void) {
    static const char *const keys[] = {"ip", "virtio_mmio.device", "env.A", "time", "x", ""};
    size_t size = 1 + in_below(80), len;
    unsigned first = in_u8();
    char *line = (char *)in_rest(5000, &len);
    char *text = (char *)line;
    if (len == 0) {
        return;
    }
    line[len - 1] = 0;
    copy_cmdline(text);
    FUZZ_CHECK(strnlen(boot_cmdline, sizeof boot_cmdline) < sizeof boot_cmdline);
    FUZZ_CHECK(boot_cmdline_cut == (strlen(text) > sizeof boot_cmdline - 2));
    char out[81];
    for (unsigned i = 0; i < HAL_ARRAY_LEN(keys); i++) {
        size_t pos = 0, last = 0;
        int n;
        while ((n = hal_cmdline_next(keys[(first + i) % HAL_ARRAY_LEN(keys)], &pos, out, size)) >= 0) {
            FUZZ_CHECK(pos > last && pos <= strlen(boot_cmdline));
            FUZZ_CHECK(strlen(out) == ((size_t)n < size ? (size_t)n : size - 1));
            last = pos;
        }
        FUZZ_CHECK(n == -ENOENT);
    }
}
