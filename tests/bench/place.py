# SPDX-License-Identifier: MIT
"""What the random place costs that each boot draws (port/boot/place.c): `images/hello` with it and with
`floe run --no-aslr`, which take turns. Microseconds since kernel entry, by the guest's own clock: to the machine's
being ready, which has all that differs, and to the first Python line. With `-icount shift=0` in FLOE_QEMU they are
thousands of instructions."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

from floe.errors import VmError
from floe.stream.stamps import SWITCH
from tests.bench.common import ROOT, Options, Report, alternate, build, expect, floe_vm, spread

_AS_LINKED = "floe.aslr=0"
_KEYS = ("machine", "python")


def _stamps(elf: Path, accel: str, *switches: str) -> dict[str, int]:
    with floe_vm(elf, accel=accel, memory="8M", switches=(SWITCH, *switches)) as vm:
        expect(vm, "hello, world")
        found = re.search(r"floe: stamps (\{.*\})", vm.console_text)
        if found is None:
            raise VmError("the guest printed no stamps", evidence=vm.console_text[-1000:])
        stamps: dict[str, int] = json.loads(found[1])
        return stamps


def bench(options: Options) -> Report:
    """By accelerator and stamp: both, and the difference round by round."""
    elf = build(ROOT / "images" / "hello")
    report: Report = {}
    for accel in options.accels:
        measure = partial(_stamps, elf, accel)
        runs = alternate(3 if options.quick else 101, {"random": measure, "as_linked": partial(measure, _AS_LINKED)})
        both = list(zip(runs["random"], runs["as_linked"], strict=True))
        report[accel] = {
            key: {
                "random": spread([a[key] for a, _ in both], 0),
                "as_linked": spread([b[key] for _, b in both], 0),
                "difference": spread([a[key] - b[key] for a, b in both], 0),
            }
            for key in _KEYS
        }
    return report
