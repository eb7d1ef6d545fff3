# SPDX-License-Identifier: MIT
"""`make fuzz`: feed what parses bytes from outside with bytes that libFuzzer invents, on Linux, with sanitizers.

    make fuzz ARGS="--only dns --seconds 600"

Each target starts from its committed corpus and from what earlier runs found (build/fuzz/found). Exit code 1 where one
crashed: its report has the input as a line for the corpus, where it becomes a test."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from tests.fuzz import fuzzrun, hostfuzz, planted
from tests.fuzz.fuzzbuild import BUILT, build, compiler
from tests.fuzz.fuzztargets import REPO, Target, targets, write_corpus


def record(path: Path, name: str, ran: fuzzrun.Ran, seconds: float) -> None:
    """Append how it went to a TOML file."""
    argv = ["git", "-C", str(REPO), "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    rows = {
        "target": f'"{name}"',
        "date": datetime.now(UTC).date().isoformat(),
        "commit": f'"{commit}"',
        "executions": ran.executions,
        "seconds": round(seconds),
        "edges": ran.edges,
        "of": ran.all_edges,
        "crashed": "true" if ran.crash is not None else "false",
    }
    with path.open("a") as file:
        file.write("\n[[run]]\n" + "".join(f"{key} = {value}\n" for key, value in rows.items()))


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


def fuzz(args: argparse.Namespace, chosen: list[Target], programs: dict[str, Path]) -> int:
    """Run the targets, print a line each and a report each crash. Returns how many crashed."""
    crashed = 0
    for target in chosen:
        began = time.monotonic()
        ran = fuzzrun.run(target, programs[target.name], args.seed, 0 if args.runs else args.seconds, args.runs)
        took = time.monotonic() - began
        print(
            f"{target.name:<16} {ran.executions:>10} executions {took:>6.0f} s {ran.edges:>6} of {ran.all_edges} edges",
            flush=True,
        )
        if args.record:
            record(args.record, target.name, ran, took)
        if ran.crash is not None:
            crashed += 1
            (BUILT / "crashes").mkdir(exist_ok=True)
            (BUILT / "crashes" / target.name).write_bytes(ran.crash)
            print(fuzzrun.report(target, ran), flush=True)
        elif args.minimise:
            write_corpus(target.corpus, fuzzrun.merge(target, programs[target.name]))
    return crashed


def fuzz_host(args: argparse.Namespace, chosen: list[hostfuzz.HostTarget]) -> int:
    """The same for the targets in Python, which have no edges to count."""
    crashed = 0
    for target in chosen:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="floe-fuzz-") as folder:
            try:
                done = hostfuzz.run(target, Path(folder), seed=args.seed, seconds=args.seconds, runs=args.runs)
            except hostfuzz.HostCrash as e:
                crashed += 1
                print(f"{e}\nfor its seeds in tests/fuzz/hostfuzz.py")
                traceback.print_exception(e.__cause__)
                continue
        took = time.monotonic() - began
        print(f"{target.name:<16} {done:>10} executions {took:>6.0f} s", flush=True)
        if args.record:
            record(args.record, target.name, fuzzrun.Ran(done, 0, 0, None, ""), took)
    return crashed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="TARGET", help="this target only; may be repeated")
    parser.add_argument("--seconds", type=int, default=10, help="of each target (10)")
    parser.add_argument("--runs", type=int, default=0, help="executions of each target, in place of seconds")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer's chance (1)")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="append date, commit, executions and coverage to FILE"
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
    return 1 if fuzz(args, chosen, build(chosen)) + fuzz_host(args, host) else 0


if __name__ == "__main__":
    sys.exit(main())
