// SPDX-License-Identifier: MIT
// The one interface between the machine and everything above it. Implementations: port/hal/*.c, one
// topic a file. Owns nothing itself. Not here: devices (modules/), MicroPython's names (mphalport.h).
//
// Context: all of it runs in ring 3, single-threaded, in the main loop; nothing here may be called from
// an interrupt, because ring 3 never sees one. An interrupt does two things only: it wakes hal_idle()
// and it sets its bit in the pending word.
//
// Errors: our own bug -> hal_assert() (a PANIC line, exit code 120). The host refused -> -errno.
// Not now -> -EAGAIN, nothing changed. Addresses are those that C code sees, but where they are said to be physical.

#ifndef FLOE_HAL_H
#define FLOE_HAL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAL_PAGE_SIZE 4096u
#define BIT64(n) (1ull << (n))
#define HAL_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

// ---- clock.c ------------------------------------------------------------------------------------
// Nanoseconds since kernel entry. Monotonic, never set back, 64 bits (584 years).
uint64_t hal_clock_ns(void);
// Nanoseconds since 1970-01-01 UTC. Host's wall clock at boot plus hal_clock_ns(); 0 where none exists.
uint64_t hal_clock_wall_ns(void);
// Let the wall clock show this now; it goes on from there. The monotonic clock stays as it is.
void hal_clock_wall_set(uint64_t ns);
// Let the monotonic clock go on from this value, which it had before the machine was put away: its cycle counter may be
// another one now. The wall clock is to be set anew.
void hal_clock_resume(uint64_t ns);
// Raw cycle counter, for time.ticks_cpu() and measurements.
uint64_t hal_clock_cycles(void);
// Name of the source in use: "kvmclock", "cpuid", "lapic", "pvclock".
const char *hal_clock_source(void);

// ---- power.c ------------------------------------------------------------------------------------
// End the VM; never return. code: 0..119 the script's own, 120 panic, 121 out of memory.
_Noreturn void hal_exit(int code);
// Hardware reset of the VM.
_Noreturn void hal_reset(void);
// The same, after a deep sleep: the host tells the next start which of the two it was.
_Noreturn void hal_wake(void);

// ---- panic.c ------------------------------------------------------------------------------------
// Print "PANIC: cause, registers, symbol", what the panic hook adds, and end with exit code 120.
_Noreturn void hal_panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define hal_assert(e) ((e) ? (void)0 : hal_panic("assertion failed: %s, %s:%d", #e, __FILE__, __LINE__))
// Called once inside a panic, after the registers are out (main.c adds the Python traceback).
extern void (*hal_panic_hook)(void);

// ---- cpu.c --------------------------------------------------------------------------------------
typedef enum { HAL_HV_NONE, HAL_HV_KVM, HAL_HV_TCG, HAL_HV_XEN, HAL_HV_OTHER } hal_hv_t;
hal_hv_t hal_cpu_hypervisor(void);
// Words of RDSEED or RDRAND; how many came: none where the processor has no such instruction.
typedef enum { HAL_NOISE_RDSEED, HAL_NOISE_RDRAND, HAL_NOISE_DEVICE, HAL_NOISES } hal_noise_t;
unsigned hal_cpu_random(hal_noise_t source, uint64_t *out, unsigned n);
void hal_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]); // eax, ebx, ecx, edx

static inline void hal_out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
static inline void hal_out16(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port)); }
static inline void hal_out32(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }
static inline uint8_t hal_in8(uint16_t port) {
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
// n bytes, one after the other, of one port.
static inline void hal_ins8(uint16_t port, void *out, size_t n) {
    __asm__ volatile("rep insb" : "+D"(out), "+c"(n) : "d"(port) : "memory");
}
static inline uint16_t hal_in16(uint16_t port) {
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t hal_in32(uint16_t port) {
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
// One access of exactly this width to a device register; never merged, never reordered by the compiler.
static inline uint8_t hal_mmio_read8(const volatile void *p) { return *(const volatile uint8_t *)p; }
static inline uint16_t hal_mmio_read16(const volatile void *p) { return *(const volatile uint16_t *)p; }
static inline uint32_t hal_mmio_read32(const volatile void *p) { return *(const volatile uint32_t *)p; }
static inline void hal_mmio_write8(volatile void *p, uint8_t v) { *(volatile uint8_t *)p = v; }
static inline void hal_mmio_write16(volatile void *p, uint16_t v) { *(volatile uint16_t *)p = v; }
static inline void hal_mmio_write32(volatile void *p, uint32_t v) { *(volatile uint32_t *)p = v; }

// ---- barriers: each use says in a comment which write it orders before which --------------------
static inline void hal_mb(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }  // store before later load
static inline void hal_wmb(void) { __atomic_thread_fence(__ATOMIC_RELEASE); } // store before store
static inline void hal_rmb(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); } // load before load

// ---- irq.c --------------------------------------------------------------------------------------
// An irq is a small number, 0..HAL_IRQ_MAX-1, that names one pending bit.
enum { HAL_IRQ_MAX = 48 };
// Route an I/O APIC input to a fresh irq, edge triggered. Returns the irq, -ENOSPC or -ENODEV.
int hal_irq_gsi(unsigned gsi);
// Message address and data for a fresh MSI/MSI-X irq. Returns the irq or -ENOSPC.
int hal_irq_msi(uint64_t *addr, uint32_t *data);
// Whether the irq came since the last call for it; clears it.
bool hal_irq_take(int irq);

// ---- events.c: what the main loop runs between bytecodes and while it waits ----------------------
// A poll source. run: do what is pending, return true if anything was done. deadline: absolute
// hal_clock_ns() by which run must be called again, UINT64_MAX for none; NULL means none. arm: called
// right before halting, to let the device interrupt; true if there is work after all; NULL means nothing to arm.
// The struct is the caller's and stays linked for ever.
typedef struct hal_event_source {
    bool (*run)(void *arg);
    uint64_t (*deadline)(void *arg);
    bool (*arm)(void *arg);
    bool (*busy)(void *arg);  // something is still to leave before the VM may end; NULL means nothing ever is
    bool (*still)(void *arg); // no device has anything of ours to send; looked at without a run; NULL: always
    bool console;             // it carries the console: also run while a panic flushes that
    bool basic;               // the host reaches the VM by it: also run while another one alone is waited for
    void *arg;
    struct hal_event_source *next;
} hal_event_source_t;
void hal_event_add(hal_event_source_t *s);
// Run every source once. True if any did work. Never sleeps. Not reentrant: a nested call returns false.
bool hal_event_run(void);
// Run the sources; if none did work, halt until an interrupt or the earlier of deadline_ns and the
// sources' own deadlines. Returns after at most one sleep: the caller looks at its condition and calls again.
void hal_event_wait(uint64_t deadline_ns);
// The same for one source; no other one is run meanwhile, but for basic ones.
void hal_event_wait_one(const hal_event_source_t *one, uint64_t deadline_ns);
extern bool hal_event_alone; // in that wait: of what a basic source does, all but the host's own wishes is to wait
// Whether no device has anything of ours to send, as each source says.
bool hal_event_still(void);
// Before the VM ends: run the sources until none is busy, at most for timeout_ns.
void hal_event_drain(uint64_t timeout_ns);

// ---- mem.c --------------------------------------------------------------------------------------
// Device-visible memory, zeroed, never freed: rings and other things that live as long as the VM.
// align: a power of two. NULL when RAM is exhausted.
void *hal_mem_dma(size_t bytes, size_t align);
// How far above its physical addresses C code sees RAM: drawn at each boot (boot/place.c), the same all the time. The
// registers of devices are where they physically are.
extern uintptr_t hal_ram_offset;
static inline uint64_t hal_physical(const volatile void *ram) { return (uintptr_t)ram - hal_ram_offset; }
// RAM in bytes: what the machine has, what no one has taken yet (C heap and GC heap grow into it).
size_t hal_mem_total(void);
size_t hal_mem_free(void);

// ---- boot arguments (cmdline.c) -----------------------------------------------------------------
// The whole kernel command line, NUL terminated, never NULL, at most 4095 bytes; read-only.
const char *hal_cmdline(void);
// Iterate over values of KEY=VALUE words before "--". *pos starts at 0. Copies at most size-1 bytes.
// Returns the value's full length, or -ENOENT when there is no further one.
int hal_cmdline_next(const char *key, size_t *pos, char *out, size_t size);

// ---- blob.c: what the host hands the VM by name -------------------------------------------------
// A blob is a file of the host's at the VM's start: "secret/NAME", "env/N"; it stays the same until the VM ends.
enum { HAL_BLOB_NAME_MAX = 47, HAL_BLOB_MAX = 1 << 20 };
// Size in bytes. -ENOENT: none of that name; -EFBIG: over HAL_BLOB_MAX; -EIO: the host's answers cannot be.
int hal_blob_size(const char *name);
// Copy a blob's first len bytes, at most its size. 0 or -errno; after -EIO out's content is undefined.
int hal_blob_read(const char *name, void *out, size_t len);
// Iterate over blobs whose name begins with prefix. *pos starts at 0. Copies at most size-1 bytes of what is behind
// the prefix, and returns that one's full length, -ENOENT when there is no further blob, or -EIO.
int hal_blob_next(const char *prefix, size_t *pos, char *out, size_t size);
// The UUID that the host gave the VM. False where it gave none.
bool hal_vm_uuid(uint8_t out[16]);

// ---- pci.c: configuration mechanism 1 (ports 0xcf8/0xcfc), bus 0..255; PCI Local Bus 3.0 ----------
typedef struct {
    uint8_t bus, dev, fn;
    uint16_t vendor, device;
} hal_pci_t;
// Visit functions in bus order until visit returns true. Returns whether one did.
bool hal_pci_scan(bool (*visit)(const hal_pci_t *d, void *arg), void *arg);
uint32_t hal_pci_read32(const hal_pci_t *d, unsigned offset); // offset is rounded down to 4
uint8_t hal_pci_read8(const hal_pci_t *d, unsigned offset);
uint16_t hal_pci_read16(const hal_pci_t *d, unsigned offset);
void hal_pci_write32(const hal_pci_t *d, unsigned offset, uint32_t v);
void hal_pci_write16(const hal_pci_t *d, unsigned offset, uint16_t v);
// Address of a memory BAR, assigned inside the 32-bit MMIO window if firmware left it empty or out of
// reach, and its size in bytes. Enables memory decoding and bus mastering. NULL: not a memory BAR or no room.
volatile void *hal_pci_bar(const hal_pci_t *d, unsigned bar, size_t *size);

// ---- entropy.c ----------------------------------------------------------------------------------
// Mix bytes into the pool: a seed that the host chose.
void hal_entropy_add(const void *data, size_t len);
// The same for what a source of noise gives, whose health is looked at: of one that has ever repeated itself it is no
// seed, which one line says.
void hal_entropy_noise(hal_noise_t source, const void *data, size_t len);
// Fill out from a CSPRNG. False, and out zeroed, when no source has ever fed it.
bool hal_entropy_get(void *out, size_t len);

// ---- console.c ----------------------------------------------------------------------------------
// The console is one byte stream. Output goes to a ring buffer; sinks drain it.
// write never blocks longer than it takes the sink to make room, and never over 1 s without progress; what does not
// fit by then is counted and dropped.
void hal_console_write(const void *data, size_t len);
// For lines of the VM's own, from anywhere, also from inside the stack: never waits, never runs an event source.
void hal_console_log(const void *data, size_t len);
size_t hal_console_read(void *out, size_t size); // what is there, 0 if nothing; never waits
bool hal_console_readable(void);
// Look at what can be read: the longest piece in one place, its length; it stays until it is read.
size_t hal_console_peek(const char **data);
// Write out everything buffered, at most for timeout_ns. Called before exit and panic.
void hal_console_flush(uint64_t timeout_ns);
// A better transport takes over from the 16550. All verbs never wait. send returns how many bytes
// it took (0: full). deliver received bytes with hal_console_input().
typedef struct {
    size_t (*send)(void *ctx, const void *data, size_t len);
    bool (*send_idle)(void *ctx); // all accepted bytes have left
    void *ctx;
} hal_console_sink_t;
void hal_console_attach(const hal_console_sink_t *sink); // the struct stays the caller's
size_t hal_console_input(const void *data, size_t len);  // bytes taken; the rest did not fit
size_t hal_console_input_room(void);
// Queue input in this buffer from now on (size a power of two, not less than what is queued); it stays the caller's.
void hal_console_input_buffer(void *data, size_t size);
// For a received byte equal to interrupt_char (-1: none) on_interrupt is called: true means it was one, and is not
// queued. It is heard although the queue is full: what nobody has read is then thrown away.
extern int hal_console_interrupt_char;
extern bool (*hal_console_on_interrupt)(void);
// What asks for the script's end when it is typed at the console (stop.c types it).
extern const char *hal_console_stop;

// ---- acpi.c -------------------------------------------------------------------------------------
// The n-th virtio-mmio device that the machine's tables name: its registers and its interrupt. False: no more.
bool hal_virtio_mmio(unsigned n, uint64_t *base, uint64_t *size, uint64_t *gsi);

// ---- stop.c -------------------------------------------------------------------------------------
// Whoever runs the VM wants its end: the script is asked, as by Ctrl-C; after 5 s the VM ends.
// Once: more calls do nothing.
void hal_stop_ask(void);

// ---- copied.c: this VM has become a copy of a running one, and is another machine from now on ---------
// What the host says about the copy. Cards are in the order of their devices.
enum { HAL_CARDS_MAX = 8, HAL_SEED_LEN = 32, HAL_MAC_LEN = 6, HAL_WORD_MAX = 127 };
typedef struct {
    int32_t pid, ppid;
    uint64_t wall_ns; // since 1970-01-01 UTC; 0: not told
    uint8_t seed[HAL_SEED_LEN];
    char name[HAL_WORD_MAX + 1]; // "": not told
    struct {
        bool has_mac;
        uint8_t mac[HAL_MAC_LEN];
        char ip[HAL_WORD_MAX + 1];  // as the command line's ip= has it; "": as it was, or nobody's with another MAC
        char ip6[HAL_WORD_MAX + 1]; // ADDR/BITS; "": the same
    } card[HAL_CARDS_MAX];
} hal_identity_t;
// Read lines of KEY=VALUE: pid, ppid, seed (hexadecimal), and where they are told wall, name, mac0.., ip0.., ip60...
// Other keys are passed over. 0, or -EPROTO: something is missing or cannot be, and *id is of no use.
int hal_copied_read(hal_identity_t *id, const char *text, size_t len);
// Be that machine: call the hooks of all parts that the image has, in order. Before any Python.
void hal_copied_became(const hal_identity_t *id);
// Who must be told says so beside its functions: HAL_COPIED(HAL_COPIED_ABOVE, hook); Nothing of it is in an image
// without hal_copied_became(): the linker keeps the hooks only for that.
enum { HAL_COPIED_MACHINE, HAL_COPIED_SECRETS, HAL_COPIED_ABOVE, HAL_COPIED_LAST }; // each draws on those before it
typedef struct {
    unsigned when;
    void (*became)(const hal_identity_t *id);
} hal_copied_t;
#define HAL_COPIED(time, hook) \
    __attribute__((section("hal_copied"), used)) static const hal_copied_t hook##_entry = {time, hook}

// ---- suspend.c: the VM is stopped, saved perhaps, and goes on where it was ------------------------------
// SUSPENDING: it stands still in a moment; what others do for it comes to its end now, in seconds at most. RESUMED: it
// is on another machine, or on this one at another time, with devices that know nothing of it, and there may be several
// of it. A VM that was only stopped hears nothing.
typedef enum { HAL_SUSPENDING, HAL_RESUMED } hal_suspend_t;
// Tell all parts that the image has, in no order. Main loop, not from inside the stack.
void hal_suspend_tell(hal_suspend_t what);
// Who must be told says so beside its functions: HAL_SUSPEND(hook);
typedef void (*hal_suspend_hook_t)(hal_suspend_t what);
#define HAL_SUSPEND(hook) \
    __attribute__((section("hal_suspend"), used)) static const hal_suspend_hook_t hook##_entry = hook

// ---- drivers ------------------------------------------------------------------------------------
// A driver an image can hold; the generated floe_app.c lists those that it does. probe() finds and
// starts every device of its kind. Returns how many came up, or -errno of the first that failed.
typedef struct {
    const char *name;
    int (*probe)(void);
} hal_driver_t;

#endif
