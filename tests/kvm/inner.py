# SPDX-License-Identifier: MIT
"""Guests in the KVM lab, one after the other."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from floe.errors import VmError
from floe.kvmlab import machine, nested
from floe.kvmlab.lab import LAB
from floe.spec.vmspec import VmSpec

Change = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Ended:
    """status: the inner QEMU's. text: what came on the console, and behind it what came on the 16550."""

    status: int
    text: str


def run(
    elf: Path, *args: str, change: Change = lambda argv: argv, switches: tuple[str, ...] = (), deadline_s: float = 45
) -> Ended:
    """Run a guest to its end. change: of the inner QEMU's command line. A guest that does not end is tried once more in a
    lab that was started anew: it may be QEMU's emulation of SVM that halted. Raises VmError."""
    spec = VmSpec(elf, args=args, switches=switches, cards=())
    try:
        return _run(spec, change, deadline_s)
    except VmError as e:
        print(f"once more, in another lab: {e.render()}")
        machine.down(print)
        machine.up(print)
        return _run(spec, change, deadline_s)


def _run(spec: VmSpec, change: Change, deadline_s: float) -> Ended:
    with nested.settled(spec) as settled:
        script = shlex.quote(nested.script(change(nested.command(settled))))
        said = LAB.call(f"sh -c {script}; s=$?; echo; echo == $s", deadline_s=deadline_s)
    match = re.fullmatch(r"(.*)\n== (\d+)\n", said, re.DOTALL)
    assert match is not None, said
    return Ended(int(match[2]), match[1])
