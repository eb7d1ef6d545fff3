# SPDX-License-Identifier: MIT
# Clocks that never step: they count from the start of the VM.

import utime


def perf_counter():
    return utime.ticks_us() / 1000000


def perf_counter_ns():
    return utime.ticks_us() * 1000


monotonic = perf_counter
monotonic_ns = perf_counter_ns
