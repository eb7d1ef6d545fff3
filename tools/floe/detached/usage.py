# SPDX-License-Identifier: MIT
"""What detached VMs use: processor and memory of the host, and what of the guest can be read from its memory
(image/vitals.py). Nothing is asked of a guest."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from floe.detached import control
from floe.detached.control import Status
from floe.errors import FloeError, VmError
from floe.hypervisor import registry
from floe.hypervisor.base import GuestMemory, HostUse
from floe.image import vitals
from floe.image.vitals import Vitals
from floe.store import stackfolder, vmfolder
from floe.store.vmfolder import Folder, Process

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_RATES = {"rx": "rx_bytes", "tx": "tx_bytes", "rx_frames": "rx_frames", "tx_frames": "tx_frames"}
_ANSWER_S = 2.0  # how long a sample waits for keepers, all together; one that was stopped never answers

_HOST_S = 15.0  # a dom0 under emulation, on a busy machine, takes two seconds for its list


@dataclass(frozen=True)
class Usage:
    """One VM now. cpu: of one processor, since the sample before; rates: a second, in that time. None: not known."""

    status: Status
    ready: bool | None = None  # of a VM of a stack
    cpu: float | None = None
    host_bytes: int | None = None  # its share of memory that processes have together counted once
    guest: Vitals | None = None
    rx_rate: float | None = None  # bytes
    tx_rate: float | None = None
    rx_frames_rate: float | None = None
    tx_frames_rate: float | None = None
    stack: str | None = None  # that it is of

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        guest = self.guest
        return {
            "name": self.status.spec.name,
            "parent": self.status.parent,
            "stack": self.stack,
            "state": self.status.state,
            "pid": self.status.pid,
            "ready": self.ready,
            "cpu_percent": _rounded(self.cpu, 100),
            "host_bytes": self.host_bytes,
            "memory": self.status.spec.memory,
            "heap": guest.heap if guest else None,
            "heap_used": guest.heap_used if guest else None,
            "c_heap": guest.c_heap if guest else None,
            "ram": guest.ram if guest else None,
            "ram_free": guest.ram_free if guest else None,
            "rx_frames": guest.rx_frames if guest else None,
            "rx_bytes": guest.rx_bytes if guest else None,
            "tx_frames": guest.tx_frames if guest else None,
            "tx_bytes": guest.tx_bytes if guest else None,
            "rx_bytes_per_s": _rounded(self.rx_rate),
            "tx_bytes_per_s": _rounded(self.tx_rate),
            "rx_frames_per_s": _rounded(self.rx_frames_rate),
            "tx_frames_per_s": _rounded(self.tx_frames_rate),
            "connections": guest.connections if guest else None,
            "resets": self.status.resets,
            "restarts": self.status.restarts,
            "uptime": round(self.status.uptime, 3),
        }


def _rounded(value: float | None, factor: int = 1) -> float | None:
    return None if value is None else round(value * factor, 1)


@dataclass(frozen=True)
class _Moment:
    """What rates are made of."""

    at: float
    cpu_s: float | None
    guest: Vitals | None


class Guest:
    """The way into the memory of one process's guest. Where this process may not go it, the VM's keeper may, from whom
    that process descends (Yama's ptrace_scope)."""

    def __init__(self, folder: Folder, process: Process) -> None:
        self.process = process
        self.is_vm = False
        self.is_closed_to_us = False
        self._spec = folder.spec
        self._tables = vitals.tables(folder.image)
        self._code = vitals.code(folder.image)
        self._memory: GuestMemory | None = None
        with contextlib.suppress(FloeError):  # a hypervisor of another floe's
            self._driver = registry.create(self._spec.hypervisor)
            self.is_vm = self._driver.is_the_vm
        self._open()

    def _open(self) -> None:
        spec = self._spec
        if not self._tables or self._code is None or not self.is_vm:
            return
        try:
            self._memory = self._driver.memory(self.process.pid, spec.memory, spec.machine, self._code)
        except PermissionError:
            self.is_closed_to_us = True
        except OSError:
            pass  # its image is not loaded yet

    def vitals(self) -> Vitals | None:
        """What it uses just now; None where that is not known."""
        if self._memory is None:
            self._open()
        try:
            return vitals.read(self._tables, self._memory.read) if self._memory is not None else None
        except (OSError, struct.error):
            return None

    def close(self) -> None:
        """Read no more."""
        if self._memory is not None:
            self._memory.close()


def guest_of(folder: Folder, process: Process | None, before: Guest | None) -> Guest | None:
    """The way into this process, which may be the one before."""
    if before is not None and before.process == process:
        return before
    if before is not None:
        before.close()
    return Guest(folder, process) if process is not None else None


class _Watched:
    """One process of a hypervisor, and the sample before."""

    def __init__(self, folder: Folder, process: Process) -> None:
        self.process = process
        self._folder = folder
        self._child: str | None = None
        self._inside = Guest(folder, process)
        self._last: _Moment | None = None

    def sample(self, status: Status, use: HostUse | None, *, ready: bool | None, stack: str | None) -> Usage:
        """use: of a VM that is not its process."""
        self._child = status.spec.name if status.parent is not None else None
        at, cpu_s = (use.at, use.cpu_s) if use is not None else (time.monotonic(), self._cpu_s())
        before, now = self._last, _Moment(at, cpu_s, self._guest())
        self._last = now
        seconds = now.at - before.at if before else 0.0
        cpu = None
        if before is not None and seconds > 0 and now.cpu_s is not None and before.cpu_s is not None:
            cpu = max(0.0, (now.cpu_s - before.cpu_s) / seconds)
        last = before.guest if before is not None else None
        rates = {f"{key}_rate": _rate(last, now.guest, name, seconds) for key, name in _RATES.items()}
        host_bytes = use.bytes if use is not None else self._host_bytes()
        return Usage(status, ready, cpu, host_bytes, now.guest, **rates, stack=stack)

    def _guest(self) -> Vitals | None:
        if not self._inside.is_closed_to_us:
            return self._inside.vitals()
        with contextlib.suppress(VmError, msgspec.ValidationError):
            answer = control.ask(self._folder, {"do": "vitals", "child": self._child}, timeout_s=_ANSWER_S)
            if answer is not None and (told := answer.get("vitals")):  # a keeper of an older floe's knows nothing of it
                return msgspec.convert(told, Vitals)
        return None

    def _cpu_s(self) -> float | None:
        fields = _read(f"/proc/{self.process.pid}/stat").rpartition(")")[2].split() if self._inside.is_vm else []
        return (int(fields[11]) + int(fields[12])) / _TICKS if len(fields) > 12 else None  # proc(5): utime, stime

    def _host_bytes(self) -> int | None:
        if not self._inside.is_vm:
            return None
        for line in _read(f"/proc/{self.process.pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
        pages = _read(f"/proc/{self.process.pid}/statm").split()
        return int(pages[1]) * _PAGE if pages else None

    def close(self) -> None:
        self._inside.close()


def _rate(before: Vitals | None, now: Vitals | None, key: str, seconds: float) -> float | None:
    first, last = getattr(before, key, None), getattr(now, key, None)
    return None if first is None or last is None or seconds <= 0 else max(0.0, (last - first) / seconds)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class Watch:
    """Samples of all VMs that run, or of those with these names; a stack's name stands for its VMs."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = names
        self._watched: dict[str, _Watched] = {}
        self._asking: dict[str, threading.Thread] = {}
        self._answers: dict[str, Status] = {}
        self._hosts: threading.Thread | None = None
        self._uses: dict[str, HostUse] = {}

    def sample(self) -> list[Usage]:
        """By name. The first one of a VM has no rates; of one whose keeper does not answer in time nothing is known."""
        placed = _placed()
        found = []
        folders = [f for f in vmfolder.everything() if self._wants(f.name)]
        uses = self._host_uses(folders)
        for folder, status in self._statuses(folders):
            if status.alive:
                place = placed.get(folder.name, (None, None))
                found += [self._usage(folder, member, uses, *place) for _, member in control.tree(status)]
        for name in set(self._watched) - {usage.status.spec.name for usage in found}:
            self._watched.pop(name).close()
        return found

    def _statuses(self, folders: list[Folder]) -> Iterator[tuple[Folder, Status]]:
        """Of all at once, each in a thread that nobody need wait for."""

        def ask(folder: Folder) -> None:
            with contextlib.suppress(FloeError):  # `floe ps` tells of it
                self._answers[folder.name] = control.status(folder)

        for folder in folders:
            if folder.name not in self._asking or not self._asking[folder.name].is_alive():
                self._asking[folder.name] = threading.Thread(target=ask, args=(folder,), daemon=True)
                self._asking[folder.name].start()
        deadline = time.monotonic() + _ANSWER_S
        for folder in folders:
            self._asking[folder.name].join(max(0.0, deadline - time.monotonic()))
            status = self._answers.pop(folder.name, None)
            if status is not None:
                yield folder, status
            elif self._asking[folder.name].is_alive():
                with contextlib.suppress(FloeError):
                    yield folder, Status(folder, folder.spec, "no answer")

    def _host_uses(self, folders: list[Folder]) -> dict[str, HostUse]:
        """Of VMs that are not their processes, by name: in a thread of its own, as _statuses(). What comes too late for
        a sample is for the next: it says of when it is."""
        apart: dict[str, dict[str, str]] = {}
        for folder in folders:
            with contextlib.suppress(FloeError):
                hypervisor = folder.spec.hypervisor
                if not registry.create(hypervisor).is_the_vm and (plan := folder.plan) is not None:
                    apart.setdefault(hypervisor, {})[folder.name] = plan.uuid
        if not apart:
            return {}

        def ask() -> None:
            found: dict[str, HostUse] = {}
            for hypervisor, uuids in apart.items():
                with contextlib.suppress(FloeError, OSError):
                    found |= registry.create(hypervisor).host_uses(uuids, _HOST_S)
            self._uses = found

        if self._hosts is None or not self._hosts.is_alive():
            self._hosts = threading.Thread(target=ask, daemon=True)
            self._hosts.start()
        self._hosts.join(_ANSWER_S)
        return self._uses

    def _wants(self, name: str) -> bool:
        return not self._names or any(name == wanted or name.startswith(f"{wanted}.") for wanted in self._names)

    def _usage(
        self, folder: Folder, status: Status, uses: dict[str, HostUse], ready: bool | None, stack: str | None
    ) -> Usage:
        ready = None if ready is None else ready and status.state == "running"
        name = status.spec.name
        process = folder.vm if status.parent is None else Process.of(status.pid or 0)
        watched = self._watched.get(name)
        if watched is not None and watched.process != process:
            self._watched.pop(name).close()  # it was started again
            watched = None
        if process is None or status.pid is None:
            return Usage(status, ready, stack=stack)
        if watched is None:
            watched = self._watched[name] = _Watched(folder, process)
        return watched.sample(status, uses.get(name), ready=ready, stack=stack)

    def close(self) -> None:
        for watched in self._watched.values():
            watched.close()
        self._watched = {}


def _placed() -> dict[str, tuple[bool, str]]:
    """Whether VMs of stacks are ready, and of which stack they are, by name."""
    stacks = [stack for folder in stackfolder.everything() if (stack := folder.read()) is not None]
    return {name: (placed.ready, stack.name) for stack in stacks for name, placed in stack.vms.items()}


def known(name: str) -> bool:
    """Whether there is a VM or a stack of this name."""
    return any(folder.name == name or folder.name.startswith(f"{name}.") for folder in vmfolder.everything())
