# SPDX-License-Identifier: MIT
"""fork() of a VM beside the cold boot of the same image: to the first line, to the first byte served, how long the
parent stands still, ten children at once, a hundred in a row, and the host's memory a child; snapshots and a pool of VMs
that wait. Milliseconds.

Beside it processes of Linux: the start of the same MicroPython, and fork() in it and in CPython."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from floe.bench import unixport
from floe.errors import VmError
from floe.family.member import Machine
from floe.hypervisor import registry
from floe.snapshot.file import Snapshot, write
from floe.snapshot.material import Material
from floe.spec.vmspec import VmSpec
from floe.vm.child import Child
from floe.vm.pool import Pool
from floe.vm.restored import Restored, spec_of
from floe.vm.vm import Vm
from tests.bench.common import GUESTS, Options, Report, alternate, build, expect, floe_vm, median, say, spread

_MEMORY = "16M"
_MEMORY_KIB = 16 << 10
_DEADLINE_S = 60.0
_AT_ONCE, _QUICK_AT_ONCE = 10, 3
_IN_A_ROW, _QUICK_IN_A_ROW = 100, 5
_LINUX = """
import sys
import {module} as os
for _ in range(20):
    print("forking")
    sys.stdout.flush()
    if os.fork() == 0:
        print("child")
        sys.stdout.flush()
        sys.exit(0)
    os.wait()
"""


class _Forks:
    """A VM that forks, and when what was heard of it and of its children. Seconds."""

    def __init__(self, vm: Vm) -> None:
        assert vm.family is not None
        self.vm = vm
        self.lines: list[tuple[str, float]] = []  # of the first VM
        self.firsts: list[float] = []  # first line of each child
        self.children: list[Child] = []
        self.ends = 0
        self.stood: list[float] = []  # how long the first VM was stopped
        self._tell = vm.family.on_child
        self._copy = vm.send_copy
        vm.console.on_data = self._parent_said
        vm.family.on_child = self._born
        vm.family.on_end = self._ended
        vm.send_copy = self._stand  # type: ignore[method-assign]  # to time it

    def _parent_said(self, data: bytes) -> None:
        now = time.monotonic()
        self.lines += [(line, now) for line in data.decode().split() if line in ("forking", "parent", "ended")]

    def _born(self, name: str, machine: Machine) -> None:
        assert isinstance(machine, Child)
        self.children.append(machine)
        self._tell(name, machine)
        pass_on = machine.console.on_data

        def said(data: bytes) -> None:
            if not heard:
                heard.append(True)
                self.firsts.append(time.monotonic())
            pass_on(data)

        heard: list[bool] = []
        machine.console.on_data = said

    def _ended(self, name: str, status: int) -> None:
        self.ends += 1

    async def _stand(self, sock: socket.socket, meanwhile: Callable[[], Awaitable[None]]) -> None:
        started = time.monotonic()
        await self._copy(sock, meanwhile)
        self.stood.append(time.monotonic() - started)

    def times(self, line: str) -> list[float]:
        return [when for text, when in self.lines if text == line]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not condition() and time.monotonic() < deadline:
            self.vm.pump(condition, 0.05)  # the VM's own events alone make it look again
        if not condition():
            raise VmError(f"{what} did not come", evidence=self.vm.console_text[-2000:])


def _first_byte(port: int) -> float:
    """When it came."""
    with socket.create_connection(("127.0.0.1", port), timeout=_DEADLINE_S) as sock:
        if sock.recv(1) != b"H":
            raise VmError("the guest served nothing")
        return time.monotonic()


@contextmanager
def _booted(elf: Path, accel: str, children: int) -> Iterator[_Forks]:
    with floe_vm(elf, accel=accel, memory=_MEMORY, ports=[80], children=children) as vm:
        yield _Forks(vm)


def _once(forks: _Forks) -> Report:
    """One fork, whose child is ended again."""
    before = len(forks.firsts), len(forks.times("parent")), len(forks.times("ended"))
    forks.vm.send(b"one\n")
    forks.until(lambda: len(forks.firsts) > before[0] and len(forks.times("parent")) > before[1], "a child")
    start = forks.times("forking")[-1]
    report = {
        "first_line": (forks.firsts[-1] - start) * 1000,
        "call": (forks.times("parent")[-1] - start) * 1000,
        "stood": forks.stood[-1] * 1000,
        "first_byte": (_first_byte(forks.children[-1].ports[80]) - start) * 1000,
    }
    forks.vm.send(b"\n")
    forks.until(lambda: len(forks.times("ended")) > before[2], "the end of the child")
    return report


def _boot_and_fork(elf: Path, accel: str) -> Report:
    """The cold boot, the VM's first fork, and one for which a hypervisor waits."""
    with _booted(elf, accel, 2) as forks:
        vm = forks.vm
        forks.until(lambda: "serving" in vm.console.text, "serving")
        line = time.monotonic()
        byte = _first_byte(vm.ports[80])
        cold = {"first_line": (line - vm.started_at) * 1000, "first_byte": (byte - vm.started_at) * 1000}
        first = _once(forks)
        family = vm.family
        assert family is not None
        forks.until(lambda: family.ready, "a standby")
        return {"boot": cold, "fork": first, "standby": _once(forks)}


def _at_once(elf: Path, accel: str, count: int) -> Report:
    """From the first fork() to the last child's first line, and what the host has of each child then."""
    with _booted(elf, accel, count) as forks:
        forks.until(lambda: "serving" in forks.vm.console.text, "serving")
        forks.vm.send(b"many %d\n" % count)
        forks.until(lambda: len(forks.firsts) == len(forks.times("parent")) == count, f"{count} children")
        sizes = [_memory(child.pid) for child in forks.children]
        return {
            "last_line": (max(forks.firsts) - forks.times("forking")[0]) * 1000,
            "guest_kib": [guest for guest, _ in sizes],
            "qemu_kib": [own for _, own in sizes],
        }


def _in_a_row(elf: Path, accel: str, count: int) -> Report:
    """fork(), the child's end and wait(), again and again: each from fork() to the first line and to the end."""
    with _booted(elf, accel, 2) as forks:
        forks.until(lambda: "serving" in forks.vm.console.text, "serving")
        forks.vm.send(b"row %d\n" % count)
        forks.until(lambda: len(forks.times("ended")) == count, f"the end of {count} children")
        starts, ends = forks.times("forking"), forks.times("ended")
        return {
            "first_line": spread([(line - start) * 1000 for line, start in zip(forks.firsts, starts, strict=True)], 1),
            "to_its_end": spread([(end - start) * 1000 for end, start in zip(ends, starts, strict=True)], 1),
        }


def _snapshots(elf: Path, accel: str, count: int) -> Report:
    """A snapshot's file, VMs that go on from it, and claims from a pool: from their beginnings to the first line and to
    the first byte served; what the host has of each VM that goes on from one state."""
    with (
        tempfile.TemporaryDirectory() as folder,
        floe_vm(elf, accel=accel, memory=_MEMORY, ports=[80], children=2) as vm,
    ):
        expect(vm, "serving")
        assert vm.family is not None
        captured = vm.loop.run_until_complete(vm.family.capture())
        path = Path(folder) / "x.snap"
        key = registry.create(vm.spec.hypervisor).state_key(vm.spec)
        size = write(path, captured, blobs=(), app="bench", key=key)
        captured.close()
        restores = [_go_on(path) for _ in range(count)]
        pool = vm.loop.run_until_complete(_claims(vm.spec, count))
    return {"file_kib": size >> 10, "restore": restores, **pool}


def _go_on(path: Path) -> float:
    """Milliseconds from a file to the first byte served."""
    began = time.monotonic()
    snapshot = Snapshot.open(path)
    with Restored(spec_of(snapshot, (), "bench"), snapshot.state, Material.of(snapshot)) as vm:
        vm.loop.run_until_complete(vm.up())
        byte = _first_byte(vm.ports[80])
    snapshot.close()
    return (byte - began) * 1000


async def _claims(spec: VmSpec, count: int) -> Report:
    pool = Pool(spec, count)
    await pool.start()
    while pool.ready < count:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    report: Report = {"claim_first_line": [], "claim_first_byte": []}
    claimed = []
    for _ in range(count):
        lined = asyncio.Event()
        began = time.monotonic()
        vm = await pool.claim()
        if not vm.console.text:
            vm.console.on_data = lambda data, lined=lined: lined.set()  # type: ignore[misc]  # a lambda's default
            await lined.wait()
        report["claim_first_line"].append((time.monotonic() - began) * 1000)
        report["claim_first_byte"].append((await asyncio.to_thread(_first_byte, vm.ports[80]) - began) * 1000)
        claimed.append(vm)
        while pool.ready < count:  # the next claim finds the machine at rest
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
    sizes = [_memory(vm.pid) for vm in claimed]
    for vm in claimed:
        vm.end_at_once()
        await vm.ended()
        vm.close()
    await pool.close()
    return report | {"guest_kib": [guest for guest, _ in sizes], "qemu_kib": [own for _, own in sizes]}


def _memory(pid: int) -> tuple[int, int]:
    """KiB of a QEMU's that are its own (PSS): its guest's memory, and all else."""
    guest = other = size = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, *rest = line.split()
        if key == "Size:":
            size = int(rest[0])
        elif key == "Pss:" and size == _MEMORY_KIB:
            guest += int(rest[0])
        elif key == "Pss:":
            other += int(rest[0])
    if not guest:
        raise VmError(f"no mapping of {_MEMORY_KIB} KiB in QEMU {pid}")
    return guest, other


def _arrivals(argv: list[str], count: int) -> tuple[float, list[tuple[str, float]]]:
    """When a process was started, and when each of `count` words came that it writes one by one."""
    started = time.monotonic()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        found: list[tuple[str, float]] = []
        while len(found) < count and (line := process.stdout.readline()):
            found.append((line.decode().strip(), time.monotonic()))
    if len(found) < count:
        raise VmError(f"{argv[0]} said too little")
    return started, found


def _linux(rounds: int) -> Report:
    unixport.build()
    boots = []
    for _ in range(rounds):
        started, [(_, line)] = _arrivals([str(unixport.BINARY), "-c", "print('serving')"], 1)
        boots.append((line - started) * 1000)
    return {
        "micropython_start_to_first_line": spread(boots, 1),
        "micropython_fork_to_first_line": _forks(str(unixport.BINARY), "linux_fork"),
        "cpython_fork_to_first_line": _forks(sys.executable, "os"),
    }


def _forks(program: str, module: str) -> Report:
    _, lines = _arrivals([program, "-c", _LINUX.format(module=module)], 40)
    starts = [when for text, when in lines if text == "forking"]
    firsts = [when for text, when in lines if text == "child"]
    return spread([(b - a) * 1000 for a, b in zip(starts, firsts, strict=True)], 2)


def bench(options: Options) -> Report:
    """By accelerator: medians, and ratios to the cold boot of the same round."""
    elf = build(GUESTS / "guest_fork.py")
    rounds = 2 if options.quick else 10
    count, row = (_QUICK_AT_ONCE, _QUICK_IN_A_ROW) if options.quick else (_AT_ONCE, _IN_A_ROW)
    report: Report = {"memory_mib": _MEMORY_KIB >> 10}
    for accel in options.accels:
        runs = alternate(
            rounds,
            {
                "boot, fork": partial(_boot_and_fork, elf, accel),
                f"{count} at once": partial(_at_once, elf, accel, count),
            },
        )
        pairs, crowds = runs["boot, fork"], runs[f"{count} at once"]
        report[accel] = {
            f"{kind}_{key}": spread([run[kind][key] for run in pairs], 1) for kind in pairs[0] for key in pairs[0][kind]
        }
        for kind in pairs[0]:
            if kind != "boot":
                for key in pairs[0][kind]:
                    against = key if key == "first_byte" else "first_line"
                    report[accel][f"ratio_{kind}_{key}"] = spread(
                        [run[kind][key] / run["boot"][against] for run in pairs], 2
                    )
        report[accel][f"last_line_of_{count}_at_once"] = spread([run["last_line"] for run in crowds], 1)
        for part in ("guest_kib", "qemu_kib"):
            report[accel][f"child_{part}"] = spread([size for run in crowds for size in run[part]], 0)
        say("  snapshots")
        kept = _snapshots(elf, accel, rounds)
        report[accel]["snapshot_file_kib"] = kept["file_kib"]
        report[accel]["restore_first_byte"] = spread(kept["restore"], 1)
        cold = {key: median([run["boot"][key] for run in pairs]) for key in ("first_line", "first_byte")}
        for key, boot in cold.items():
            report[accel][f"claim_{key}"] = spread(kept[f"claim_{key}"], 1)
            report[accel][f"ratio_claim_{key}"] = spread([ms / boot for ms in kept[f"claim_{key}"]], 3)
        for part in ("guest_kib", "qemu_kib"):
            report[accel][f"claimed_{part}"] = spread(kept[part], 0)
        say(f"  {row} in a row")
        report[accel][f"{row}_in_a_row"] = _in_a_row(elf, accel, row)
    report["linux"] = _linux(max(rounds, 10))
    return report
