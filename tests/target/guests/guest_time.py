# SPDX-License-Identifier: MIT
"""Clocks and waits: argv names what is measured; figures go out for the test to judge."""

import asyncio
import sys
import time


def sleeps():
    for wait in (0, 1, 10, 100, 1000):
        start = time.ticks_us()
        time.sleep_ms(wait)
        print("slept", wait * 1000, time.ticks_diff(time.ticks_us(), start))
    for wait in (1, 50, 99, 100, 101, 5000):
        start = time.ticks_us()
        time.sleep_us(wait)
        print("slept", wait, time.ticks_diff(time.ticks_us(), start))
    start = time.ticks_us()
    time.sleep(0.25)
    print("slept", 250000, time.ticks_diff(time.ticks_us(), start))


def long_sleep():
    """Longer than one run of the timer, 4.3 s."""
    start = time.ticks_us()
    time.sleep(5)
    print("slept", 5000000, time.ticks_diff(time.ticks_us(), start))


def forward():
    for clock in (time.ticks_ms, time.ticks_us, time.ticks_cpu, time.time_ns):
        last = clock()
        for _ in range(20000):
            now = clock()
            if now < last:
                print("back", clock, last, now)
            last = now
    print("forward")


def wall():
    print("wall", time.time())
    time.sleep(2)
    print("wall", time.time_ns() // 1000000)
    print("date", *time.gmtime()[:6])
    print("same", time.mktime(time.gmtime()) - time.time() in (0, -1))


async def ticker(name, period, n):
    for _ in range(n):
        await asyncio.sleep_ms(period)
    print("ticker", name)


def coroutines():
    """Ten waits at once take as long as the longest."""
    start = time.ticks_us()

    async def all_of_them():
        await asyncio.gather(*(ticker(i, 10 * (i + 1), 5) for i in range(10)))

    asyncio.run(all_of_them())
    # asyncio counts in whole milliseconds, from the start of the one that it began in.
    print("slept", 500000 - 1000, time.ticks_diff(time.ticks_us(), start))


def idle():
    print("idle")
    while True:
        time.sleep(3600)


def idle_asyncio():
    print("idle")
    asyncio.run(ticker("idle", 3600000, 1))


globals()[sys.argv[1]]()
print("the end")
