# SPDX-License-Identifier: MIT
"""`make fuzz`: feed what parses bytes from outside with bytes that libFuzzer invents, on Linux, with sanitizers.

    make fuzz ARGS="--only dns --seconds 600"

Each target starts from its committed corpus and from what earlier runs found (build/fuzz/found). Exit code 1 where one
crashed: its report has the input as a line for the corpus, where it becomes a test."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.fuzz import fuzzlong, fuzzrun, hostfuzz, planted
from tests.fuzz.fuzzbuild import BUILT, build, compiler
from tests.fuzz.fuzztargets import Target, targets, write_corpus


def plant(chosen: list[Target], seconds: int) -> int:
    """Build each target with its planted bug and wait for the crash. Returns how many bugs were not found."""
    missed = 0
    for target in chosen:
        began = time.monotonic()
        ran = planted.find(target, seconds)
        missed += ran.crash is None
        verdict = "NOT FOUND" if ran.crash is None else "found"
        print(
            f"{target.name:<16} {verdict} after {ran.executions} executions, {time.monotonic() - began:.0f} s",
            flush=True,
        )
    return missed


def fuzz(args: argparse.Namespace, target: Target, program: Path, seed: int, runs: int) -> fuzzrun.Ran:
    """Run a target, print a line, and a report where it crashed."""
    began = time.monotonic()
    ran = fuzzrun.run(target, program, seed, args.seconds if args.record or not runs else 0, runs)
    took = time.monotonic() - began
    print(
        f"{target.name:<16} {ran.executions:>10} executions {took:>6.0f} s {ran.edges:>6} of {ran.all_edges} edges",
        flush=True,
    )
    if ran.crash is not None:
        (BUILT / "crashes").mkdir(exist_ok=True)
        (BUILT / "crashes" / target.name).write_bytes(ran.crash)
        print(fuzzrun.report(target, ran), flush=True)
    elif args.minimise:
        write_corpus(target.corpus, fuzzrun.merge(target, program))
    return ran


def fuzz_host(args: argparse.Namespace, target: hostfuzz.HostTarget, seed: int, runs: int) -> fuzzrun.Ran:
    """The same for a target in Python, which has no edges to count."""
    began = time.monotonic()
    seconds = args.seconds if args.record or not runs else 0
    with tempfile.TemporaryDirectory(prefix="floe-fuzz-") as folder:
        try:
            done = hostfuzz.run(target, Path(folder), seed=seed, seconds=seconds, runs=runs)
        except hostfuzz.HostCrash as e:
            print(f"{e}\nfor its seeds in tests/fuzz/hostfuzz.py")
            traceback.print_exception(e.__cause__)
            return fuzzrun.Ran(0, 0, 0, e.data, str(e))
    print(f"{target.name:<16} {done:>10} executions {time.monotonic() - began:>6.0f} s", flush=True)
    return fuzzrun.Ran(done, 0, 0, None, "")


Fuzzed = Callable[[int, int], fuzzrun.Ran]


def once(args: argparse.Namespace, fuzzed: dict[str, Fuzzed]) -> int:
    """Each target, one after the other. Returns how many crashed."""
    return sum(ran(args.seed, args.runs).crash is not None for ran in fuzzed.values())


def long(args: argparse.Namespace, fuzzed: dict[str, Fuzzed]) -> int:
    """Turns of each target, each with another seed, until all have had their executions. Returns how many crashed."""

    def turn(run: Fuzzed) -> fuzzlong.Turn:
        def taken(turns: int, runs: int) -> tuple[int, int, int] | None:
            ran = run(args.seed + turns, runs)
            return None if ran.crash is not None else (ran.executions, ran.edges, ran.all_edges)

        return taken

    return fuzzlong.rounds(args.record, {name: turn(run) for name, run in fuzzed.items()}, args.runs)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="TARGET", help="this target only; may be repeated")
    parser.add_argument("--seconds", type=int, default=10, help="of each target (10)")
    parser.add_argument("--runs", type=int, default=0, help="executions of each target, in place of seconds")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer's chance (1)")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="targets take turns of --seconds until each has had --runs;\nFILE says how far they are, and a later run goes on from it",
    )
    parser.add_argument(
        "--minimise", action="store_true", help="then write the committed corpora anew, with what was found"
    )
    parser.add_argument(
        "--plant", action="store_true", help="plant a bug in a copy instead, and see whether it is found"
    )
    parser.add_argument("--list", action="store_true", help="name the targets and run none")
    args = parser.parse_args(argv)
    everything = targets()
    if args.record and not args.runs:
        parser.error("--record needs --runs")
    unknown = set(args.only or []) - everything.keys() - hostfuzz.TARGETS.keys()
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; --list names them")
    chosen = [target for name, target in everything.items() if name in (args.only or everything)]
    host = [target for name, target in hostfuzz.TARGETS.items() if name in (args.only or hostfuzz.TARGETS)]
    if args.list:
        print("\n".join(f"{target.name:<16} {target.about}" for target in (*chosen, *host)))
        return 0
    if compiler() is None:
        print("clang with libFuzzer is not installed; try: apt-get install clang libclang-rt-dev", file=sys.stderr)
        return 2
    if args.plant:
        return 1 if plant(chosen, args.seconds) else 0
    programs = build(chosen)
    fuzzed: dict[str, Fuzzed] = {t.name: partial(fuzz, args, t, programs[t.name]) for t in chosen}
    fuzzed |= {t.name: partial(fuzz_host, args, t) for t in host}
    return 1 if (long if args.record else once)(args, fuzzed) else 0


if __name__ == "__main__":
    sys.exit(main())
