# SPDX-License-Identifier: MIT
"""Bytecode in the VM against the same interpreter as a Linux process: the same loops, alternating, in one run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

from floe.errors import VmError
from tests.bench import unixport
from tests.bench.common import GUESTS, Options, Report, alternate, build, floe_vm, median

_SCRIPT = GUESTS / "guest_cpu.py"


def _parse(text: str) -> dict[str, list[int]]:
    line = next((line for line in text.splitlines() if line.startswith("cpu: ")), None)
    if line is None:
        raise VmError("the loops printed no figures", evidence=text[-1000:])
    result: dict[str, list[int]] = json.loads(line.removeprefix("cpu: "))
    return result


def _in_vm(accel: str) -> dict[str, list[int]]:
    with floe_vm(build(_SCRIPT), accel=accel, cards=()) as vm:
        if vm.wait(deadline_s=120) != 0:
            raise VmError("the loops failed", evidence=vm.console_text[-1000:])
        return _parse(vm.console_text)


def _as_process() -> dict[str, list[int]]:
    argv = [str(unixport.BINARY), "-X", "heapsize=1M", str(_SCRIPT)]
    return _parse(subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout)


def bench(options: Options) -> Report:
    """Milliseconds per loop (median) and their sum; speed: the process's time over the VM's."""
    unixport.build()
    systems: dict[str, Callable[[], Any]] = {"process": _as_process}
    systems |= {accel: partial(_in_vm, accel) for accel in options.accels}
    runs = alternate(options.rounds * 2 - 1, systems)
    names = list(runs["process"][0])
    answers = {json.dumps([run[name][1] for name in names]) for values in runs.values() for run in values}
    if len(answers) != 1:
        raise VmError("the loops came to different results", evidence=str(answers))
    report: Report = {}
    for system, values in runs.items():
        report[system] = {"ms": {name: median([run[name][0] / 1000 for run in values]) for name in names}}
        report[system]["ms_all"] = round(sum(report[system]["ms"].values()), 3)
    for accel in options.accels:
        ours, theirs = report[accel], report["process"]
        ours["speed"] = {name: round(theirs["ms"][name] / ours["ms"][name], 3) for name in names}
        ours["speed_all"] = round(theirs["ms_all"] / ours["ms_all"], 3)
    return report
