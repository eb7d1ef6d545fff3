// SPDX-License-Identifier: MIT
// The end of the line: one PANIC line on the 16550 or what stands for it, whatever state the rest is in, then exit code
// 120. Owns the panic state. Not here: saving the registers (monitor.S).
// Context: ring 3; after a fault, on the panic stack.

#include <stdarg.h>
#include <stdio.h>

#include "../boot/boot.h"
#include "../monitor/monitor.h"
#include "internal.h"

enum { VECTOR_PF = 14, PF_FETCH = 0x10, PF_WRITE = 2, LINE_MAX = 700 };

void (*hal_panic_hook)(void);
static bool panicking;

static _Noreturn void end(const char *line, int len) {
    hal_event_panic();
    hal_uart_write("\n", 1);
    hal_uart_write(line, (size_t)(len < LINE_MAX ? len : LINE_MAX - 1));
    if (!panicking) {
        panicking = true;
        if (hal_panic_hook != NULL) {
            hal_panic_hook();
        }
        hal_console_flush(100000000);
    }
    hal_exit(HAL_PANIC_CODE);
}

_Noreturn void hal_panic(const char *fmt, ...) {
    char line[LINE_MAX];
    int n = snprintf(line, sizeof(line), "PANIC: ");
    va_list ap;
    va_start(ap, fmt);
    n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
    va_end(ap);
    n = n < LINE_MAX - 40 ? n : LINE_MAX - 40;
    n += snprintf(line + n, sizeof(line) - (size_t)n, " rip=0x%lx offset=0x%lx\n",
                  (unsigned long)__builtin_return_address(0), hal_ram_offset);
    end(line, n);
}

static const char *cause(const monitor_fault_t *f) {
    static const char *const names[32] = {
        "division by zero",
        "debug",
        "NMI",
        "breakpoint",
        "overflow",
        "bound",
        "invalid opcode",
        "no FPU",
        "double fault",
        "coprocessor",
        "invalid TSS",
        "segment not present",
        "stack segment",
        "general protection",
        "page fault",
        "reserved",
        "x87 error",
        "alignment",
        "machine check",
        "SIMD error",
    };
    if (f->vector == VECTOR_PF) {
        uint64_t stack_guard = (uint64_t)boot_stack_bottom;
        if (f->cr2 < stack_guard && f->cr2 >= stack_guard - HAL_PAGE_SIZE) {
            return "stack overflow";
        }
        if (f->cr2 < HAL_PAGE_SIZE) {
            return "NULL pointer access";
        }
        return f->error & PF_FETCH ? "execution of data" : f->error & PF_WRITE ? "forbidden write" : "forbidden read";
    }
    return f->vector < 32 && names[f->vector] != NULL ? names[f->vector] : "unknown fault";
}

// Entered by iretq from the monitor with the registers in monitor_fault.
_Noreturn void hal_fault_entry(void) {
    const monitor_fault_t *f = &monitor_fault;
    char line[LINE_MAX];
    int n = snprintf(
        line, sizeof(line),
        "PANIC: %s, vector %lu error 0x%lx rip=0x%lx cr2=0x%lx rsp=0x%lx rbp=0x%lx cs=0x%lx rflags=0x%lx "
        "rax=0x%lx rbx=0x%lx rcx=0x%lx rdx=0x%lx rsi=0x%lx rdi=0x%lx r8=0x%lx r9=0x%lx r10=0x%lx r11=0x%lx "
        "r12=0x%lx r13=0x%lx r14=0x%lx r15=0x%lx offset=0x%lx\n",
        cause(f), f->vector, f->error, f->rip, f->cr2, f->rsp, f->rbp, f->cs, f->rflags, f->rax, f->rbx, f->rcx, f->rdx,
        f->rsi, f->rdi, f->r8, f->r9, f->r10, f->r11, f->r12, f->r13, f->r14, f->r15, hal_ram_offset);
    end(line, n);
}
