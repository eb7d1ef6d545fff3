# SPDX-License-Identifier: MIT
"""vm.exec() and vm.eval(): output, exceptions, what stays, and how they share the console with everything else."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from pexpect import TIMEOUT

from floe.errors import GuestError, VmError
from floe.errors import TimedOut as TimedOutError
from floe.testing import Boot, Guest

pytestmark = pytest.mark.any_accel


@pytest.fixture
def vm(boot: Boot, tmp_path: Path) -> Guest:
    app = tmp_path / "app.py"
    app.write_text("import sys, time, json\nready = True\nprint('ready')\n")
    return boot(app, dev=True, deadline_s=60)


def test_output_and_what_stays(vm: Guest) -> None:
    assert vm.exec("print('one')\nprint('two', end='')") == "one\ntwo"
    assert vm.exec("") == ""
    vm.exec("def twice(x):\n    return 2 * x\n\n\nn = twice(21)")
    assert vm.eval("n") == 42
    assert vm.exec("print(twice('snø ❄'))") == "snø ❄snø ❄\n"


@pytest.mark.parametrize(
    "value", [0, -1, 2**70, 1.5, "a'b\"\n\x04", b"\x00\xff\x04", None, True, [1, (2, {"k": {3}})]], ids=repr
)
def test_values(vm: Guest, value: object) -> None:
    assert vm.eval(repr(value)) == value


def test_much_of_everything(vm: Guest) -> None:
    text = "x = 1  # " + "filler " * 20 + "\n"
    vm.exec(text * 400 + "print('end')", deadline_s=30)
    output = vm.exec("for i in range(5000): print(i, 'a' * 40)", deadline_s=30)
    assert output == "".join(f"{i} {'a' * 40}\n" for i in range(5000))


def test_the_console_keeps_the_rest(vm: Guest) -> None:
    vm.exec("print('not on the console')")
    vm.expect_exact("ready")  # said before
    vm.send(b"print('by' + ' hand')\r")
    vm.expect_exact("by hand")
    vm.exec("print('again')")
    assert "not on" not in vm.console_text and "again" not in vm.console_text
    assert "raw REPL" not in vm.console_text
    assert vm.expect_exact(["not on", TIMEOUT], timeout=0.2) == 1


def test_code_over_its_deadline_is_interrupted(vm: Guest) -> None:
    with pytest.raises(TimedOutError, match=r"did not end within 2 s") as caught:
        vm.exec("print('so far')\nwhile True: pass", deadline_s=2)
    assert "so far" in caught.value.evidence and "KeyboardInterrupt" in caught.value.evidence
    assert vm.eval("ready") is True


def test_the_vm_ends_meanwhile(vm: Guest) -> None:
    with pytest.raises(VmError, match="the VM was started again while code was running") as caught:
        vm.exec("print('last words')\nimport machine\nmachine.reset()")
    assert "guest: ready" in caught.value.evidence


def test_a_busy_script_is_not_disturbed(boot: Boot, tmp_path: Path) -> None:
    app = tmp_path / "busy.py"
    app.write_text("try:\n    while True: pass\nexcept KeyboardInterrupt:\n    print('interrupted')\n")
    vm = boot(app, dev=True, deadline_s=60)
    with pytest.raises(TimedOutError, match="no REPL answered within 1 s"):
        vm.exec("print(1)", deadline_s=1)
    assert "interrupted" not in vm.console_text
    vm.interrupt()
    vm.expect_exact("interrupted")
    assert vm.exec("print(1)") == "1\n"


def test_a_service_goes_on_beside_it(boot: Boot, tmp_path: Path) -> None:
    app = tmp_path / "service.py"
    app.write_text(
        "import asyncio\nstate = {'n': 0}\nasync def main():\n    while True:\n        state['n'] += 1\n"
        "        print('tick', state['n'])\n        await asyncio.sleep_ms(20)\nasyncio.run(main())\n"
    )
    vm = boot(app, dev=True, deadline_s=15)
    vm.expect_exact("tick 3")
    before = vm.eval("state['n']")
    assert isinstance(before, int)
    vm.expect_exact(f"tick {before + 5}")
    assert "tick" not in vm.exec("print('only this')")
    with pytest.raises(GuestError, match="NameError"):
        vm.exec("nothing")
    after = vm.eval("state['n']")
    assert isinstance(after, int) and after >= before + 5
    # Nothing of what the service said is lost: what came during an exec was held back.
    vm.expect_exact(f"tick {after + 2}")
    said = re.findall(r"tick (\d+)", vm.console_text)
    assert said[: after + 2] == [str(n) for n in range(1, after + 3)]


def test_a_service_whose_tasks_all_wait_for_the_network(boot: Boot, tmp_path: Path) -> None:
    """Nothing sleeps in it: its loop waits without a deadline, and an exec must not end that wait with nothing to do."""
    app = tmp_path / "server.py"
    app.write_text(
        "import asyncio\nasync def answer(reader, writer):\n    writer.write(b'word')\n    await writer.drain()\n"
        "    writer.close()\n    await writer.wait_closed()\nasync def main():\n"
        "    server = await asyncio.start_server(answer, '0.0.0.0', 80)\n    print('serving')\n"
        "    await server.wait_closed()\nasyncio.run(main())\n"
    )
    vm = boot(app, dev=True, deadline_s=60, ports=[80])
    vm.expect_exact("serving")
    for _ in range(3):
        assert vm.exec("print(1)") == "1\n"
        with socket.create_connection(("127.0.0.1", vm.ports[80]), timeout=20) as s:
            assert s.recv(10) == b"word"
    # A task that is made there runs, and so does one that sleeps.
    vm.exec("import asyncio\nasync def late():\n    await asyncio.sleep_ms(50)\n    print('made there')\n")
    vm.exec("task = asyncio.create_task(late())")
    vm.expect_exact("made there")
    with socket.create_connection(("127.0.0.1", vm.ports[80]), timeout=20) as s:
        assert s.recv(10) == b"word"
    assert "Traceback" not in vm.console_text
