# SPDX-License-Identifier: MIT
"""From the start of QEMU to kernel entry, the first Python line and the first byte served; and for comparison to
the first letter of a bare ELF on the same machine type. Milliseconds."""

from __future__ import annotations

import socket
import time
from functools import partial
from pathlib import Path

from floe.errors import VmError
from floe.qemu.commandline import MACHINES
from floe.stream.stamps import SWITCH, StampFilter
from floe.vm.vm import Vm
from tests.bench import unixport
from tests.bench.common import ROOT, Options, Report, alternate, build, expect, floe_vm, spread
from tests.support import tiny

_DEADLINE_S = 30.0
_REQUEST = b"GET /robots.txt HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


def _bare_elf() -> Path:
    folder = unixport.BENCH / "bare"
    folder.mkdir(parents=True, exist_ok=True)
    return tiny.build(folder, tiny.say("A"), tiny.HANG)


def _bare(accel: str, machine: str) -> float:
    """To one letter on the 16550: what machine and VMM cost without us."""
    with floe_vm(_bare_elf(), accel=accel, machine=machine) as vm:
        expect(vm, "A", _DEADLINE_S)
        return (time.monotonic() - vm.started_at) * 1000


def first_byte(vm: Vm) -> float:
    """Ask as soon as the guest says that it listens."""
    expect(vm, "serving", _DEADLINE_S)
    with socket.create_connection(("127.0.0.1", vm.ports[80]), timeout=_DEADLINE_S) as sock:
        sock.sendall(_REQUEST)
        if sock.recv(1) != b"H":
            raise VmError("the guest served nothing", evidence=vm.console_text[-1000:])
        return (time.monotonic() - vm.started_at) * 1000


def _web(elf: Path, accel: str, machine: str) -> Report:
    with floe_vm(elf, accel=accel, machine=machine, ports=[80], switches=(SWITCH,)) as vm:
        first = first_byte(vm)
        stamps = StampFilter()
        # The stamps' own arrival is not needed: what counts is their distance to each other.
        stamps.feed(vm.console.text.replace("\r\n", "\n").encode(), 0.0)
        if stamps.times is None or stamps.times.kernel_entry is None or stamps.times.first_python_line is None:
            raise VmError("the guest printed no stamps", evidence=vm.console_text[-1000:])
        return {"first_byte": first, "entry_to_python": stamps.times.first_python_line - stamps.times.kernel_entry}


def watch_stamps(vm: Vm) -> StampFilter:
    """What will have the guest's stamps as soon as its line has come."""
    stamps = StampFilter()

    def on_data(data: bytes) -> None:
        stamps.feed(data.replace(b"\r\n", b"\n"), (time.monotonic() - vm.started_at) * 1000)

    vm.console.on_data = on_data
    return stamps


def _hello(elf: Path, accel: str, machine: str) -> Report:
    """To the script's first output on the console, and to kernel entry by the guest's own clock."""
    with floe_vm(elf, accel=accel, machine=machine, switches=(SWITCH,), memory="8M") as vm:
        stamps = watch_stamps(vm)
        expect(vm, "hello, world", _DEADLINE_S)
        if stamps.times is None or stamps.times.kernel_entry is None or stamps.times.first_python_line is None:
            raise VmError("the guest printed no stamps", evidence=vm.console_text[-1000:])
        entry, python = stamps.times.kernel_entry, stamps.times.first_python_line
        return {"kernel_entry": entry, "first_line": python, "entry_to_python": python - entry}


def bench(options: Options) -> Report:
    """By accelerator and machine: medians and the ratio of images/web's first byte to the bare ELF's letter."""
    web, hello = build(ROOT / "images" / "web"), build(ROOT / "images" / "hello")
    rounds = 3 if options.quick else 9
    report: Report = {}
    for accel in options.accels:
        for machine in ("microvm",) if options.quick else MACHINES:
            runs = alternate(
                rounds,
                {
                    "bare": partial(_bare, accel, machine),
                    "hello": partial(_hello, hello, accel, machine),
                    "web": partial(_web, web, accel, machine),
                },
            )
            report[f"{accel} {machine}"] = {
                "bare_elf_letter": spread(runs["bare"], 1),
                "hello_kernel_entry": spread([run["kernel_entry"] for run in runs["hello"]], 1),
                "hello_first_python_line": spread([run["first_line"] for run in runs["hello"]], 1),
                "hello_entry_to_python": spread([run["entry_to_python"] for run in runs["hello"]], 2),
                "web_entry_to_python": spread([run["entry_to_python"] for run in runs["web"]], 2),
                "web_first_byte": spread([run["first_byte"] for run in runs["web"]], 1),
                "ratio_first_byte_to_bare": spread(
                    [run["first_byte"] / bare for run, bare in zip(runs["web"], runs["bare"], strict=True)], 2
                ),
            }
    return report
