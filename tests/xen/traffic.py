# SPDX-License-Identifier: MIT
"""What the tests of network cards have in common: data, waits, and scripts in dom0."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

from floe.xenlab import lab as the_lab
from tests.xen.xl import domains

SLOW = 60  # seconds; an emulated machine that others use too


def pattern(n: int) -> bytes:
    block = bytes((i * 7 + i // 251) & 255 for i in range(16384))
    return (block * (n // len(block) + 1))[:n]


def dom0(script: str, deadline_s: float = SLOW) -> str:
    return the_lab.call(script, deadline_s=deadline_s)


def number() -> int:
    (n,) = domains().values()
    return n


def ping(address: str) -> bool:
    return " 0% packet loss" in dom0(f"ping -q -c 1 {address}")


def becomes(condition: Callable[[], bool], seconds: float = SLOW) -> bool:
    ends = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < ends:
        pass
    return held


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())
