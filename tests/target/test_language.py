# SPDX-License-Identifier: MIT
"""Where MicroPython 1.25 as it comes is wrong and a VM is not: port/patches/micropython, port/modtime.c,
port/misc.c."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from floe.testing import Boot

GUESTS = Path(__file__).resolve().parent / "guests"


@pytest.mark.parametrize("name", ["same", "floats"])
def test_as_cpython_has_it(boot: Boot, name: str) -> None:
    guest = GUESTS / f"guest_{name}.py"
    cpython = subprocess.run(
        [sys.executable, "-I", str(guest)],
        env={**os.environ, "TZ": "UTC"}, capture_output=True, text=True, timeout=60, check=True,
    ).stdout.splitlines()  # fmt: skip
    vm = boot(guest, deadline_s=60)
    assert vm.wait() == 0
    said = vm.console_text.replace("\r\n", "\n").splitlines()
    assert said[said.index(cpython[0]) :] == cpython


def test_what_modules_promise(boot: Boot) -> None:
    vm = boot(GUESTS / "guest_language.py", deadline_s=60)
    assert vm.wait() == 0
    said = vm.console_text.replace("\r\n", "\n").splitlines()
    spreads = [line for line in said if line.startswith("spread ")]
    assert len(spreads) == 25
    assert [line for line in spreads if not line.endswith(" True 8")] == []
    assert [line for line in said if not line.startswith("spread ")][-29:] == [
        "names floe SSLContext",
        "steps {0}",
        "down True ValueError",
        *(f"huge {name} MemoryError" for name in ("list", "pair", "tuple", "str", "bytes", "deque", "array", "len")),
        "huge [1.5, 2.5] [] True [1, 2, 1, 2] (3, 3, 3)",
        "timer ('ValueError', 'period is negative') period too large ('ValueError', 'tick_hz must be positive')",
        "timer freq must be positive freq must be positive period too large",
        "rtc ('ValueError', 'no such date, or not in 2000..2399')",
        "mktime True",
        "sleep ('ValueError', 'sleep length out of range') ['ValueError', 'ValueError'] True",
        "readexactly cut b'abc' b'd'",
        "readline b'one line\\n'",
        "line, readinto cut 4 bytearray(b'no e') b'nd'",
        "read b'all of'",
        "end b'par'",
        "late ('whole', b'late')",
        "drain b'0123456789ab'",
        "poll refuses []",
        "frames True maximum recursion depth exceeded",
        "the end",
    ]


def test_large_tables(boot: Boot) -> None:
    vm = boot(GUESTS / "guest_tables.py", deadline_s=60, memory="24M")
    assert vm.wait() == 0
    assert vm.console_text.replace("\r\n", "\n").splitlines()[-6:] == [
        "dict 70000 True False True",
        "set 70000 True False True",
        "filled dict True",
        "filled set True",
        "iteration 3896",
        "no memory True True",
    ]
