# SPDX-License-Identifier: MIT
"""What orchestration waits for: with 10, 20, 40, ... VMs running, random ones are ended and started again, and the time
until they are reachable is taken; as many as fit into this machine."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from floe.bench import crowd, guests
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.guests import LABELS, WEB

_COUNTS = (10, 20, 40, 80, 160, 320)
_QUICK_COUNTS = (10, 20)
_AGAIN = 10  # that are ended and started again at each size
FIGURES = (
    Figure("reachable", "start to first byte, median", "ms"),
    Figure("slowest", "start to first byte, slowest", "ms"),
    Figure("ended", "VM ended, median", "ms"),
)


def prepare(options: Options) -> Experiment:
    """Raises what the builds do."""
    options.say("scale: building images/web")
    elf = guests.build(WEB)
    counts = _QUICK_COUNTS if options.quick else _COUNTS
    fitting, left_out = crowd.fitting(counts, options)
    if options.quick:
        left_out += (LeftOut(f"more than {counts[-1]} VMs", "--quick starts fewer"),)
    return Experiment(
        "scale",
        "Scale",
        f"While so many VMs of images/web run, {_AGAIN} random ones are ended and started again, one after the other: "
        "from the start of QEMU to the first byte, and from the request to end until QEMU is gone.",
        FIGURES,
        tuple(
            Contender(f"Floe, {LABELS[accel]}", partial(_again, elf, accel, fitting), limit_s=300)
            for accel in options.accels
        ),
        rounds=options.of(3, 1),
        seconds=50 if options.quick else 1200,
        left_out=left_out,
        axis="VMs that run",
    )


def _again(elf: Path, accel: str, counts: tuple[int, ...], turn: Turn) -> Iterator[Reading]:
    drawing = random.Random(turn.number)  # each contender ends the same ones
    with crowd.many(elf, accel) as running:
        for count in counts:
            running.start(count - len(running.vms), turn)
            started, ended = [], []
            for _ in range(_AGAIN):
                begun = time.monotonic()
                running.end(drawing.choice(running.vms))
                ended.append((time.monotonic() - begun) * 1000)
                started += running.start(1, turn)
            values = {"reachable": statistics.median(started), "slowest": max(started)}
            yield Reading(values | {"ended": statistics.median(ended)}, f"{count} VMs", count)
