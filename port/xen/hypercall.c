// SPDX-License-Identifier: MIT
// Hypercalls from ring 3, through the monitor's service (Xen public/xen.h; 64-bit HVM calling convention). Owns
// nothing. Not here: what they mean. Context: ring 3, any time after boot.

#include "../monitor/monitor.h"
#include "xen.h"

long xen_hypercall(unsigned number, long a, long b, long c) {
    long r = MONITOR_HYPERCALL, nr = (long)number;
    __asm__ volatile("int3" : "+a"(r), "+c"(nr), "+D"(a), "+S"(b), "+d"(c)::"r8", "r9", "r10", "r11", "memory", "cc");
    return r;
}
