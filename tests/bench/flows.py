# SPDX-License-Identifier: MIT
"""What a packet costs in the packet engine's table of flows: a program on the host, without cards and parsing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from floe.errors import VmError
from tests.bench.common import ROOT, Options, Report, alternate, spread

_SOURCES = [
    "tests/c/packet/flow_bench.c",
    *(f"modules/packet/packet{part}.c" for part in ("parse", "sum", "tcp", "table", "tuple", "frag", "flow", "nat")),
]
_FLAGS = ["-std=gnu11", "-O2", *(f"-I{ROOT / folder}" for folder in ("port/hal", "modules/netdev", "modules/packet"))]
_FLOWS = (100, 10_000, 65_536)


def _run(program: Path, flows: int, packets: int) -> dict[str, float]:
    argv = [str(program), str(flows), str(packets)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise VmError("flow_bench failed", evidence=done.stdout + done.stderr)
    lines = (line.rpartition(": ") for line in done.stdout.splitlines())
    return {name: float(value) for name, _, value in lines}


def bench(options: Options) -> Report:
    """Nanoseconds of CPU a packet: look, translation, commit. The first packet of a flow is "new"."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise VmError("no gcc; try: apt-get install gcc")
    packets = 200_000 if options.quick else 2_000_000
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "flow_bench"
        argv = [compiler, *_FLAGS, *(str(ROOT / source) for source in _SOURCES), "-o", str(program)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise VmError("flow_bench.c does not compile", evidence=done.stderr)
        runs = alternate(options.rounds, {f"{n} flows": partial(_run, program, n, packets) for n in _FLOWS})
    return {
        system: {name: spread([run[name] for run in values], 1) for name in values[0]}
        for system, values in runs.items()
    }
