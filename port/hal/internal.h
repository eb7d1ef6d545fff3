// SPDX-License-Identifier: MIT
// What the files of port/hal owe each other and main.c's start order; nothing for modules.

#ifndef FLOE_HAL_INTERNAL_H
#define FLOE_HAL_INTERNAL_H

#include <string.h>

#include "../monitor/monitor.h"
#include "hal.h"

// What a hypervisor has of its own in place of a PC's devices; port/xen fills one in. hal_platform is NULL on a PC.
typedef struct {
    const char *clock; // hal_clock_source()
    const monitor_pvclock_t *time;
    const monitor_wallclock_t *wall;
    // Arm the one-shot timer for an absolute hal_clock_ns(); UINT64_MAX stops it.
    void (*timer)(uint64_t deadline_ns);
    // The console before its driver is there, and in a panic; waits for each byte's room, with a deadline in all.
    void (*write)(const char *data, size_t len);
    // Let others run for a moment, at most 1 ms: for loops that wait for the host.
    void (*relax)(void);
    // hal_exit() and, with HAL_RESET_CODE and HAL_WAKE_CODE, hal_reset().
    void (*end)(int code) __attribute__((noreturn));
} hal_platform_t;
extern const hal_platform_t *hal_platform;

// The platform's hal_blob_*() and hal_vm_uuid(): named here, and not in the struct above, so that an image that asks
// for no blob holds none of them.
typedef struct {
    int (*size)(const char *name);
    int (*read)(const char *name, void *out, size_t len);
    int (*next)(const char *prefix, size_t *pos, char *out, size_t size);
    bool (*uuid)(uint8_t out[16]);
} hal_blobs_t;
extern const hal_blobs_t xen_blobs; // port/xen/blob.c
// The same over QEMU's fw_cfg, where there is no platform; apart for the same reason (fwcfg.c).
int hal_fwcfg_size(const char *name);
int hal_fwcfg_read(const char *name, void *out, size_t len);
int hal_fwcfg_next(const char *prefix, size_t *pos, char *out, size_t size);
bool hal_fwcfg_uuid(uint8_t out[16]);
// A blob's name behind prefix, as hal_blob_next() hands it out: its full length, or -ENOENT where it begins otherwise.
static inline int hal_blob_rest(const char *name, const char *prefix, char *out, size_t size) {
    if (strncmp(name, prefix, strlen(prefix)) != 0) {
        return -ENOENT;
    }
    const char *rest = name + strlen(prefix);
    size_t len = strlen(rest), n = len < size ? len : size - 1;
    memcpy(out, rest, n);
    out[n] = '\0';
    return (int)len;
}

enum { HAL_PANIC_CODE = 120, HAL_RESET_CODE = 122, HAL_WAKE_CODE = 123 }; // tools/floe/vm/vm.py

// What a pvclock page counts, now. The hypervisor writes it only before it lets us run: at most one more round.
static inline uint64_t hal_pvclock_ns(const monitor_pvclock_t *t) {
    uint32_t version;
    uint64_t ns;
    do {
        version = t->version;
        hal_rmb(); // the version before what it is of
        uint64_t delta = hal_clock_cycles() - t->tsc_timestamp;
        delta = t->tsc_shift >= 0 ? delta << t->tsc_shift : delta >> -t->tsc_shift;
        ns = t->system_time + (uint64_t)(((unsigned __int128)delta * t->tsc_to_system_mul) >> 32);
        hal_rmb(); // and all of it before the version's second look
    } while (version != t->version);
    return ns;
}

// Listen to the power button, where there is one: hal_stop_ask().
void hal_button_init(void);
// End the VM by the register that ACPI's tables name. It may take a moment; false: there is none.
bool hal_acpi_off(void);
void hal_clock_init(void);
// Where the rate is measured: end the measurement, before the LAPIC timer is used for anything else. Main's start
// order calls it last; it takes at most what is missing to 1 ms since hal_clock_init().
void hal_clock_settle(void);
// The platform's VM is stopped and goes on, perhaps on another machine: the clock stands still in between, the wall
// clock goes on by as much as the host's did.
void hal_clock_stop(void);
void hal_clock_go(void);
void hal_irq_init(void);
// Also later: what the processor has to give is mixed in once more.
void hal_entropy_init(void);
void hal_uart_init(void);
// Send bytes and wait for each: early boot and panic only.
void hal_uart_write(const char *data, size_t len);
// Bytes the 16550 has received, at most size.
size_t hal_uart_read(char *out, size_t size);

// No driver found a device: one line where the machine has some that nothing named.
void hal_microvm_explain(void);

// A panic: from here on no event source is run but the console's.
void hal_event_panic(void);

// Arm the LAPIC timer for an absolute hal_clock_ns(); UINT64_MAX stops it.
void hal_irq_timer(uint64_t deadline_ns);
// Halt until an interrupt; the caller has armed the timer.
void hal_irq_halt(void);
// The stack of whoever halted last.
extern uintptr_t hal_irq_halted;
// Something that a host may see on a time line begins, and ends; the moment. In a collection, a wait may (spans.c).
typedef enum { HAL_SPAN_WAIT, HAL_SPAN_COLLECTION } hal_span_kind_t;
uint64_t hal_span_begin(hal_span_kind_t kind);
uint64_t hal_span_end(void);
// LAPIC timer ticks per second are read against this while the clock calibrates itself.
uint32_t hal_irq_timer_count(void);
void hal_irq_timer_start(uint32_t count);

// RAM taken from the top: the GC heap's areas. NULL if free RAM would fall below reserve.
void *hal_mem_take(size_t bytes, size_t align, size_t reserve);
// Give back what hal_mem_take gave, all of it. False, and nothing changed, while it does not border on free RAM.
bool hal_mem_return(void *p, size_t bytes);
// What was taken went back to the host, or came from there: hal_mem_total() counts it no more, or again.
void hal_mem_total_changed(ptrdiff_t bytes);
// The largest piece hal_mem_take can give while leaving reserve bytes to the C heap.
size_t hal_mem_largest(size_t reserve);
// MORECORE of the C allocator: grow or shrink the heap at the bottom of RAM. (void *)-1 when full.
void *hal_mem_sbrk(ptrdiff_t bytes);
size_t hal_mem_sbrk_used(void);

// Zeroes, by words: the compiler's memset goes byte by byte in a file that is compiled for size, and a network card's
// megabyte of buffers was most of an image's start.
static inline void hal_clear(void *p, size_t bytes) {
    size_t words = bytes / sizeof(uint64_t);
    __asm__ volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(0) : "memory");
    __builtin_memset(p, 0, bytes % sizeof(uint64_t));
}

#endif
