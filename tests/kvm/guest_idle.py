# SPDX-License-Identifier: MIT
"""Sleeps, with a timer that interrupts the sleep, and says how many times it came and how long all of it took."""

import time

from machine import Timer

ticks = []
began = time.ticks_ms()
timer = Timer(-1, period=50, callback=ticks.append)
for _ in range(10):
    time.sleep_ms(100)
timer.deinit()
print("slept", time.ticks_diff(time.ticks_ms(), began), "ticks", len(ticks))
