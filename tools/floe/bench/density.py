# SPDX-License-Identifier: MIT
"""What idle VMs take of this machine: memory and processor time of each, of 1, 10, 50 and 100 beside each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from floe.bench import crowd, guests
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.guests import LABELS, WEB
from floe.errors import VmError
from floe.vm.vm import Vm

_COUNTS = (1, 10, 50, 100)
_QUICK_COUNTS = (1, 10)
_IDLE_S = 5.0
FIGURES = (
    Figure("memory", "host memory of a VM", "MiB"),
    Figure("own", "of it shared with nobody", "MiB"),
    Figure("cpu", "of one processor, by an idle VM", "%"),
)


def prepare(options: Options) -> Experiment:
    """Raises what the builds do."""
    options.say("density: building images/web")
    elf = guests.build(WEB)
    counts = _QUICK_COUNTS if options.quick else _COUNTS
    fitting, left_out = crowd.fitting(counts, options)
    if options.quick:
        left_out += tuple(LeftOut(f"{count} VMs", "--quick starts fewer") for count in _COUNTS if count not in counts)
    return Experiment(
        "density",
        "Density",
        f"VMs of images/web with {crowd.MEMORY} that have served once and are idle, for {_IDLE_S:.0f} s. "
        "Memory: QEMU's proportional share (PSS), so that what VMs share counts once.",
        FIGURES,
        tuple(
            Contender(f"Floe, {LABELS[accel]}", partial(_idle, elf, accel, fitting), limit_s=180)
            for accel in options.accels
        ),
        rounds=options.of(3, 1),
        seconds=50 if options.quick else 900,
        left_out=left_out,
        axis="VMs that run",
    )


def _idle(elf: Path, accel: str, counts: tuple[int, ...], turn: Turn) -> Iterator[Reading]:
    with crowd.many(elf, accel) as running:
        for count in counts:
            running.start(count - len(running.vms), turn)
            running.rest(1.0)  # what a start leaves to do
            before = [_processor_s(vm) for vm in running.vms]
            running.rest(_IDLE_S)
            taken = sum(_processor_s(vm) for vm in running.vms) - sum(before)
            memory = [_memory(vm) for vm in running.vms]
            values = {
                "memory": sum(share for share, _ in memory) / count / 1024,
                "own": sum(own for _, own in memory) / count / 1024,
                "cpu": 100 * taken / _IDLE_S / count,
            }
            yield Reading(values, f"{count} VM" + ("s" if count > 1 else ""), count)


def _processor_s(vm: Vm) -> float:
    """Of all threads, by the scheduler's clock: a tick of proc(5)'s stat is 0.2 % of five seconds."""
    total = int(_of(vm, "schedstat").split()[0])  # the first thread's
    for path in Path(f"/proc/{vm.pid}/task").glob("[0-9]*/schedstat"):
        if path.parent.name != str(vm.pid):
            with contextlib.suppress(OSError):  # it has ended, as QEMU's helpers do
                total += int(path.read_text().split()[0])
    return total / 1e9


def _memory(vm: Vm) -> tuple[int, int]:
    """KiB of its share, and of that what nobody else has."""
    share = own = 0
    for line in _of(vm, "smaps_rollup").splitlines():
        key, _, value = line.partition(":")
        if key == "Pss":
            share = int(value.split()[0])
        elif key in ("Private_Clean", "Private_Dirty"):
            own += int(value.split()[0])
    return share, own


def _of(vm: Vm, name: str) -> str:
    try:
        return Path(f"/proc/{vm.pid}/{name}").read_text()
    except OSError as e:
        raise VmError(f"a VM's /proc/PID/{name} cannot be read: {e.strerror}") from None
