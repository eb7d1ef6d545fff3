// SPDX-License-Identifier: MIT
// Which processor and which hypervisor: CPUID (Intel SDM vol. 2; hypervisor leaves from 0x40000000); its random words.
// Owns the answer. Not here: clocks; the generator (entropy.c). Context: ring 3, any time.

#include <string.h>

#include "hal.h"

void hal_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

static bool has_random(hal_noise_t source) {
    enum { CPUID_RDRAND_BIT = 30, CPUID_RDSEED_BIT = 18 };
    uint32_t r[4];
    if (source == HAL_NOISE_RDRAND) {
        hal_cpuid(1, 0, r);
        return r[2] & (1u << CPUID_RDRAND_BIT);
    }
    hal_cpuid(0, 0, r);
    if (r[0] < 7) {
        return false;
    }
    hal_cpuid(7, 0, r);
    return r[1] & (1u << CPUID_RDSEED_BIT);
}

// Either instruction may have nothing yet.
static bool random_word(hal_noise_t source, uint64_t *out) {
    enum { TRIES = 10 };
    bool ok = false;
    for (int i = 0; i < TRIES && !ok; i++) {
        if (source == HAL_NOISE_RDSEED) {
            __asm__ volatile("rdseed %0" : "=r"(*out), "=@ccc"(ok));
        } else {
            __asm__ volatile("rdrand %0" : "=r"(*out), "=@ccc"(ok));
        }
    }
    return ok;
}

unsigned hal_cpu_random(hal_noise_t source, uint64_t *out, unsigned n) {
    unsigned i = 0;
    if (has_random(source)) {
        while (i < n && random_word(source, &out[i])) {
            i++;
        }
    }
    return i;
}

static hal_hv_t detect(void) {
    enum { CPUID_HYPERVISOR_BIT = 31 };
    static const struct {
        char signature[13];
        hal_hv_t hv;
    } known[] = {
        {"KVMKVMKVM\0\0", HAL_HV_KVM},
        {"TCGTCGTCGTCG", HAL_HV_TCG},
        {"XenVMMXenVMM", HAL_HV_XEN},
    };
    uint32_t r[4];
    hal_cpuid(1, 0, r);
    if (!(r[2] & (1u << CPUID_HYPERVISOR_BIT))) {
        return HAL_HV_NONE;
    }
    hal_cpuid(0x40000000, 0, r);
    for (unsigned i = 0; i < HAL_ARRAY_LEN(known); i++) {
        if (memcmp(&r[1], known[i].signature, 12) == 0) {
            return known[i].hv;
        }
    }
    return HAL_HV_OTHER;
}

hal_hv_t hal_cpu_hypervisor(void) {
    static hal_hv_t hv;
    static bool known;
    if (!known) {
        hv = detect();
        known = true;
    }
    return hv;
}
