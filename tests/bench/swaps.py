# SPDX-License-Identifier: MIT
"""The soak's script alone, whose module is replaced as often as it goes: what each replacement leaves behind."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from floe.build import bytecode, port_archive
from floe.device import swap
from floe.errors import VmError
from tests.bench.common import GUESTS, Options, Report, say, usable_accels
from tests.bench.soak import judged, verdicts
from tests.bench.soakset import Server, fetch, store_memory, store_running

_PART = GUESTS / "soak" / "part.py"
_SAMPLES = 30
_QUICK_S = 30.0


class _Versions:
    """Of part.py."""

    def __init__(self, store: Server, folder: Path) -> None:
        self.count = 0
        self._store = store
        self._file = folder / "part.py"
        self._mpy_cross = port_archive.load("dev").mpy_cross

    def next(self) -> int:
        """Replace the module. Microseconds for which the script paused. Raises FloeError."""
        self.count += 1
        self._file.write_text(_PART.read_text().replace("VERSION = 0", f"VERSION = {self.count}", 1))
        code = bytecode.compile_file(self._mpy_cross, self._file, "part.py").read_bytes()
        return swap.replace(self._store.name, "part", code)

    def check(self) -> None:
        """Raises VmError where the last version is not what serves."""
        told = fetch(f"http://127.0.0.1:{self._store.ports['80']}/version")
        if told != f"{self.count}\n":
            raise VmError(f"version {self.count} was sent, and {told!r} serves")


def bench(options: Options) -> Report:
    """On the first accelerator. Failed where memory is not flat."""
    accel = (options.accels or usable_accels())[0]
    seconds = _QUICK_S if options.quick else options.hours * 3600
    samples: list[Report] = []
    pauses: list[int] = []
    with tempfile.TemporaryDirectory(prefix="floe-swaps.") as name, store_running(Path(name), accel) as store:
        versions, start = _Versions(store, Path(name)), time.monotonic()
        for number in range(_SAMPLES):
            while time.monotonic() < start + (number + 1) * seconds / _SAMPLES:
                pauses.append(versions.next())
            versions.check()
            at_s = time.monotonic() - start
            samples.append(
                {"at_s": at_s, "swaps": versions.count, "memory": {"store": store_memory(store)}, "load": {}}
            )
            say(f"  sample {number + 1}/{_SAMPLES}: {versions.count} replacements")
    trends = verdicts(samples)
    judged_swaps = samples[-1]["swaps"] - judged(samples)[0]["swaps"]
    report: Report = {
        "accel": accel,
        "swaps": versions.count,
        "seconds": round(samples[-1]["at_s"]),
        "pause_us": {"median": sorted(pauses)[len(pauses) // 2], "most": max(pauses)},
        "bytes_a_swap": {row: round(told["growth"] / judged_swaps, 2) for row, told in trends.items()},
        "trends": trends,
    }
    if any(row["verdict"] != "flat" for row in trends.values()):
        report["failed"] = "memory is not flat"
    return report
