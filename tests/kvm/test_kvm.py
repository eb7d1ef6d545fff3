# SPDX-License-Identifier: MIT
"""Guests under ordinary KVM (AMD's SVM with nested paging): machines, firmware, exit codes, protections, an idle VM."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.kvmlab import nested
from floe.kvmlab.lab import LAB
from floe.spec.vmspec import VmSpec
from floe.vm.outcome import Outcome, judge
from tests.kvm import inner
from tests.support.fixtures import REPO
from tests.support.layout import Layout

GUESTS = REPO / "tests" / "target" / "guests"
IDLE = Path(__file__).with_name("guest_idle.py")
LEAN = {"pc": "pc,usb=off,vmport=off,hpet=off", "q35": "q35,usb=off,sata=off,smbus=off,vmport=off,hpet=off"}
HELLO = {  # option of QEMU's -> value; None: left out
    "microvm": {},
    "microvm, qemu64": {"-cpu": "qemu64"},
    "q35 with qboot": {"-M": LEAN["q35"]},
    "pc with qboot": {"-M": LEAN["pc"]},
    "q35 with SeaBIOS": {"-M": "q35", "-bios": None},
    "pc with SeaBIOS": {"-M": "pc", "-bios": None},
}
SYSCALL = b"\x0f\x05\x0f\x0b"
# Verb of guest_protection.py, address, and what the PANIC begins with.
PROTECTED = {
    "write to text": ("write", "link_text+64", "forbidden write, vector 14"),
    "write to page tables": ("write", "link_end", "forbidden write, vector 14"),
    "read of the monitor": ("read", "monitor_gdt", "forbidden read, vector 14"),
    "execution of data": ("call", "link_data", "execution of data, vector 14"),
    "page zero": ("read", "", "NULL pointer access, vector 14"),
    "a fault inside the panic": ("silence", "hal_platform", "fault inside a panic, vector 0x000000000000000e"),
    "syscall": ("call", "syscall", "invalid opcode, vector 6"),
}
EXITS = {"raise SystemExit(3)": (3, ""), "asyncio": (6, ""), "exception": (1, "ValueError: no good")}
IDLE_S, IDLE_MOST = 4, 0.2  # seconds; of them on the processor

pytestmark = pytest.mark.usefixtures("lab")


def changed(options: dict[str, str | None]) -> inner.Change:
    def change(argv: list[str]) -> list[str]:
        out = list(argv)
        for option, value in options.items():
            at = out.index(option)
            out[at : at + 2] = [] if value is None else [option, value]
        if "-M" in options:  # microvm's devices have no bus elsewhere
            out = [re.sub(r"^virtio-(\w+)-device(.*)", r"virtio-\1-pci,disable-legacy=on\2", word) for word in out]
        return out

    return change


@pytest.mark.parametrize("name", HELLO)
def test_machine_and_firmware(build: Callable[..., Path], name: str) -> None:
    ended = inner.run(build("hello"), change=changed(HELLO[name]))
    assert ended.text == "hello, world\n"
    assert judge(ended.status, "") == Outcome(0, "exit")


@pytest.mark.parametrize("name", PROTECTED)
def test_protection(build: Callable[..., Path], name: str) -> None:
    elf = build(GUESTS / "guest_protection.py")
    layout, (verb, place, words) = Layout(elf), PROTECTED[name]
    address = layout.bytes_in_text(SYSCALL) if place == "syscall" else layout[place] if place else 0
    ended = inner.run(elf, verb, f"{address:x}", switches=("floe.aslr=0",))
    lines = [line for line in ended.text.splitlines() if line.startswith("PANIC")]
    assert len(lines) == 1, ended
    assert lines[0].startswith(f"PANIC: {words}")
    assert judge(ended.status, "") == Outcome(120, "panic")


@pytest.mark.parametrize("way", EXITS)
def test_exit_code(build: Callable[..., Path], way: str) -> None:
    code, text = EXITS[way]
    ended = inner.run(build(GUESTS / "guest_exit.py"), way)
    assert judge(ended.status, "") == Outcome(code, "exit")
    assert text in ended.text and "PANIC" not in ended.text


def test_timers_wake_a_vm_that_sleeps(build: Callable[..., Path]) -> None:
    ended = inner.run(build(IDLE))
    match = re.search(r"^slept (\d+) ticks (\d+)$", ended.text, re.MULTILINE)
    assert match is not None, ended
    assert 1000 <= int(match[1]) < 5000
    assert int(match[2]) >= 5
    assert judge(ended.status, "") == Outcome(0, "exit")


def test_an_idle_vm_uses_no_processor(build: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text('import time\nprint("sleeping")\ntime.sleep(60)\n')
    used = "set -- $(cat /proc/$(pidof qemu-system-x86_64)/stat); echo $((${14} + ${15}))"
    with nested.settled(VmSpec(build(tmp_path / "sleeper.py"), cards=())) as spec:
        with LAB.connect(nested.script(nested.command(spec))) as sock:
            sock.settimeout(60)
            said = b""
            while b"sleeping" not in said:
                got = sock.recv(4096)
                assert got, said
                said += got
            words = LAB.call(f"usleep 500000; {used}; sleep {IDLE_S}; {used}").split()
        LAB.call("kill -9 $(pidof qemu-system-x86_64); usleep 200000")
    before, after = (int(word) for word in words)
    print(f"{(after - before) / 100:.2f} s of {IDLE_S} s")
    assert (after - before) / 100 <= IDLE_MOST  # USER_HZ is 100
