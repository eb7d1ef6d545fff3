# SPDX-License-Identifier: MIT
"""port/gccollect.c and port/hal/mem.c in a VM: the heap grows over all RAM, and its end is an exception."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from floe.testing import Boot, Guest

GUEST = Path(__file__).resolve().parent / "guests" / "guest_memory.py"
NATIVE = """
import micropython

@micropython.native
def total(n):
    s = 0
    for i in range(n):
        s += i
    return s

@micropython.viper
def mix(n: int) -> int:
    s = 0
    i = 0
    while i < n:
        s = (s * 31 + i) & 0xffff
        i += 1
    return s

def reference(n):
    s = 0
    for i in range(n):
        s = (s * 31 + i) & 0xffff
    return s

assert total(1000) == sum(range(1000))
assert mix(1000) == reference(1000)
made = []
source = "@micropython.native\\ndef f(x):\\n" + "".join("    x += %d\\n" % i for i in range(200)) + "    return x + %d\\n"
try:
    for i in range(100000):
        scope = {"micropython": micropython}
        exec(source % i, scope)
        made.append(scope["f"])
except MemoryError:
    print("arena full")
assert len(made) > 20, len(made)
for i, f in enumerate(made):
    assert f(1) == 1 + sum(range(200)) + i, i
print("native", len(made))
assert total(10) == 45
try:
    exec(source % 1, {"micropython": micropython})
except MemoryError:
    print("still full")
import sys
sys.exit(0)
"""


def run(boot: Boot, what: str, memory: str = "32M") -> Guest:
    vm = boot(GUEST, deadline_s=120, args=(what,), memory=memory)
    assert vm.wait() == 0
    assert vm.console_text.endswith("the end\n")
    assert "PANIC" not in vm.console_text
    return vm


@pytest.mark.parametrize("memory", ["8M", "32M", "256M"])
def test_at_least_half_of_the_ram_can_be_used_again_and_again(boot: Boot, memory: str) -> None:
    vm = run(boot, "grow", memory)
    match = re.search(r"reached (\d+) (\d+)\n", vm.console_text)
    assert match is not None
    reached = [int(n) for n in match.groups()]
    assert min(reached) >= 500
    assert max(reached) - min(reached) <= 20  # nothing gets lost from round to round
    after = [int(n) for n in re.findall(r"gc (\d+)", vm.console_text)]
    assert max(after) < 300_000


@pytest.mark.parametrize("memory", ["4M", "32M"])
def test_too_much_at_once_is_an_exception(boot: Boot, memory: str) -> None:
    vm = run(boot, "huge", memory)
    assert "took" not in vm.console_text
    assert "left over True" in vm.console_text


@pytest.mark.parametrize(
    ("what", "said"), [("churn", "kept True"), ("one_large", "larger True 7"), ("c_heap", "sane True")]
)
def test_memory(boot: Boot, what: str, said: str) -> None:
    assert said in run(boot, what).console_text


def test_native_code_until_its_room_is_full(boot: Boot, tmp_path: Path) -> None:
    """dev images: native and viper functions are right, and the arena's end is MemoryError, not a crash."""
    script = tmp_path / "native_code.py"
    script.write_text(NATIVE)
    vm = boot(script, deadline_s=60, dev=True)
    vm.expect_exact("still full\n")
    assert vm.console_text.count("arena full") == 1
    assert re.search(r"^native \d+$", vm.console_text, re.MULTILINE)
    assert "PANIC" not in vm.console_text and "Traceback" not in vm.console_text
