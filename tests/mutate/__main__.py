# SPDX-License-Identifier: MIT
"""`make mutate`: change one line at a time in a copy of the tree, and see whether a test notices.

    make mutate ARGS="--only modules/virtio -n 20 --seed 1"

Prints a line a mutant and a table; build/mutate/report.json has the same. Exit code 0 when each mutant was noticed or stands in
survivors.toml, 1 otherwise. Ctrl-C ends with the table of what was tried. Minutes to hours; not in CI."""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutate import survivors
from tests.mutate.operators import Mutant, mutants
from tests.mutate.survivors import Survivor
from tests.mutate.trials import FOLDERS, LANGUAGES, Trial, trials
from tests.mutate.workcopy import WorkCopy

REPO = Path(__file__).resolve().parents[2]
REPORT = REPO / "build" / "mutate" / "report.json"
FATES = ("killed", "late", "equal", "open", "survived", "uncompiled")


@dataclass(frozen=True)
class Result:
    """fate: one of FATES; "late" is a mutant that ran into the limit of time. by: the test that noticed it."""

    file: str
    line: int
    operator: str
    before: str
    after: str
    fate: str
    by: str
    seconds: float


def sources(place: str) -> list[str]:
    """Files below a folder of FOLDERS, or the one file, that have mutants."""
    path = REPO / place
    listed = [path] if path.is_file() else sorted(path.rglob("*"))
    return [str(p.relative_to(REPO)) for p in listed if p.suffix in LANGUAGES and p.stat().st_size > 0]


def choose(place: str, count: int, seed: int, at: str) -> list[Mutant]:
    """The mutants of a folder that this seed means; of all of them if there are no more. at: a part of the line only."""
    everything = [m for file in sources(place) for m in mutants(file, (REPO / file).read_text()) if at in m.before]
    return sorted(random.Random(f"{seed} {place}").sample(everything, min(count, len(everything))))


def judge(copy: WorkCopy, mutant: Mutant, known: list[Survivor], limit_s: float) -> Result:
    """Try a mutant by each of its trials in turn."""
    began = time.monotonic()
    fate, by = "survived", ""
    try:
        copy.write(mutant.file, mutant.text)
        for trial in trials(REPO, mutant.file):
            verdict = copy.attempt(trial, limit_s)
            if verdict.how != "passed":
                fate, by = ("killed" if verdict.how == "failed" else verdict.how), verdict.by
                break
    finally:
        copy.restore(mutant.file)
    if fate == "survived":
        fate = next((s.kind for s in known if s.is_of(mutant)), fate)
    seconds = round(time.monotonic() - began, 1)
    return Result(mutant.file, mutant.line, mutant.operator, mutant.before, mutant.after, fate, by, seconds)


def check_unchanged(copy: WorkCopy, wanted: list[Mutant], limit_s: float) -> bool:
    """Whether all trials pass as long as nothing is changed: else they would prove nothing."""
    needed: dict[Trial, None] = {trial: None for m in wanted for trial in trials(REPO, m.file)}
    for trial in needed:
        began = time.monotonic()
        verdict = copy.attempt(trial, 2 * limit_s)
        print(f"unchanged  {' '.join(trial.tests)}: {verdict.how}, {time.monotonic() - began:.0f} s", flush=True)
        if verdict.how != "passed":
            print(verdict.output, file=sys.stderr)
            return False
    return True


def show(result: Result) -> None:
    print(f"{result.fate:<10} {result.file}:{result.line} {result.operator} ({result.seconds:.0f} s)", flush=True)
    print(f"    - {result.before}\n    + {result.after}" + (f"\n    {result.by}" if result.by else ""), flush=True)


def table(results: list[Result]) -> list[str]:
    """A row a folder, and the share of the mutants that were noticed, of those that can be."""
    rows = [f"{'':<18}" + "".join(f"{fate:>12}" for fate in FATES) + f"{'noticed':>12}"]
    for name in (*FOLDERS, "all"):
        own = [r for r in results if name == "all" or r.file.startswith(f"{name}/")]
        count = {fate: sum(r.fate == fate for r in own) for fate in FATES}
        noticed = count["killed"] + count["late"]
        judged = noticed + count["survived"] + count["open"]
        share = f"{100 * noticed / judged:>10.1f} %" if judged else f"{'-':>12}"
        if own:
            rows.append(f"{name:<18}" + "".join(f"{count[fate]:>12}" for fate in FATES) + share)
    return rows


def write(results: list[Result], seed: int) -> None:
    commit = subprocess.run(["git", "-C", str(REPO), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    content = {"commit": commit.stdout.strip(), "seed": seed, "mutants": [asdict(r) for r in results]}
    REPORT.write_text(json.dumps(content, indent=1) + "\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--only", action="append", metavar="PLACE", help="this folder or file only")
    parser.add_argument("-n", type=int, default=60, help="mutants of each place (60)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--at", default="", metavar="TEXT", help="of lines with this text only")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="for each trial of a mutant (300)")
    parser.add_argument("--list", action="store_true", help="only say which ones")
    args = parser.parse_args(argv)
    places = [place.rstrip("/") for place in args.only or FOLDERS]
    for place in places:
        if not place.startswith(FOLDERS) or not (REPO / place).exists():
            parser.error(f"{place}: not in {', '.join(FOLDERS)}")
    wanted = [m for place in places for m in choose(place, args.n, args.seed, args.at)]
    if args.list:
        print("".join(f"{m.file}:{m.line} {m.operator}\n    - {m.before}\n    + {m.after}\n" for m in wanted), end="")
        return 0
    known = survivors.load()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had it ignored
        signal.signal(number, signal.default_int_handler)
    try:
        copy = WorkCopy(REPO)
    except BlockingIOError:
        print("mutate: another run has the copy in build/mutate", file=sys.stderr)
        return 2
    results: list[Result] = []
    interrupted = False
    try:
        if not check_unchanged(copy, wanted, args.limit):
            return 2
        for mutant in wanted:
            results.append(judge(copy, mutant, known, args.limit))
            show(results[-1])
    except KeyboardInterrupt:
        interrupted = True
    finally:
        copy.close()
        write(results, args.seed)
    print("\n".join(["", *table(results), f"in full: {REPORT.relative_to(REPO)}"]))
    if interrupted:
        return 130
    return 1 if any(r.fate == "survived" for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
