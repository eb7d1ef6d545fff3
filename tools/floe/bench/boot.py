# SPDX-License-Identifier: MIT
"""From the start of the VMM to kernel entry, the first line of Python and the first byte that is served: one VM, and
ten that start at once. Beside it the first letter of a guest of ten bytes: what QEMU takes before any guest does."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from floe import hostmemory
from floe.bench import guests
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.guests import HTTP_PORT, LABELS, WEB
from floe.errors import TimedOut, VmError
from floe.spec.vmspec import VmSpec
from floe.stream.stamps import SWITCH
from floe.vm.vm import Vm

AT_ONCE = 10
FIGURES = (
    Figure("first_byte", "first byte served", "ms"),
    Figure("kernel_entry", "kernel entry", "ms"),
    Figure("first_python_line", "first line of Python", "ms"),
    Figure("all_served", "all have served", "ms"),
)


def prepare(options: Options) -> Experiment:
    """Raises what the builds do."""
    options.say("boot: building images/web")
    elf = guests.build(WEB)
    contenders = []
    for accel in options.accels:
        for machine in ("microvm",) if options.quick else ("microvm", "q35"):
            label = f"{LABELS[accel]}, {machine}"
            shown = guests.spec(elf, accel=accel, machine=machine, ports=[HTTP_PORT])
            bare = Contender(f"bare guest, {label}", partial(_bare, accel, machine), limit_s=30)
            ours = partial(_web, elf, accel, machine)
            command = guests.command_of(shown, WEB)
            contenders += [Contender(f"Floe, {label}", ours, against=bare.name, command=command, limit_s=120), bare]
    left_out = guests.accels_left_out(options.accels, "Floe, {}")
    if options.quick:
        left_out += (LeftOut("machine q35", "--quick measures one machine"),)
    return Experiment(
        "boot",
        "Boot",
        "Milliseconds from the start of QEMU: one VM alone, and ten that start at once (of each figure the median of "
        "the ten, and when the last one has served).",
        FIGURES,
        tuple(contenders),
        rounds=options.of(9, 6),
        seconds=40 if options.quick else 300,
        left_out=left_out,
        note="The bare guest writes one letter to a serial port, its first byte, and has nothing else: the ratio says "
        "what a kernel, Python and a web server add to what QEMU itself takes.",
    )


def _bare(accel: str, machine: str, turn: Turn) -> Iterator[Reading]:
    """To its letter, on the 16550."""
    with tempfile.TemporaryDirectory(prefix="floe-bench-") as scratch:
        spec = guests.spec(guests.bare_elf(Path(scratch) / "bare.elf"), accel=accel, machine=machine)
        with guests.booted(spec) as vm:
            guests.expect(vm, "A", turn.left())
            yield Reading({"first_byte": (time.monotonic() - vm.started_at) * 1000}, "alone")


def _web(elf: Path, accel: str, machine: str, turn: Turn) -> Iterator[Reading]:
    specs = [
        guests.spec(elf, accel=accel, machine=machine, ports=[HTTP_PORT], switches=(SWITCH,)) for _ in range(AT_ONCE)
    ]
    yield Reading(_medians(boot_all(specs[:1], turn)), "alone")
    if not hostmemory.has_room(sum(spec.memory for spec in specs)):
        raise VmError(f"this machine has no memory for {AT_ONCE} VMs at once")
    times = boot_all(specs, turn)
    yield Reading(_medians(times) | {"all_served": max(one["first_byte"] for one in times)}, f"{AT_ONCE} at once")


def _medians(times: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in times) for key in times[0]}


def boot_all(specs: list[VmSpec], turn: Turn) -> list[dict[str, float]]:
    """Start web VMs together; the stamps of each by the key of their figure. Raises VmError, TimedOut."""
    with guests.event_loop() as loop, contextlib.ExitStack() as running:
        return loop.run_until_complete(_started(specs, running, loop, turn.left()))


async def _started(
    specs: list[VmSpec], running: contextlib.ExitStack, loop: asyncio.AbstractEventLoop, deadline_s: float
) -> list[dict[str, float]]:
    """The stack is left outside of the loop, which it needs."""
    waiting: list[asyncio.Task[dict[str, float]]] = []
    try:
        async with asyncio.timeout(deadline_s):
            for spec in specs:
                waiting.append(loop.create_task(_stamps(running.enter_context(guests.booted(spec, loop=loop)))))
                await asyncio.wait(waiting, timeout=0)  # those before it are read meanwhile: what they say has its time
            return list(await asyncio.gather(*waiting))
    except TimeoutError:
        raise TimedOut(f"a web VM did not serve within {deadline_s:.0f} s") from None


async def _stamps(vm: Vm) -> dict[str, float]:
    stamps = guests.watch_stamps(vm)
    first_byte = await guests.served(vm)
    times = stamps.times
    if times is None or times.kernel_entry is None or times.first_python_line is None:
        raise VmError("the guest printed no stamps", evidence=vm.console_text[-1000:])
    return {
        "kernel_entry": times.kernel_entry,
        "first_python_line": times.first_python_line,
        "first_byte": first_byte,
    }
