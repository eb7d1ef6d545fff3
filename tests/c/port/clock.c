// SPDX-License-Identifier: MIT
// port/hal/clock.c over a fake CMOS clock, CPUID and pvclock page. Commands: days YEAR MONTH DAY; cmos REG VALUE;
// cmos_time; kvm MUL SHIFT SEC NSEC; init; stop; go MUL SHIFT SEC (of
// the machine where it goes on); wall; source; tsc.

#include "talk.h"

#include "hal/hal.h"
#include "monitor/monitor.h"

static uint8_t cmos_regs[128];
static uint8_t cmos_index;
static bool kvm;

static void fake_out8(uint16_t port, uint8_t v) {
    if (port == 0x70) {
        cmos_index = v & 0x7f;
    }
}

static uint8_t fake_in8(uint16_t port) { return port == 0x71 ? cmos_regs[cmos_index] : 0xff; }

static monitor_pvclock_t pvclock;
static monitor_wallclock_t wallclock;

static long fake_monitor_call(long fn, long a, long b, long c) {
    (void)b;
    (void)c;
    return fn == MONITOR_KVMCLOCK && kvm && (a == 0x4b564d00 || a == 0x4b564d01) ? 0 : -1;
}

#define hal_out8 fake_out8
#define hal_in8 fake_in8
#define monitor_call fake_monitor_call
#define monitor_pvclock pvclock
#define monitor_wallclock wallclock
#include "hal/clock.c"

const hal_platform_t *hal_platform; // a PC, until it is stopped
static const hal_platform_t platform = {.clock = "pvclock", .time = &pvclock, .wall = &wallclock};

uint64_t boot_entry_tsc;
static uint32_t timer_count;

hal_hv_t hal_cpu_hypervisor(void) { return kvm ? HAL_HV_KVM : HAL_HV_TCG; }

void hal_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
    (void)subleaf;
    memset(out, 0, 16);
    if (leaf == 0x40000001 && kvm) {
        out[0] = 1u << CPUID_KVM_CLOCKSOURCE2_BIT;
    } else if (leaf == 0x40000000 && !kvm) {
        out[0] = CPUID_TIMING;
    } else if (leaf == CPUID_TIMING && !kvm) {
        out[0] = 1000000; // kHz
    }
}

void hal_irq_timer_start(uint32_t count) { timer_count = count; }

uint32_t hal_irq_timer_count(void) { return timer_count -= 1000; }

_Noreturn void hal_panic(const char *fmt, ...) {
    printf("PANIC %s\n", fmt);
    exit(1);
}

static void command(const talk_t *t) {
    if (talk_is(t, "days")) {
        unsigned long long days =
            days_since_epoch((unsigned)talk_number(t, 1), (unsigned)talk_number(t, 2), (unsigned)talk_number(t, 3));
        printf("%llu\n", days);
    } else if (talk_is(t, "cmos")) {
        for (int i = 1; i + 1 < t->n; i += 2) {
            cmos_regs[talk_number(t, i) & 0x7f] = (uint8_t)talk_number(t, i + 1);
        }
    } else if (talk_is(t, "cmos_time")) {
        printf("%llu\n", (unsigned long long)cmos_time());
    } else if (talk_is(t, "kvm")) {
        kvm = true;
        pvclock.tsc_to_system_mul = (uint32_t)talk_number(t, 1);
        pvclock.tsc_shift = (int8_t)strtol(t->word[2], NULL, 0);
        pvclock.tsc_timestamp = rdtsc();
        wallclock.sec = (uint32_t)talk_number(t, 3);
        wallclock.nsec = (uint32_t)talk_number(t, 4);
    } else if (talk_is(t, "stop")) {
        hal_platform = &platform;
        hal_clock_stop();
    } else if (talk_is(t, "go")) {
        pvclock.tsc_to_system_mul = (uint32_t)talk_number(t, 1);
        pvclock.tsc_shift = (int8_t)strtol(t->word[2], NULL, 0);
        pvclock.tsc_timestamp = rdtsc();
        pvclock.system_time = 0;
        wallclock.sec = (uint32_t)talk_number(t, 3);
        hal_clock_go();
    } else if (talk_is(t, "set")) {
        hal_clock_wall_set(talk_number(t, 1));
    } else if (talk_is(t, "init")) {
        boot_entry_tsc = rdtsc();
        hal_clock_init();
    } else if (talk_is(t, "read")) { // cycles around, ns, wall ns
        uint64_t before = rdtsc() - boot_entry_tsc, ns = hal_clock_ns(), after = rdtsc() - boot_entry_tsc;
        printf("%llu %llu %llu %llu\n", (unsigned long long)before, (unsigned long long)ns, (unsigned long long)after,
               (unsigned long long)hal_clock_wall_ns());
    } else if (talk_is(t, "source")) {
        printf("%s\n", hal_clock_source());
    }
}

int main(void) { return talk(command); }
