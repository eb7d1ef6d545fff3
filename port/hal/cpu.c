// SPDX-License-Identifier: MIT
// Which processor and which hypervisor: CPUID (Intel SDM vol. 2; hypervisor leaves from 0x40000000).
// Owns the answer. Not here: clocks. Context: ring 3, any time.

#include <string.h>

#include "hal.h"

void hal_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
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
