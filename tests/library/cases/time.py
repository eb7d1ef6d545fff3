# SPDX-License-Identifier: MIT
import time

a, b = time.perf_counter(), time.perf_counter_ns()
m, n = time.monotonic(), time.monotonic_ns()
time.sleep(0.02)
print(0.015 < time.perf_counter() - a < 5, 15_000_000 < time.perf_counter_ns() - b < 5_000_000_000, type(a), type(b))
print(0.015 < time.monotonic() - m < 5, 15_000_000 < time.monotonic_ns() - n < 5_000_000_000)
