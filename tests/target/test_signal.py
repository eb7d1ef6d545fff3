# SPDX-License-Identifier: MIT
"""How a VM's wish for its end reaches the handlers that a script has set with `signal`."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.build import pipeline
from floe.testing import Boot

PLAIN = """
import signal, sys, time
class Over(Exception):
    pass
count = 0
def count_it(number, frame):
    global count
    count += 1
    print("heard", number, count)
def leave(number, frame):
    raise Over(number)
old = signal.signal(signal.SIGINT, count_it)
print("up", old is signal.default_int_handler, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
while count < 1:
    time.sleep(100)  # goes on after the handler
    print("not here")
"""
# A handler sets a flag, another that raises ends a wait, SIGTERM's comes before SIGINT's, and the default again.
FLAG = (
    PLAIN.replace('time.sleep(100)  # goes on after the handler\n    print("not here")', "time.sleep(0.01)")
    + """
signal.signal(signal.SIGTERM, leave)
print("second")
try:
    time.sleep(100)
except Over as e:
    print("over", e.args[0])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("third")
line = sys.stdin.readline()
print("ignored", line.strip())
signal.signal(signal.SIGTERM, signal.SIG_DFL)
print("fourth")
try:
    while True:
        pass
except KeyboardInterrupt:
    print("by default")
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(9))
print("fifth")
while True:
    pass
"""
)
SERVICE = """
import asyncio, signal, sys
async def other():
    while True:
        await asyncio.sleep(0.01)
async def main():
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda number=number: (print("heard", number), stop.set()))
    task = None if "alone" in sys.argv else asyncio.create_task(other())
    print("up")
    await stop.wait()
    print(loop.remove_signal_handler(signal.SIGTERM), loop.remove_signal_handler(signal.SIGTERM))
    print(loop.remove_signal_handler(signal.SIGINT))
    print("again")
    try:
        await asyncio.sleep(100)
    finally:
        print("cancelled")
asyncio.run(main())
"""


def test_handlers(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(FLAG)
    vm = boot(tmp_path / "plain.py", deadline_s=30)
    vm.expect_exact("up True True\n")
    vm.interrupt()
    vm.expect_exact("heard 2 1\n")
    vm.expect_exact("second\n")
    vm.interrupt()
    vm.expect_exact("over 15\n")
    vm.expect_exact("third\n")
    vm.interrupt()
    vm.send(b"typed\n")
    vm.expect_exact("ignored typed\n")
    vm.expect_exact("fourth\n")
    vm.interrupt()
    vm.expect_exact("by default\n")
    vm.expect_exact("fifth\n")
    assert vm.stop() == 9
    assert "Traceback" not in vm.console_text


def test_a_wait_goes_on_after_the_handler(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    vm = boot(tmp_path / "plain.py", deadline_s=30)
    vm.expect_exact("up True True\n")
    for count in (1, 2):
        vm.interrupt()
        vm.expect_exact(f"heard 2 {count}\n")
    assert "not here" not in vm.console_text


def test_handlers_of_a_loop(boot: Boot, tmp_path: Path) -> None:
    """One that waits for nothing but the handler, and one that has other tasks; linked, and on a ready kernel."""
    (tmp_path / "service.py").write_text(SERVICE)
    ready = pipeline.build(tmp_path / "service.py", how="ready").image.path
    for app, args in ((tmp_path / "service.py", ["alone"]), (ready, [])):
        vm = boot(app, args=args, deadline_s=30)
        vm.expect_exact("up\n")
        vm.interrupt()
        vm.expect_exact("heard 15\n")
        vm.expect_exact("True False\nTrue\nagain\n")
        assert vm.stop(grace_s=30.0) == 0
        assert vm.outcome is not None and vm.outcome.cause == "exit"  # and not because the time for it was over
        assert "cancelled" in vm.console_text


def test_the_end_of_a_dev_service(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    vm = boot(tmp_path / "service.py", dev=True, deadline_s=30)
    vm.expect_exact("up\n")
    assert vm.exec("import signal, floe; print(signal.getsignal(signal.SIGTERM) != signal.SIG_DFL)") == "True\n"
    assert vm.exec("signal.raise_signal(signal.SIGTERM)") == ""
    vm.expect_exact("again")
    assert vm.stop() == 0
    assert "cancelled" in vm.console_text


@pytest.mark.parametrize(
    "text", ["import signal\nsignal.signal(signal.SIGTERM, 5)", "import signal\nsignal.signal(1, 0)"]
)
def test_what_is_refused(boot: Boot, tmp_path: Path, text: str) -> None:
    (tmp_path / "app.py").write_text(text)
    vm = boot(tmp_path / "app.py", deadline_s=30)
    assert vm.wait() == 1
    assert "TypeError" in vm.console_text or "ValueError: a VM hears SIGINT and SIGTERM only" in vm.console_text
