// SPDX-License-Identifier: MIT
// Monotonic and wall clock. KVM, Xen: pvclock pages (Linux Documentation/virt/kvm/x86/msr.rst). Elsewhere the TSC,
// its frequency from CPUID (leaves 0x15, 0x40000010) or measured against the LAPIC timer; the date from the
// CMOS clock (MC146818A). Owns the calibration. Not here: sleeping. Context: ring 3; init once, before all else.

#include "../boot/boot.h"
#include "../monitor/monitor.h"
#include "internal.h"

#define NS_PER_S 1000000000ull

enum {
    MSR_KVM_WALL_CLOCK_NEW = 0x4b564d00,
    MSR_KVM_SYSTEM_TIME_NEW = 0x4b564d01,
    CPUID_KVM_FEATURES = 0x40000001,
    CPUID_KVM_CLOCKSOURCE2_BIT = 3,
    CPUID_TIMING = 0x40000010,
    GLANCE_TICKS = 30000,      // of the LAPIC timer at 1 GHz: 30 us
    CALIBRATE_TICKS = 1000000, // 1 ms
    CMOS_INDEX = 0x70,
    CMOS_DATA = 0x71,
    CMOS_STATUS_A = 0x0a,
    CMOS_STATUS_B = 0x0b,
    CMOS_UPDATING = 0x80,
    CMOS_BINARY = 0x04,
    CMOS_24H = 0x02,
};

static uint64_t base_tsc, base_ns; // a moment on both clocks
static uint64_t tsc_mul;           // ns = base_ns + ((tsc - base_tsc) * tsc_mul >> 32)
static uint64_t wall_at_entry;     // ns since the epoch, modulo 2^64; 0: not known
static const char *source = "none";

static inline uint64_t rdtsc(void) {
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

uint64_t hal_clock_cycles(void) { return rdtsc(); }

uint64_t hal_clock_ns(void) { return base_ns + (uint64_t)(((unsigned __int128)(rdtsc() - base_tsc) * tsc_mul) >> 32); }

uint64_t hal_clock_wall_ns(void) { return wall_at_entry == 0 ? 0 : wall_at_entry + hal_clock_ns(); }

void hal_clock_wall_set(uint64_t ns) { wall_at_entry = ns - hal_clock_ns(); }

void hal_clock_resume(uint64_t ns) {
    base_tsc = rdtsc();
    base_ns = ns;
}

static void clock_copied(const hal_identity_t *id) {
    if (id->wall_ns != 0) {
        hal_clock_wall_set(id->wall_ns);
    }
}
HAL_COPIED(HAL_COPIED_MACHINE, clock_copied);

const char *hal_clock_source(void) { return source; }

static void set_frequency(uint64_t hz, const char *name) {
    tsc_mul = (uint64_t)(((unsigned __int128)NS_PER_S << 32) / hz);
    source = name;
}

// ---- pvclock --------------------------------------------------------------------------------------

static bool use_pvclock(const monitor_pvclock_t *clock, const char *name) {
    if (clock->tsc_to_system_mul == 0) {
        return false;
    }
    // ns = (cycles << shift) * mul >> 32, so that a fixed 32.32 factor serves from here on: the host keeps
    // it as long as the VM stays on one machine.
    int shift = clock->tsc_shift;
    uint64_t mul = clock->tsc_to_system_mul;
    tsc_mul = shift >= 0 ? mul << shift : mul >> -shift;
    source = name;
    return true;
}

// The wall clock's page says when the clock's page began to count.
static uint64_t pvclock_date(const monitor_pvclock_t *clock, const monitor_wallclock_t *wall) {
    return wall->sec * NS_PER_S + wall->nsec + hal_pvclock_ns(clock);
}

static void pvclock_wall(const monitor_pvclock_t *clock, const monitor_wallclock_t *wall) {
    if (wall->sec != 0) {
        hal_clock_wall_set(pvclock_date(clock, wall));
    }
}

static uint64_t stopped_ns, stopped_date;

void hal_clock_stop(void) {
    stopped_date = pvclock_date(hal_platform->time, hal_platform->wall);
    stopped_ns = hal_clock_ns();
}

void hal_clock_go(void) {
    use_pvclock(hal_platform->time, hal_platform->clock); // another processor may have another rate
    base_tsc = rdtsc();
    base_ns = stopped_ns;
    if (wall_at_entry != 0) {
        wall_at_entry += pvclock_date(hal_platform->time, hal_platform->wall) - stopped_date;
    }
}

static bool kvm_clock(void) {
    uint32_t r[4];
    hal_cpuid(CPUID_KVM_FEATURES, 0, r);
    if (!(r[0] & (1u << CPUID_KVM_CLOCKSOURCE2_BIT)) ||
        monitor_call(MONITOR_KVMCLOCK, MSR_KVM_SYSTEM_TIME_NEW, 0, 0) != 0 ||
        !use_pvclock(&monitor_pvclock, "kvmclock")) {
        return false;
    }
    if (monitor_call(MONITOR_KVMCLOCK, MSR_KVM_WALL_CLOCK_NEW, 0, 0) == 0) {
        pvclock_wall(&monitor_pvclock, &monitor_wallclock);
    }
    return true;
}

// ---- CPUID ----------------------------------------------------------------------------------------

static uint64_t cpuid_frequency(void) {
    uint32_t r[4];
    hal_cpuid(0x40000000, 0, r);
    if (hal_cpu_hypervisor() != HAL_HV_NONE && r[0] >= CPUID_TIMING) {
        hal_cpuid(CPUID_TIMING, 0, r);
        if (r[0] != 0) {
            return r[0] * 1000ull;
        }
    }
    hal_cpuid(0, 0, r);
    if (r[0] >= 0x15) {
        hal_cpuid(0x15, 0, r); // TSC = crystal * numerator / denominator
        if (r[0] != 0 && r[1] != 0 && r[2] != 0) {
            return (uint64_t)r[2] * r[1] / r[0];
        }
    }
    return 0;
}

// ---- LAPIC timer ----------------------------------------------------------------------------------

// One reading of both clocks, with the shortest gap of several tries: a preempted try has a long one.
static uint32_t read_pair(uint64_t *tsc) {
    uint64_t best = UINT64_MAX;
    uint32_t count = 0;
    for (int i = 0; i < 5; i++) {
        uint64_t before = rdtsc();
        uint32_t c = hal_irq_timer_count();
        uint64_t after = rdtsc();
        if (after - before < best) {
            best = after - before;
            *tsc = before + best / 2;
            count = c;
        }
    }
    return count;
}

static bool settling; // the timer counts down from calibrate_count, read at calibrate_tsc
static uint64_t calibrate_tsc;
static uint32_t calibrate_count;

// Cycles per second over what has passed since the timer was started, at least `ticks` of it.
static uint64_t lapic_frequency(uint32_t ticks) {
    uint64_t now = 0;
    uint32_t passed;
    do {
        passed = calibrate_count - read_pair(&now);
    } while (passed < ticks && now - calibrate_tsc < (1ull << 34));
    hal_assert(passed != 0);
    return (uint64_t)((unsigned __int128)(now - calibrate_tsc) * NS_PER_S / passed);
}

static void lapic_start(void) {
    hal_irq_timer_start(UINT32_MAX);
    calibrate_count = read_pair(&calibrate_tsc);
}

// A glance serves the drivers' deadlines; hal_clock_settle() measures over all of the boot in between.
static void lapic_clock(void) {
    lapic_start();
    set_frequency(lapic_frequency(GLANCE_TICKS), "lapic");
    settling = true;
}

void hal_clock_settle(void) {
    if (!settling) {
        return;
    }
    settling = false;
    if (hal_irq_timer_count() == 0) {
        lapic_start(); // it ran out
    }
    uint64_t hz = lapic_frequency(CALIBRATE_TICKS);
    uint64_t tsc = rdtsc();
    base_ns += (uint64_t)(((unsigned __int128)(tsc - base_tsc) * tsc_mul) >> 32); // no step at the change of rate
    base_tsc = tsc;
    set_frequency(hz, "lapic");
    hal_irq_timer_start(0);
}

// ---- CMOS -----------------------------------------------------------------------------------------

static uint8_t cmos(uint8_t reg) {
    hal_out8(CMOS_INDEX, reg);
    return hal_in8(CMOS_DATA);
}

static unsigned from_bcd(unsigned v) { return (v >> 4) * 10 + (v & 15); }

// Days since 1970-01-01 of a date in the proleptic Gregorian calendar; years counted from March.
static uint64_t days_since_epoch(unsigned year, unsigned month, unsigned day) {
    unsigned y = month <= 2 ? year - 1 : year;
    unsigned m = (month + 9) % 12;
    return 365ull * y + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + day - 1 - 719468;
}

static uint64_t cmos_time(void) {
    enum { SEC, MIN, HOUR, DAY, MONTH, YEAR, FIELDS };
    static const uint8_t regs[FIELDS] = {0x00, 0x02, 0x04, 0x07, 0x08, 0x09};
    unsigned v[FIELDS];
    if (cmos(CMOS_STATUS_A) == 0xff) {
        return 0; // no such device: the bus floats
    }
    uint64_t give_up = rdtsc() + (1ull << 32);
    while ((cmos(CMOS_STATUS_A) & CMOS_UPDATING) && rdtsc() < give_up) {
    }
    uint8_t b = cmos(CMOS_STATUS_B);
    for (unsigned i = 0; i < FIELDS; i++) {
        v[i] = cmos(regs[i]);
        bool pm = i == HOUR && !(b & CMOS_24H) && (v[i] & 0x80);
        v[i] &= i == HOUR ? 0x7f : 0xff;
        v[i] = b & CMOS_BINARY ? v[i] : from_bcd(v[i]);
        if (i == HOUR && !(b & CMOS_24H)) {
            v[i] = v[i] % 12 + (pm ? 12 : 0);
        }
    }
    uint64_t days = days_since_epoch(2000 + v[YEAR], v[MONTH], v[DAY]);
    return ((days * 24 + v[HOUR]) * 60 + v[MIN]) * 60 + v[SEC];
}

void hal_clock_init(void) {
    base_tsc = boot_entry_tsc;
    if (hal_platform != NULL && use_pvclock(hal_platform->time, hal_platform->clock)) {
        pvclock_wall(hal_platform->time, hal_platform->wall);
    } else if (hal_cpu_hypervisor() != HAL_HV_KVM || !kvm_clock()) {
        uint64_t hz = cpuid_frequency();
        if (hz != 0) {
            set_frequency(hz, "cpuid");
        } else {
            lapic_clock();
        }
    }
    if (wall_at_entry == 0) {
        uint64_t seconds = cmos_time();
        wall_at_entry = seconds == 0 ? 0 : seconds * NS_PER_S - hal_clock_ns();
    }
}
