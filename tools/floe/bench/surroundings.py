# SPDX-License-Identifier: MIT
"""What figures depend on: the machine and its versions, and what else ran while something was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from floe import __version__
from floe.build import port_archive
from floe.errors import FloeError, VmError
from floe.qemu import accel, commandline

_PROC = Path("/proc")
_TOOL_TIMEOUT_S = 20
_TICKS = os.sysconf("SC_CLK_TCK")
# Of /proc/stat's line `cpu`, proc(5): user nice system idle iowait irq softirq steal; guest time is in user and nice.
_IDLE, _IOWAIT, _STEAL = 3, 4, 7


@dataclass(frozen=True)
class Meanwhile:
    """Over a stretch of time, of all processors together, from 0 to 1: what others took, what the hypervisor of this
    machine took (steal); and the load average at its end."""

    seconds: float
    others: float
    steal: float
    load: float


class Watch:
    """From its making on. What we take is this process's and its descendants', those that have ended included."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._ticks, self._own = _processors(), own_seconds()

    def look(self) -> Meanwhile:
        """Since the watch was made."""
        ticks = [now - then for now, then in zip(_processors(), self._ticks, strict=True)]
        passed = sum(ticks) / _TICKS or 1e-9  # of all processors, idle included
        busy = passed - (ticks[_IDLE] + ticks[_IOWAIT] + ticks[_STEAL]) / _TICKS
        others = max(0.0, busy - (own_seconds() - self._own)) / passed
        seconds = time.monotonic() - self._start
        return Meanwhile(
            round(seconds, 3), round(min(1.0, others), 4), round(ticks[_STEAL] / _TICKS / passed, 4), load()
        )


def load() -> float:
    """The load average of a minute."""
    return round(os.getloadavg()[0], 2)


def _processors() -> list[int]:
    """Ticks since the start of the machine, by what they went to."""
    return [int(word) for word in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]


def own_seconds() -> float:
    """Processor time of this process, of its descendants that run, and of those that their parents have waited for."""
    times = os.times()
    total = times.user + times.system + times.children_user + times.children_system
    for pid in descendants():
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        total += sum(map(int, fields[11:15])) / _TICKS  # utime, stime, cutime, cstime
    return total


def descendants() -> list[int]:
    """Processes that this one has started, and those that they have."""
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        for path in _PROC.glob(f"{pending.pop()}/task/*/children"):
            try:
                children = [int(word) for word in path.read_text().split()]
            except OSError:
                continue
            found += children
            pending += children
    return found


def kvm_kind() -> str:
    """What KVM is here: "none: WHY", "on hardware (vmx)", or one without that, which keeps page tables instead."""
    try:
        accel.check_kvm()
    except VmError as e:
        return f"none: {e.message}"
    seen = re.search(r"\((vmx|svm)", accel.cpu_seen("kvm"))
    return f"on hardware ({seen[1]})" if seen else "without hardware virtualisation: the host keeps the page tables"


def describe() -> dict[str, str | int]:
    """The machine and the versions, for the report."""
    cpu = re.search(r"^model name\s*: (.*)$", (_PROC / "cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"MemTotal:\s+(\d+)", (_PROC / "meminfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_mib": int(memory[1]) // 1024 if memory else 0,
        "kernel": f"{platform.system()} {platform.release()}",
        "distribution": _distribution(),
        "kvm": kvm_kind(),
        "qemu": _qemu(),
        "floe": __version__,
        "commit": _commit(),
        "micropython": next((pin.version for pin in port_archive.pins() if pin.name == "micropython"), ""),
        "gcc": _said("gcc", "-dumpfullversion") or "none",
        "python": platform.python_version(),
        "load_before": str(load()),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return "unknown"


def _qemu() -> str:
    try:
        return _said(commandline.find_qemu(), "--version").partition("\n")[0]
    except FloeError as e:
        return f"none: {e.message}"


def _commit() -> str:
    """Of the checkout; an installed floe has its version alone."""
    if port_archive.INSTALLED:
        return ""
    return _said("git", "-C", str(port_archive.ROOT), "describe", "--always", "--dirty")


def _said(*argv: str) -> str:
    """What a program prints; nothing where it is not there or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
