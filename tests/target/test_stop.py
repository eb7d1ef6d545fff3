# SPDX-License-Identifier: MIT
"""How a service ends that is asked to: its asyncio loop's main task is cancelled, and what it does then happens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from floe.testing import Boot, Guest

INTERRUPT = b"\x03"
AT_ONCE_S = 0.9  # less than the second that a loop is given to hear it

# What main() awaits, what it says after the wish, and the exit code of the script.
WAITS = {
    "sleep": ("await asyncio.sleep(100)", 0),
    "stream": ("await asyncio.StreamReader(sys.stdin).read(1)", 0),
    "task": ("await asyncio.create_task(other())", 0),
    "gather": ("await asyncio.gather(other(), other())", 0),
    "event": ("await asyncio.Event().wait()", 0),
    "busy": ("while True: await asyncio.sleep(0)", 0),
}

MAIN = """
import asyncio, sys
async def other():
    while True:
        await asyncio.sleep(0.01)
async def main():
    task = asyncio.create_task(other())
    print("up")
    try:
        WAIT
    except asyncio.CancelledError:
        print("cancelled")
        raise
    finally:
        await asyncio.sleep(0.02)  # the loop goes on meanwhile
        print("finally")
"""
ENDS = {
    "plain": ("asyncio.run(main())\nprint('not here')", 0, []),
    "caught": ("try:\n    asyncio.run(main())\nexcept KeyboardInterrupt:\n    print('caught')\n    sys.exit(9)", 9, ["caught"]),
    "kept": ("async def all():\n    try:\n        await main()\n    except asyncio.CancelledError:\n        return 5\n"
             "sys.exit(asyncio.run(all()))", 5, []),
    "raises": ("async def all():\n    try:\n        await main()\n    finally:\n        sys.exit(7)\nasyncio.run(all())", 7, []),
    "forever": ("loop = asyncio.new_event_loop()\nloop.create_task(other())\nprint('up')\ntry:\n    loop.run_forever()\n"
                "except KeyboardInterrupt:\n    print('cancelled')\nfinally:\n    print('finally')", 0, []),
}  # fmt: skip


def start(boot: Boot, tmp_path: Path, wait: str, end: str, *, dev: bool = False, live: bool = True) -> Guest:
    script = tmp_path / "service.py"
    script.write_text(MAIN.replace("WAIT", wait) + end + "\n")
    switches = () if live else ("floe.live=0",)
    vm = boot(script, dev=dev, switches=switches)
    vm.expect_exact("up\n")
    return vm


def ended(vm: Guest, code: int, words: list[str]) -> None:
    said = vm.console_text.replace("\r", "")
    assert code == vm.wait(deadline_s=30), said
    for word in ["cancelled\n", "finally\n", *words]:
        assert word in said
    assert "Traceback" not in said and "not here" not in said


@pytest.mark.parametrize("wait", WAITS)
def test_a_sealed_service_ends_in_order(boot: Boot, tmp_path: Path, wait: str) -> None:
    vm = start(boot, tmp_path, WAITS[wait][0], ENDS["plain"][0])
    code = vm.stop()
    assert vm.outcome is not None and vm.outcome.cause == "exit"
    ended(vm, code, [])
    assert code == 0


@pytest.mark.parametrize("end", [e for e in ENDS if e != "plain"])
def test_the_code_is_the_script_s(boot: Boot, tmp_path: Path, end: str) -> None:
    text, code, words = ENDS[end]
    vm = start(boot, tmp_path, "await asyncio.sleep(100)", text)
    assert vm.stop() == code
    ended(vm, code, words)


def test_a_dev_service_ends_in_order_while_code_runs_beside_it(boot: Boot, tmp_path: Path) -> None:
    """What was typed is interrupted at once, now and when the end is asked for, and the service has its turn after it."""
    vm = start(boot, tmp_path, "await asyncio.sleep(100)", ENDS["plain"][0], dev=True)
    waits = []
    while not waits or (min(waits) >= AT_ONCE_S and len(waits) < 5):  # a busy host may delay some of them
        type_in(vm, len(waits))
        vm.send(INTERRUPT)
        started = time.monotonic()
        vm.expect_exact("KeyboardInterrupt: \r\n\x04>")
        waits.append(time.monotonic() - started)
    assert min(waits) < AT_ONCE_S, waits
    type_in(vm, len(waits))
    code = vm.stop()
    said = vm.console_text.replace("\r", "")
    assert code == 0, said
    assert "cancelled\n" in said and "finally\n" in said and said.count("Traceback") == len(waits) + 1, said


def type_in(vm: Guest, number: int) -> None:
    vm.send(f"\r\x01import time; print('go', {number}); time.sleep(1000)\x04".encode())
    vm.expect_exact(f"go {number}")


@pytest.mark.parametrize("live", [True, False])
def test_a_dev_service_ends_in_order(boot: Boot, tmp_path: Path, live: bool) -> None:
    """With the REPL beside it, and with the console its own."""
    vm = start(boot, tmp_path, "await asyncio.sleep(100)", ENDS["plain"][0], dev=True, live=live)
    code = vm.stop()
    assert vm.outcome is not None and vm.outcome.cause == "exit"
    ended(vm, code, [])
    assert code == 0


def test_a_second_ctrl_c_interrupts_what_the_first_began(boot: Boot, tmp_path: Path) -> None:
    vm = start(boot, tmp_path, "try:\n            await asyncio.sleep(100)\n        finally:\n            print('slow')\n"
               "            await asyncio.sleep(100)", ENDS["plain"][0])  # fmt: skip
    vm.send(INTERRUPT)
    vm.expect_exact("slow\n")
    vm.send(INTERRUPT)
    assert vm.wait(deadline_s=30) == 1
    assert "KeyboardInterrupt" in vm.console_text


def test_a_task_that_never_waits_is_interrupted_where_it_is(boot: Boot, tmp_path: Path) -> None:
    vm = start(boot, tmp_path, "while True: pass", ENDS["plain"][0])
    assert vm.stop(grace_s=30.0) == 1
    assert vm.outcome is not None and vm.outcome.cause == "exit"  # and not because the time for it was over
    assert "finally" in vm.console_text and "KeyboardInterrupt" in vm.console_text
