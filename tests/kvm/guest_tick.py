# SPDX-License-Identifier: MIT
"""Counts, for as long as it runs."""

import time

n = 0
while True:
    print("tick", n)
    n += 1
    time.sleep_ms(50)
