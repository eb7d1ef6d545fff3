# SPDX-License-Identifier: MIT
"""The power button, as QMP's system_powerdown and virsh shutdown press it: the script is asked, and its end is the VM's."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from floe.qemu import commandline
from floe.qemu.accel import arguments
from floe.vm.outcome import Outcome, judge

QBOOT = ("-bios", commandline.FIRMWARE)
DEBUG_EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=4")
# Tables below 1 MiB, at the end of 32 MiB, and above what the boot page tables map; PM1's registers and a generic event device.
MACHINES = {
    "pc": ("-M", "pc", *QBOOT),
    "q35": ("-M", "q35", *QBOOT),
    "microvm": ("-M", "microvm", *QBOOT),
    "microvm, pcie": ("-M", "microvm,pcie=on", *QBOOT),
    "microvm, SeaBIOS": ("-M", "microvm"),
    "pc, SeaBIOS": ("-M", "pc"),
    "q35, SeaBIOS, 1.1 GiB": ("-M", "q35", "-m", "1100M"),
}
SCRIPT = """
import asyncio, sys, time
async def main():
    print("up")
    try:
        await asyncio.sleep(100)
    finally:
        await asyncio.sleep(0.05)
        print("finally")
try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(9)
"""
BUSY = """
print("up")
try:
    while True:
        pass
except KeyboardInterrupt:
    print("asked")
"""

pytestmark = pytest.mark.usefixtures("each_qemu")


class Vm:
    """A QEMU without floe, its 16550 and its QMP."""

    def __init__(self, process: subprocess.Popen[bytes], qmp: socket.socket) -> None:
        self.process = process
        self.text = ""
        self._qmp = qmp.makefile("rw")
        self._qmp.readline()
        self.ask("qmp_capabilities")

    def tell(self, command: str) -> None:
        """Without a wait for the answer: QEMU may be gone before that is read."""
        self._qmp.write(json.dumps({"execute": command}) + "\n")
        self._qmp.flush()

    def ask(self, command: str) -> None:
        self.tell(command)
        self.await_message("return")

    def await_message(self, key: str, value: str | None = None) -> None:
        for line in self._qmp:
            message = json.loads(line)
            if key in message and value in (None, message[key]):
                return
        pytest.fail(f"QEMU ended before it said {key} {value}")

    def expect(self, text: str, deadline_s: float = 60) -> None:
        assert self.process.stdout is not None
        end = time.monotonic() + deadline_s
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} in {self.text!r}"
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                got = os.read(self.process.stdout.fileno(), 4096).decode()
                assert got, f"ended without {text!r}: {self.text!r}"
                self.text += got

    def end(self) -> Outcome | None:
        rest = self.process.communicate(timeout=30)[0]
        self.text += rest.decode()
        return judge(self.process.returncode, "")


@contextmanager
def started(elf: Path, accel: str, folder: Path, *more: str) -> Iterator[Vm]:
    path = folder / "qmp"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(60)
        argv = [commandline.find_qemu(), *arguments(accel), "-m", "32M", "-nodefaults", "-no-user-config", "-display", "none",
                "-qmp", f"unix:{path}", "-serial", "stdio", "-kernel", str(elf), *more]  # fmt: skip
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            try:
                qmp = listener.accept()[0]
                qmp.settimeout(60)
                with qmp:
                    yield Vm(process, qmp)
            finally:
                process.kill()


def made(build: Callable[..., Path], folder: Path, text: str) -> Path:
    script = folder / "script.py"
    script.write_text(text)
    return build(script)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_button_ends_a_script_in_order(
    build: Callable[..., Path], accel: str, tmp_path: Path, machine: str
) -> None:
    """finally runs, and the exit code is the script's."""
    if "SeaBIOS" in machine and accel == "kvm":
        pytest.skip("SKIP: SeaBIOS takes 12 s where KVM has neither VT-x nor SVM")
    with started(made(build, tmp_path, SCRIPT), accel, tmp_path, *MACHINES[machine], *DEBUG_EXIT) as vm:
        vm.expect("up")
        vm.ask("system_powerdown")
        assert vm.end() == Outcome(9, "exit")
    assert vm.text == "up\nfinally\n"


@pytest.mark.parametrize("machine", ["pc", "microvm"])
def test_a_script_that_never_waits_is_asked_too(
    build: Callable[..., Path], accel: str, tmp_path: Path, machine: str
) -> None:
    with started(made(build, tmp_path, BUSY), accel, tmp_path, *MACHINES[machine], *DEBUG_EXIT) as vm:
        vm.expect("up")
        vm.tell("system_powerdown")
        assert vm.end() == Outcome(0, "exit")
    assert vm.text == "up\nasked\n"


@pytest.mark.parametrize("machine", ["pc", "q35", "microvm"])
def test_without_an_exit_device_the_vm_powers_off(
    build: Callable[..., Path], accel: str, tmp_path: Path, machine: str
) -> None:
    """As virsh reboot has it, which then resets the machine and lets it go on: the script is run anew."""
    with started(made(build, tmp_path, SCRIPT), accel, tmp_path, *MACHINES[machine], "-no-shutdown") as vm:
        for start in (1, 2):
            vm.expect("up\nfinally\n" * (start - 1) + "up")
            vm.ask("system_powerdown")
            vm.await_message("event", "SHUTDOWN")
            if start == 1:
                vm.ask("system_reset")
                vm.ask("cont")
        vm.ask("quit")
        vm.end()
    assert vm.text == "up\nfinally\n" * 2
