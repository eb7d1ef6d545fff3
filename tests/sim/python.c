// SPDX-License-Identifier: MIT
// A server of Python for the simulation: an image's frozen script over the port's own archive, started and ended as
// port/main.c does it. It is asked for its end as a VM is, by the power button. What of the HAL only Python needs.
// Owns the GC heap's areas. Not here: clock, interrupts, devices (node.c), what the script does. Context: its node.

#include <string.h>

#include "app.h"
#include "boot/boot.h"
#include "hal/internal.h"
#include "port.h"
#include "py/cstack.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "tests/sim/simhal.h"

enum { STACK = 256 << 10, EMERGENCY_BYTES = 256 }; // as port/boot/entry.S and port/main.c have them
#define LOOK_NS 500000000ull                       // how often it is looked whether the end has come
#define DRAIN_NS 2000000000ull                     // EXIT_DRAIN_NS there
#define GRACE_NS 5000000000ull

void *sim_malloc(size_t size);
void *sim_calloc(size_t n, size_t size);
void sim_free(void *p);

const hal_platform_t *hal_platform;
bool boot_cmdline_cut;
uintptr_t hal_irq_halted;
void (*hal_panic_hook)(void);
static size_t taken; // bytes of areas
static bool serving; // it says so itself

// What the compiler's checks of the stack ask for.
uintptr_t __stack_chk_guard = 0x5af3107a4000;
_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void) { sim_broken("PANIC: stack smashed"); }

// ---- the archive's libc: its allocator is the world's ---------------------------------------------

void *malloc(size_t size) { return sim_malloc(size); }
void *calloc(size_t n, size_t size) { return sim_calloc(n, size); }
void free(void *p) { sim_free(p); }
void *realloc(void *p, size_t size) { return (void)p, (void)size, NULL; } // nobody's who runs here

// The interpreter's, for each object (scripts.py has the linker lead it here).
void *__real_gc_alloc(size_t bytes, unsigned flags);
void *__wrap_gc_alloc(size_t bytes, unsigned flags);
void *__wrap_gc_alloc(size_t bytes, unsigned flags) {
    return sim_host->refuses(sim_host->ctx, bytes) ? NULL : __real_gc_alloc(bytes, flags);
}

// ---- hal.h --------------------------------------------------------------------------------------

void *hal_mem_take(size_t bytes, size_t align, size_t reserve) {
    (void)align; // a page, as all have
    if (bytes > hal_mem_largest(reserve)) {
        return NULL;
    }
    void *p = sim_host->area(sim_host->ctx, bytes);
    taken += p != NULL ? bytes : 0;
    return p;
}
bool hal_mem_return(void *p, size_t bytes) {
    (void)p, (void)bytes;
    return false;
}
size_t hal_mem_largest(size_t reserve) {
    size_t kept = taken + reserve;
    return kept < sim_start->ram ? (sim_start->ram - kept) & ~(size_t)(HAL_PAGE_SIZE - 1) : 0;
}

// Where the console goes. What fails before it serves is no fault: it would not start.
void hal_uart_write(const char *data, size_t len) {
    static const char line[] = ": serving on port ";
    for (size_t i = 0; i + sizeof line <= len && !serving; i++) {
        serving = memcmp(data + i, line, sizeof line - 1) == 0;
    }
    sim_host->log(sim_host->ctx, data, len);
}
size_t hal_uart_read(char *out, size_t size) {
    (void)out, (void)size;
    return 0;
}

// Nothing is handed to it by name, and nothing is loaded beside it.
int hal_blob_size(const char *name) { return (void)name, -ENOENT; }
int hal_blob_read(const char *name, void *out, size_t len) { return (void)name, (void)out, (void)len, -ENOENT; }
int hal_blob_next(const char *prefix, size_t *pos, char *out, size_t size) {
    return (void)prefix, (void)pos, (void)out, (void)size, -ENOENT;
}
bool hal_vm_uuid(uint8_t out[16]) { return (void)out, false; }
boot_ram_t boot_module[BOOT_MODULE_MAX];
unsigned boot_module_count;

size_t hal_mem_sbrk_used(void) { return 0; }
size_t libc_malloc_used(void) { return 0; }
const char *hal_clock_source(void) { return "simulated"; }
void hal_clock_wall_set(uint64_t ns) { (void)ns; }
void hal_clock_resume(uint64_t ns) { (void)ns; }
void hal_entropy_noise(hal_noise_t source, const void *data, size_t len) { (void)source, (void)data, (void)len; }
_Noreturn void hal_reset(void) { sim_broken("the server resets its machine"); }
_Noreturn void hal_wake(void) { sim_broken("the server resets its machine"); }
_Noreturn void floe_end(int code) { hal_exit(code); }

_Noreturn void hal_exit(int code) { sim_broken("the server has ended, with %d", code); }

// ---- a life -------------------------------------------------------------------------------------

static uint64_t end_by;   // after it was asked for its end; 0: not yet
static bool script_ended; // the rest is the stack's

// When the world's time is up it is asked for its end as port/hal/stop.c asks.
static bool watch(void *arg) {
    (void)arg;
    if (serving) {
        sim_host->done(sim_host->ctx, true);
    }
    if (sim_phase() == SIM_END && end_by == 0) {
        end_by = hal_clock_ns() + GRACE_NS;
        hal_console_input(hal_console_stop, strlen(hal_console_stop));
    }
    if (end_by != 0 && !script_ended && hal_clock_ns() > end_by) {
        sim_broken("the script was asked for its end, and does not end");
    }
    return false;
}

static uint64_t look_again(void *arg) {
    (void)arg;
    return hal_clock_ns() + LOOK_NS;
}

void nlr_jump_fail(void *val) { sim_broken("exception outside of Python, %p", val); }

void sim_server(void) {
    static hal_event_source_t source = {.run = watch, .deadline = look_again};
    mp_cstack_init_with_top(__builtin_frame_address(0), STACK);
    floe_heap_init();
    mp_init();
    mp_alloc_emergency_exception_buf(MP_OBJ_NEW_SMALL_INT(EMERGENCY_BYTES));
    floe_bootargs_init();
    sim_note("up", sim_start->boots, 0);
    hal_event_add(&source);
    int code = floe_run_frozen("boot.py");
    if (code == 0) {
        code = floe_run_frozen(floe_app.main_module);
    }
    script_ended = true;
    if (code != 0 || sim_phase() != SIM_END) {
        sim_broken("the script has ended, with %d", code);
    }
    gc_sweep_all();
    hal_event_drain(DRAIN_NS);
    sim_nothing_left();
}
