# SPDX-License-Identifier: MIT
"""machine.Timer, RTC, resets and sleep in a VM, and what the clocks do while it is stopped. Upper bounds are generous,
for hosts with other work; lower ones are exact."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from pexpect import TIMEOUT

from floe.build import pipeline
from floe.qemu.commandline import Endpoints, command_line
from floe.qemu.qmp import negotiate
from floe.spec.vmspec import VmSpec
from floe.testing import Boot, Guest
from tests.support.fixtures import run_to_the_end

GUEST = Path(__file__).resolve().parent / "guests" / "guest_timer.py"
MS = 1000
LATE_MS = 500
STOPPED_S = 1.5


def run(boot: Boot, what: str) -> Guest:
    return run_to_the_end(boot, GUEST, what)


def numbers(text: str, start: str) -> list[int]:
    match = re.search(rf"^{start}((?: -?\d+)*)$", text, re.MULTILINE)
    assert match is not None, f"no line that begins with {start}"
    return [int(word) for word in match[1].split()]


@pytest.mark.alone
def test_periods(boot: Boot) -> None:
    """No callback comes early by more than the millisecond that timers count in; on average they keep the beat."""
    text = run(boot, "periods").console_text
    for period in (2, 10, 50):
        (first,) = numbers(text, f"first {period}")
        came = numbers(text, f"came {period}")
        assert (period - 1) * MS <= first <= (period + LATE_MS) * MS
        assert 2 <= len(came) <= 11  # ticks that find the scheduler's queue full are lost
        assert came == sorted(came)
        assert came[-1] <= (10 * period + LATE_MS) * MS


def test_modes(boot: Boot) -> None:
    text = run(boot, "modes").console_text
    assert "one shot True\ndeinit 1\nfreq True\nValueError\n" in text
    assert text.count("Error\n") == 3
    assert "Timer(mode=PERIODIC, period=30)\n" in text


def test_many(boot: Boot) -> None:
    assert "many 200 True 200\n" in run(boot, "many").console_text


def test_an_exception_in_a_callback(boot: Boot) -> None:
    text = run(boot, "raising").console_text
    assert text.count("ValueError: from a timer\n") == 1
    assert "raising True\n" in text


def test_rtc(boot: Boot) -> None:
    before = time.time()
    text = run(boot, "rtc").console_text
    after = time.time()
    match = re.search(r"^utc (\d+) (\d+) (\d+) (\d) (\d+) (\d+) (\d+) True$", text, re.MULTILINE)
    assert match is not None
    year, month, day, weekday, hour, minute, second = (int(n) for n in match.groups())
    shown = time.gmtime(before - 1)[:6], (year, month, day, hour, minute, second), time.gmtime(after + 2)[:6]
    assert shown[0] <= shown[1] <= shown[2]
    assert weekday in (time.gmtime(before).tm_wday, time.gmtime(after).tm_wday)
    assert "weekday True\nset 2040 2 29 2 23 59 59 True\ngoes on 2040 3 1 3 0 0 0\n" in text
    assert "moved True\nticks True\ninit 2030 12 31 12 30 15 True\nkept 2030 12 31 12 30\n" in text


def test_resolution(boot: Boot) -> None:
    text = run(boot, "resolution").console_text
    assert numbers(text, "step") == [1]
    assert "cycles True\n" in text


def test_resets(boot: Boot) -> None:
    """A reset starts with the host's time and another cause; the identity is the VM's and stays."""
    vm = run(boot, "resets")
    assert vm.resets == 2
    causes = re.findall(r"^cause \['(\w+)'\] (\w+)$", vm.console_text, re.MULTILINE)
    assert [cause for cause, _ in causes] == ["PWRON_RESET", "HARD_RESET", "DEEPSLEEP_RESET"]
    assert len({identity for _, identity in causes}) == 1
    assert f"year {time.gmtime().tm_year}\n" in vm.console_text


def test_sleep(boot: Boot) -> None:
    assert "lightsleep True\nidle 1\nfreq True\n" in run(boot, "sleep").console_text


def test_a_soft_reset_stops_timers(boot: Boot) -> None:
    """The callback's object is gone with the heap; the clock that was set stays, and the cause is told."""
    vm = boot(GUEST, deadline_s=60, dev=True, args=("sleep",))
    vm.expect_exact(">>> ")
    vm.send(b"import machine\rmachine.RTC().datetime((2040, 1, 1, 0, 0, 0, 0, 0))\r")
    vm.send(b"t = machine.Timer(period=20, callback=lambda t: print('ti' + 'ck'))\r")
    vm.expect_exact("tick\r\ntick\r\n")
    vm.send(b"\x04")
    vm.expect_exact("soft reboot")
    vm.expect_exact(">>> ")
    assert vm.expect_exact(["tick", TIMEOUT], timeout=0.5) == 1
    vm.send(b"import gc, machine, time\rgc.collect()\r")
    vm.send(b"print('cau' + 'se', machine.reset_cause() == machine.SOFT_RESET, time.gmtime()[0])\r")
    vm.expect_exact("cause True 2040")
    assert "PANIC" not in vm.console_text


def test_a_stopped_process(boot: Boot) -> None:
    """SIGSTOP of the hypervisor: to the guest it is one long moment, which both clocks count."""
    vm = boot(GUEST, deadline_s=60, args=("clocks",))
    vm.expect_exact("ready\n")

    def ask() -> tuple[int, int]:
        vm.send(b"now\n")
        vm.expect_exact("clocks ")
        vm.expect_exact("\n")
        ticks, wall = re.findall(r"^clocks (\d+) (\d+)$", vm.console_text, re.MULTILINE)[-1]
        return int(ticks), int(wall)

    first = ask()
    os.kill(vm.pid, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    os.kill(vm.pid, signal.SIGCONT)
    second = ask()
    assert STOPPED_S * 1000 <= second[0] - first[0] <= STOPPED_S * 1000 + 5000
    assert abs(second[1] - time.time() * 1000) < 3000
    vm.send(b"\n")
    assert vm.wait() == 0


def test_a_paused_vm(accel: str) -> None:
    """QMP's stop and cont. Emulation stops the cycle counter with the VM: both clocks stand still, and the wall clock
    is behind from then on (ntptime sets it). KVM's counter goes on: both clocks count the pause."""
    script = pipeline.build(GUEST).path
    qmp, theirs = socket.socketpair()
    qmp.settimeout(20)
    negotiate(qmp)
    ends = Endpoints("stdio,id=console,signal=off", "null,id=serial", f"socket,id=qmp,fd={theirs.fileno()}", False)
    spec = VmSpec(elf=script, accel=accel, cards=(), args=("clocks",))
    with (
        qmp,
        theirs,
        subprocess.Popen(
            command_line(spec, ends),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pass_fds=[theirs.fileno()],
        ) as qemu,
    ):  # fmt: skip
        assert qemu.stdin is not None and qemu.stdout is not None
        too_late = threading.Timer(60, qemu.kill)
        too_late.start()
        try:

            def read() -> bytes:
                assert qemu.stdout is not None
                data = qemu.stdout.read(100)
                assert data, "QEMU has ended"
                return bytes(data)

            said = b""
            while b"ready\n" not in said:
                said += read()

            def ask() -> tuple[int, int]:
                assert qemu.stdin is not None and qemu.stdout is not None
                qemu.stdin.write(b"now\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    answer += read()
                word, ticks, wall = answer.split()
                assert word == b"clocks"
                return int(ticks), int(wall)

            first = ask()
            lines = qmp.makefile("rb")

            def do(command: str) -> None:
                qmp.sendall(json.dumps({"execute": command, "id": command}).encode() + b"\n")
                while json.loads(lines.readline()) != {"return": {}, "id": command}:
                    pass

            do("stop")
            time.sleep(STOPPED_S)
            do("cont")
            second = ask()
            qemu.stdin.write(b"\n")
            assert qemu.wait(timeout=20) == 3
        finally:
            too_late.cancel()
            qemu.kill()
    passed_ms, wall_ms = second[0] - first[0], second[1] - first[1]
    assert abs(passed_ms - wall_ms) <= 2  # they never part
    if accel == "kvm":
        assert STOPPED_S * 1000 <= passed_ms <= STOPPED_S * 1000 + 5000
    else:
        assert passed_ms < STOPPED_S * 1000
