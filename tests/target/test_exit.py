# SPDX-License-Identifier: MIT
"""port/script.c: how a script ends is the VM's exit code, and the console says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.testing import Boot

GUEST = Path(__file__).resolve().parent / "guests" / "guest_exit.py"
each_qemu = pytest.mark.usefixtures("each_qemu")  # for one of each way that QEMU has a part in

LOOP = """
import sys, time
print("looping")
try:
    {body}
except KeyboardInterrupt:
    print("interrupted")
    {then}
"""

# way: (code, what the console must hold, what it must not hold)
WAYS: dict[str, tuple[int, list[str], list[str]]] = {
    "end": (0, ["the end"], ["Traceback"]),
    "exit()": (0, [], ["the end", "Traceback"]),
    "exit(None)": (0, ["leaving"], ["None", "Traceback"]),
    "exit(text)": (1, ["the disk is full\n"], ["Traceback"]),
    "exit(tuple)": (1, ["(1, 2)\n"], ["Traceback"]),
    "exit(unprintable)": (1, ["leaving", "floe: SystemExit, whose text cannot be printed\n"], []),
    "exit(True)": (1, ["leaving"], ["Traceback"]),
    "raise SystemExit": (0, [], ["Traceback"]),
    "raise SystemExit(3)": (3, [], ["Traceback"]),
    "exception": (
        1,
        ["Traceback (most recent call last):", 'File "guest_exit.py", line', "ValueError: no good\n"],
        ["the end"],
    ),
    "own exception": (1, ["Odd: odd\n"], []),
    "unprintable exception": (1, ["Traceback", "Unprintable: "], []),
    "keyboard": (1, ["KeyboardInterrupt:"], []),
    "memory": (121, ["MemoryError: memory allocation failed, allocating 2147483648 bytes"], []),
    "memory caught": (0, ["caught 1000", "the end"], ["MemoryError"]),
    "recursion": (1, ["RuntimeError: maximum recursion depth exceeded\n"], []),
    "recursion caught": (0, ["caught maximum recursion depth exceeded\n" * 3, "the end"], []),
    "atexit": (5, ["leaving\nat exit\n"], ["Traceback"]),
    "atexit after an exception": (1, ["ValueError: no good\nat exit\n"], []),
    "atexit that exits": (9, ["leaving"], ["Traceback"]),
    "atexit that fails": (1, ["ValueError: late\n"], []),
    "asyncio": (6, ["leaving"], ["Traceback"]),
    "asyncio task": (7, ["leaving"], ["Traceback"]),
    "asyncio exception": (1, ["ValueError: in a coroutine\n"], []),
    "finally": (4, ["leaving\nfinally\n"], ["Traceback"]),
    "swallowed": (0, ["swallowed", "the end"], ["Traceback"]),
    "no newline": (0, ["no newline"], []),
}
# The low seven bits where they are a code and no success, else 1.
OUT_OF_RANGE = {
    **{120: 1, 121: 1, 127: 1, 128: 1, 256: 1, 300: 44},
    **{-1: 1, -2: 1, -100: 28, 1 << 40: 1, 1 << 70: 1},
}


@pytest.mark.any_accel
@pytest.mark.parametrize("way", WAYS)
def test_way(boot: Boot, way: str) -> None:
    code, said, not_said = WAYS[way]
    vm = boot(GUEST, deadline_s=30, args=(way,))
    assert vm.wait() == code
    for text in said:
        assert text in vm.console_text
    for text in [*not_said, "PANIC"]:
        assert text not in vm.console_text


@each_qemu
@pytest.mark.parametrize("given", [0, 1, 2, 42, 118, 119])
def test_a_code_in_range_is_itself(boot: Boot, given: int) -> None:
    assert code_of(boot, given) == given


@pytest.mark.any_accel
@pytest.mark.parametrize(("given", "code"), OUT_OF_RANGE.items())
def test_a_code_out_of_range(boot: Boot, given: int, code: int) -> None:
    assert code_of(boot, given) == code


def code_of(boot: Boot, given: int) -> int:
    """The VM's exit code after sys.exit(given)."""
    vm = boot(GUEST, deadline_s=30, args=("code", str(given)))
    code = vm.wait()
    assert vm.outcome is not None and vm.outcome.cause == "exit"
    assert "leaving" in vm.console_text and "PANIC" not in vm.console_text
    return code


@each_qemu
@pytest.mark.parametrize("body", ["while True: pass", "time.sleep(60)", "sys.stdin.read(1)"])
def test_ctrl_c(boot: Boot, tmp_path: Path, body: str) -> None:
    """In a busy loop, in a wait, in a read."""
    script = tmp_path / "ctrl_c.py"
    script.write_text(LOOP.format(body=body, then="sys.exit(17)"))
    vm = boot(script, deadline_s=30)
    vm.expect_exact("looping")
    vm.send(b"\x03")
    vm.expect_exact("interrupted", timeout=10)
    assert vm.wait() == 17
    assert "PANIC" not in vm.console_text


def test_ctrl_c_uncaught(boot: Boot, tmp_path: Path) -> None:
    script = tmp_path / "ctrl_c_uncaught.py"
    script.write_text('print("looping")\nwhile True:\n    pass\n')
    vm = boot(script, deadline_s=30)
    vm.expect_exact("looping")
    vm.send(b"\x03")
    assert vm.wait() == 1
    assert 'File "ctrl_c_uncaught.py", line' in vm.console_text
    assert "KeyboardInterrupt:" in vm.console_text and "PANIC" not in vm.console_text


@each_qemu
def test_machine_reset(boot: Boot, tmp_path: Path) -> None:
    script = tmp_path / "reset.py"
    script.write_text('import machine\nprint("up")\nmachine.reset()\n')
    vm = boot(script, deadline_s=30)
    for _ in range(3):
        vm.expect_exact("up\n")
    assert vm.resets >= 2
    vm.kill()
    assert "PANIC" not in vm.console_text


@each_qemu
def test_a_mebibyte_of_output_is_complete(boot: Boot, tmp_path: Path) -> None:
    script = tmp_path / "mebibyte.py"
    script.write_text('for i in range(1 << 16):\n    print("line %010d" % i)\nprint("the end")\n')
    vm = boot(script, deadline_s=60)
    assert vm.wait() == 0
    expected = "".join(f"line {i:010d}\n" for i in range(1 << 16)) + "the end\n"
    assert len(expected) >= 1 << 20
    assert vm.console_text == expected
