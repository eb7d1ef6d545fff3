# SPDX-License-Identifier: MIT
"""What a script asks too much of is an exception of its own, and never the end of the VM."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from floe.testing import Boot

GUESTS = Path(__file__).resolve().parent / "guests"
ROUNDS = 10
NATIVE = """
import micropython
import sys

@micropython.native
def down(n):
    return down(n + 1)

@micropython.viper
def deep(n: int) -> int:
    return int(deep(n + 1)) + 1

def through(n):
    return back(n)

@micropython.native
def back(n):
    return through(n + 1)

for _ in range(5):
    for f in (down, deep, through):
        try:
            f(0)
        except RuntimeError:
            print("RuntimeError")
try:
    exec("x = " + "(" * 20000 + ")" * 20000)
except RuntimeError:
    print("parser: RuntimeError")
except MemoryError:
    print("parser: MemoryError")
print("alive")
"""


@pytest.mark.parametrize("memory", ["16M", "64M"])
def test_recursion_without_end(boot: Boot, memory: str) -> None:
    vm = boot(GUESTS / "guest_promises.py", deadline_s=120, args=("recursion",), memory=memory)
    assert vm.wait() == 0
    lines = vm.console_text.splitlines()
    assert len(lines) % 3 == 0
    assert len(lines) == 3 * len(set(lines)), "not the same each time"
    odd = {line for line in lines if not line.endswith(": RuntimeError")}
    assert odd == {"json.loads: ValueError"}  # its parser does not recurse, and finds no end


def test_a_hundred_megabytes_in_sixteen(boot: Boot) -> None:
    vm = boot(GUESTS / "guest_promises.py", deadline_s=120, args=("too_much",), memory="16M")
    assert vm.wait() == 0
    assert vm.console_text == "alive 499500\n"


def test_recursion_in_native_code_and_in_the_parser(boot: Boot, tmp_path: Path) -> None:
    script = tmp_path / "deep.py"
    script.write_text(NATIVE)
    vm = boot(script, deadline_s=60, dev=True, memory="16M")
    vm.expect_exact("alive\n")
    assert vm.console_text.count("RuntimeError\n") >= 15
    assert re.search(r"^parser: (RuntimeError|MemoryError)$", vm.console_text, re.MULTILINE)
    assert "PANIC" not in vm.console_text


def test_a_server_lives_on(boot: Boot) -> None:
    """Through ten rounds of running out of stack and of memory, on one connection that is never dropped."""
    vm = boot(GUESTS / "guest_promise_server.py", deadline_s=120, memory="16M", net=["user"], ports=[80])
    vm.expect_exact("serving")
    answers = []
    with socket.create_connection(("127.0.0.1", vm.ports[80]), timeout=30) as s, s.makefile("rw") as stream:
        for word in ["none", "down", "much", "hoard", "none"] * ROUNDS:
            stream.write(f"{word}\n")
            stream.flush()
            answers.append(stream.readline().strip())
    assert answers == ["done", "RuntimeError", "MemoryError", "MemoryError", "done"] * ROUNDS
    assert vm.outcome is None and "PANIC" not in vm.console_text
