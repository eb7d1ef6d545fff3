# SPDX-License-Identifier: MIT
"""What each appliance of images/ costs, beside its usual counterpart in the Linux microVM: bytes, least RAM, boot.

Boot is milliseconds from the start of QEMU, in turns, on each accelerator with which Linux starts for Linux. The least
RAM, in steps, is that with which each of some connections in a row gets an answer; under TCG, where both can be measured.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from floe.bench import peers
from floe.bench.guests import watch_stamps
from floe.bench.linux import MEMORY, LinuxVm, kernel, program
from floe.errors import FloeError, VmError
from floe.stream.stamps import SWITCH
from tests.bench.common import ROOT, WEB, Options, Report, alternate, build, expect, floe_vm, say, spread

_DEADLINE_S = 30.0
_OURS_KIB = (2048, 2304, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 12288, 16384)
_THEIRS_MIB = (32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 256)
_ZONES = ROOT / "images" / "dns" / "data" / "zones"
_NSD = b"""server:
  username: "root"
  chroot: ""
  zonesdir: "/app"
  database: ""
  pidfile: "/tmp/pid"
  xfrdfile: "/tmp/xfrd"
  xfrdir: "/tmp"
  zonelistfile: "/tmp/zones"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "example.org"
  zonefile: "zone"
"""


def nginx_vm(accel: str, memory: str = MEMORY) -> LinuxVm:
    """nginx with the data of images/web; says when it listens."""
    data = WEB / "data"
    files = {f"site/{path.relative_to(data)}": path.read_bytes() for path in data.rglob("*") if path.is_file()}
    text = (peers.FOLDER / "nginx.conf").read_text()
    conf = peers.filled(text, {"dir": "/tmp", "port": "80", "data": "/site"}).encode()
    root = program("nginx", "-e stderr -c /app/nginx.conf", {**files, "app/nginx.conf": conf}, port=80)
    return LinuxVm(None, (80,), {}, accel=accel, root=root, memory=memory)


def linux_starts(accel: str) -> bool:
    """Not under each host's KVM."""
    try:
        with nginx_vm(accel) as vm:
            vm.wait_for("serving on port 80")
    except VmError as exc:
        say(f"no Linux microVM with {accel}: {exc.evidence or exc.message}")
        return False
    return True


@dataclass(frozen=True)
class Appliance:
    """An image, what is said to its port and how the answer begins; and its counterpart's program."""

    name: str
    port: int
    said: bytes
    answer: bytes
    program: str = ""
    arguments: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    connections: int = 50

    def linux_vm(self, accel: str, memory: str = MEMORY) -> LinuxVm:
        if self.program == "nginx":
            return nginx_vm(accel, memory)
        root = program(self.program, self.arguments, self.files, port=self.port)
        return LinuxVm(None, (self.port,), {}, accel=accel, root=root, memory=memory)

    def ask(self, port: int) -> None:
        """Raises VmError, OSError."""
        with socket.create_connection(("127.0.0.1", port), timeout=_DEADLINE_S) as sock:
            sock.sendall(self.said)
            got = b""
            while len(got) < len(self.answer):
                more = sock.recv(len(self.answer) - len(got))
                if not more:
                    break
                got += more
            if got != self.answer:
                raise VmError(f"{self.name} answered {got!r}")


_GET = b"GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
_QUERY = b"\x12\x34\0\0\0\1\0\0\0\0\0\0\7example\3org\0\0\6\0\1"  # SOA
_CONNECT = b"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1b"


def appliances() -> list[Appliance]:
    """Those that the tree has."""
    zone = (_ZONES / "example.org.zone").read_bytes()
    mosquitto = b"listener 1883 0.0.0.0\nallow_anonymous true\nuser root\n"
    options = '--save "" --protected-mode no --bind 0.0.0.0 --dir /tmp'
    known = (
        Appliance("web", 80, _GET % b"/robots.txt", b"HTTP/1.1 200 OK", "nginx"),
        Appliance(
            "dns", 53, len(_QUERY).to_bytes(2, "big") + _QUERY, b"", "nsd", "-d -c /app/conf",
            {"app/conf": _NSD, "app/zone": zone},
        ),
        Appliance("redis", 6379, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n", "redis-server", options),
        Appliance("mqtt", 1883, _CONNECT, b"\x20\2\0\0", "mosquitto", "-c /app/conf", {"app/conf": mosquitto}),
        Appliance("iperf", 5201, b"b" * 36 + b"\0", b"\x09", "iperf3", "-s", connections=1),
        Appliance("function", 8080, _GET % b"/", b"HTTP/1.1 200 OK"),
    )  # fmt: skip
    return [appliance for appliance in known if (ROOT / "images" / appliance.name).is_dir()]


def _boot_ours(appliance: Appliance, accel: str) -> Report:
    elf = build(ROOT / "images" / appliance.name)
    with floe_vm(elf, accel=accel, ports=[appliance.port], memory="64M", switches=(SWITCH,)) as vm:
        stamps = watch_stamps(vm)
        expect(vm, "serving", _DEADLINE_S)
        appliance.ask(vm.ports[appliance.port])
        first_byte = (time.monotonic() - vm.started_at) * 1000
        if stamps.times is None or stamps.times.kernel_entry is None or stamps.times.first_python_line is None:
            raise VmError("the guest printed no stamps", evidence=vm.console_text[-1000:])
        entry, python = stamps.times.kernel_entry, stamps.times.first_python_line
        return {"kernel_entry": entry, "first_python_line": python, "first_byte": first_byte}


def _boot_theirs(appliance: Appliance, accel: str) -> Report:
    with appliance.linux_vm(accel) as vm:
        vm.wait_for(f"serving on port {appliance.port}")
        appliance.ask(vm.ports[appliance.port])
        return {"first_byte": (time.monotonic() - vm.started_at) * 1000}


def _works_ours(appliance: Appliance, kib: int) -> bool:
    try:
        elf = build(ROOT / "images" / appliance.name)
        with floe_vm(elf, accel="tcg", ports=[appliance.port], memory=f"{kib}K") as vm:
            expect(vm, "serving", _DEADLINE_S)
            for _ in range(appliance.connections):
                appliance.ask(vm.ports[appliance.port])
            return vm.outcome is None
    except (FloeError, OSError):
        return False


def _works_theirs(appliance: Appliance, mib: int) -> bool:
    try:
        with appliance.linux_vm("tcg", f"{mib}M") as vm:
            vm.wait_for(f"serving on port {appliance.port}")
            for _ in range(appliance.connections):
                appliance.ask(vm.ports[appliance.port])
            return True
    except (FloeError, OSError):
        return False


def _least(name: str, sizes: tuple[int, ...], works: Callable[[int], bool]) -> int | None:
    """By halves: what works works with more, too."""
    say(f"appliances: least RAM of {name}")
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        if works(sizes[middle]):
            high = middle
        else:
            low = middle + 1
    return sizes[low] if low < len(sizes) else None


def _measure(appliance: Appliance, options: Options, linux_accels: list[str]) -> Report:
    report: Report = {"elf": build(ROOT / "images" / appliance.name).stat().st_size}
    report["least_kib"] = _least(appliance.name, _OURS_KIB, partial(_works_ours, appliance))
    if appliance.program:
        root = appliance.linux_vm("tcg").root
        assert root is not None
        report[appliance.program] = {
            "kernel_and_initramfs": kernel()[0].stat().st_size + root.stat().st_size,
            "least_mib": _least(appliance.program, _THEIRS_MIB, partial(_works_theirs, appliance)),
        }
    for accel in options.accels:
        systems: dict[str, Callable[[], Any]] = {appliance.name: partial(_boot_ours, appliance, accel)}
        if appliance.program and accel in linux_accels:
            systems[appliance.program] = partial(_boot_theirs, appliance, accel)
        runs = alternate(options.rounds, systems)
        report[f"boot {accel}"] = {
            name: {stamp: spread([run[stamp] for run in values], 1) for stamp in values[0]}
            for name, values in runs.items()
        }
    return report


def bench(options: Options) -> Report:
    """By appliance: bytes, least RAM, and boot; the counterpart's under its name."""
    linux_accels = [accel for accel in options.accels if linux_starts(accel)]
    return {appliance.name: _measure(appliance, options, linux_accels) for appliance in appliances()}
