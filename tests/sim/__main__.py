# SPDX-License-Identifier: MIT
"""python -m tests.sim: run seeds of the simulation and say which promise was broken, if one was."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.sim.scripts import SCRIPTS
from tests.sim.simbuild import ROOT, Simulation
from tests.sim.simrun import Record, run_side_by_side, tree_state

FOLDER = ROOT / "build/sim"


def seeds_of(text: str) -> range:
    """ "7" or "0-999"."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=seeds_of, default=range(1000), metavar="A-B", help="default: 0-999")
    parser.add_argument("--trace", type=int, metavar="SEED", help="print all that happens in this one")
    parser.add_argument("--server", choices=("c", *SCRIPTS), default="c", help="server.c, or an image's script")
    parser.add_argument("--sanitize", action="store_true", help="with ASan and UBSan: slower")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="default: one a processor")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what was run; a later run goes on from it")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    simulation = Simulation(FOLDER / ("sanitized" if options.sanitize else "plain"), sanitize=options.sanitize)
    script = SCRIPTS.get(options.server)
    program = simulation.program(script.name if script else "main", script=script)
    if options.trace is not None:
        return subprocess.run([program / "world", program, str(options.trace), "1", "-v"], check=False).returncode
    record = Record.load(options.record, tree_state(ROOT), options.server) if options.record else None
    wanted = record.missing(options.seeds) if record else list(options.seeds)
    count = events = ms = bad = 0
    for outcomes in run_side_by_side(program, wanted, options.jobs):
        if record:
            record.add(outcomes)
        for o in outcomes:
            count, events, ms = count + 1, events + o.events, ms + o.virtual_ms
            if o.broken:
                bad += 1
                print(f"seed {o.seed}: {o.broken}", flush=True)
    print(f"{count} seeds, {events} events, {ms // 3600_000} hours: {bad} broken")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
