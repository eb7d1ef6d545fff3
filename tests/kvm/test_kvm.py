# SPDX-License-Identifier: MIT
"""Ordinary KVM (AMD's SVM with nested paging): machines, firmware, exit codes, protections. One boot of the lab for all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import kvmlab
import pytest
from kvmlab import Case, Ended
from test_protection import Layout

from conftest import REPO
from floe import qemu
from floe.errors import UpstreamError
from floe.vm import Outcome, judge

TARGET = REPO / "tests" / "target"
IDLE = Path(__file__).with_name("guest_idle.py")
LEAN = {"pc": "pc,usb=off,vmport=off,hpet=off", "q35": "q35,usb=off,sata=off,smbus=off,vmport=off,hpet=off"}
HELLO = {
    "microvm": {},
    "microvm, qemu64": {"cpu": "qemu64"},
    "q35 with qboot": {"machine": LEAN["q35"]},
    "pc with qboot": {"machine": LEAN["pc"]},
    "q35 with SeaBIOS": {"machine": "q35", "bios": ""},
    "pc with SeaBIOS": {"machine": "pc", "bios": ""},
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


@pytest.fixture(scope="module")
def ended(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    if shutil.which(qemu.find_qemu()) is None:
        pytest.skip(f"SKIP: {qemu.find_qemu()} is not installed")
    hello, guest, leaver = build("hello"), build(TARGET / "guest_protection.py"), build(TARGET / "guest_exit.py")
    layout = Layout(guest)
    cases = {name: Case(hello, **options) for name, options in HELLO.items()}
    for name, (verb, place, _) in PROTECTED.items():
        address = layout.bytes_in_text(SYSCALL) if place == "syscall" else layout[place] if place else 0
        cases[name] = Case(guest, (verb, f"{address:x}"))
    cases.update({way: Case(leaver, (way,)) for way in EXITS})
    cases["idle"] = Case(build(IDLE))
    try:
        return kvmlab.run(cases, tmp_path_factory.mktemp("kvm"))
    except UpstreamError as e:
        pytest.skip(f"SKIP: Debian's packages for the KVM lab cannot be had: {e.message}")


@pytest.mark.parametrize("name", HELLO)
def test_machine_and_firmware(ended: dict[str, Ended], name: str) -> None:
    assert ended[name].text == "hello, world\n"
    assert judge(ended[name].status, "") == Outcome(0, "exit")


@pytest.mark.parametrize("name", PROTECTED)
def test_protection(ended: dict[str, Ended], name: str) -> None:
    lines = [line for line in ended[name].text.splitlines() if line.startswith("PANIC")]
    assert len(lines) == 1, ended[name]
    assert lines[0].startswith(f"PANIC: {PROTECTED[name][2]}")
    assert judge(ended[name].status, "") == Outcome(120, "panic")


@pytest.mark.parametrize("way", EXITS)
def test_exit_code(ended: dict[str, Ended], way: str) -> None:
    code, text = EXITS[way]
    assert judge(ended[way].status, "") == Outcome(code, "exit")
    assert text in ended[way].text and "PANIC" not in ended[way].text


def test_idle_vm_wakes_by_its_timers(ended: dict[str, Ended]) -> None:
    match = re.search(r"^slept (\d+) ticks (\d+)$", ended["idle"].text, re.MULTILINE)
    assert match is not None, ended["idle"]
    assert 1000 <= int(match[1]) < 5000
    assert int(match[2]) >= 5
    assert judge(ended["idle"].status, "") == Outcome(0, "exit")
