# SPDX-License-Identifier: MIT
"""NTP: argv gives a port for each question to ask the servers of test_ntp.py; wrong clocks are set on purpose."""

import sys
import time

import machine
import network
import ntptime

_HOSTS = {"4": "10.0.2.2", "6": "fec0::2"}

for argument in sys.argv[1:]:
    name, _, where = argument.partition("=")
    ntptime.host, ntptime.port = _HOSTS[where[0]], int(where[1:])
    if where[0] == "6":
        until = time.ticks_add(time.ticks_ms(), 10000)
        while not network.LAN(0).ipconfig("has_autoconf6") and time.ticks_diff(until, time.ticks_ms()) > 0:
            time.sleep_ms(50)
    machine.RTC().datetime((2031, 2, 3, 0, 4, 5, 6, 0))
    try:
        if name == "time":
            print(name, ntptime.time(), time.gmtime()[0])
        else:
            ntptime.settime()
            print(name, "set", time.time_ns() // 1000)
    except OSError as e:
        print(name, type(e).__name__, e.args[0], time.gmtime()[0])
print("the end")
