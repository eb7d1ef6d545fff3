# SPDX-License-Identifier: MIT
"""What the machine tells a script: argv names the question."""

import os
import random
import struct
import sys

import machine

import floe


def arguments():
    for argument in sys.argv:
        print("arg", list(argument.encode()))


def environment():
    for key in ("PLAIN", "BLANKS", "ODD", "EMPTY"):
        print("env", key, list(os.getenv(key).encode()))
    print("missing", os.getenv("MISSING"), os.getenv("MISSING", "default"))
    os.putenv("NEW", "1")
    os.putenv("PLAIN", "2")
    print("new", os.getenv("NEW"), os.getenv("PLAIN"))
    os.unsetenv("NEW")
    os.unsetenv("NEW")
    print("unset", os.getenv("NEW"))
    number = 1
    for wrong in (lambda: os.getenv(number), lambda: os.putenv("A", 1)):
        try:
            wrong()
        except TypeError:
            print("TypeError")


def identity():
    print("platform", sys.platform, os.uname().sysname, os.uname().machine)
    print("version", sys.implementation.name, sys.version_info[0] == 3, os.uname().release)
    print("float", struct.pack(">d", 1 / 3).hex(), 2**200 % 1000007)
    print("freq", 10**8 < machine.freq() < 10**10)


def ram():
    info = floe.mem_info()
    print("ram", info["ram"])
    block = bytearray(info["ram_free"] // 4)  # goes into the highest region: above 4 GiB where there is RAM
    block[0], block[-1] = 1, 2
    print(
        "block",
        len(block) > 0,
        block[0] + block[-1],
        sum(info["ram"] >= n for n in (info["ram_free"], info["gc_total"])),
    )


def chance():
    a, b = os.urandom(32), os.urandom(32)
    print("urandom", len(a), a != b, len(os.urandom(0)), len(os.urandom(100000)))
    print("bytes", len(set(os.urandom(4096))) > 200)
    try:
        os.urandom(-1)
    except ValueError:
        print("ValueError")
    print("drawn", a.hex(), random.getrandbits(30), random.getrandbits(30))


globals()[sys.argv[1]]()
print("the end")
