# SPDX-License-Identifier: MIT
"""Runs seeds in a built simulation, several side by side, and keeps a record that a later run goes on from."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

CHUNK = 50
CHUNK_DEADLINE_S = 6 * 3600  # world ends a seed that takes a minute of a processor; a run may get little of one
_ENV = {"ASAN_OPTIONS": "detect_leaks=0:detect_odr_violation=0:detect_stack_use_after_return=0"}


@dataclass(frozen=True)
class Outcome:
    """What came of a seed. trace: a hash of all that happened; broken: the promise that was, "" for none."""

    seed: int
    trace: str
    events: int
    virtual_ms: int
    broken: str


def run_seeds(folder: Path, first: int, count: int) -> list[Outcome]:
    """Outcomes of the seeds, in order. One that ends the process (a sanitizer's report) is broken, and the next goes on."""
    done: list[Outcome] = []
    while len(done) < count:
        at = first + len(done)
        argv = [str(folder / "world"), str(folder), str(at), str(count - len(done))]
        ran = subprocess.run(
            argv, capture_output=True, text=True, env={**os.environ, **_ENV}, timeout=CHUNK_DEADLINE_S, check=False
        )
        fresh = [_outcome(line) for line in ran.stdout.splitlines()]
        done += fresh
        if len(done) < count:
            if ran.returncode == 0:
                raise RuntimeError(f"{' '.join(argv)} ended early:\n{ran.stdout}{ran.stderr}")
            said = ran.stderr.strip() or f"the process ended with {ran.returncode}"
            done.append(Outcome(first + len(done), "", 0, 0, said[-4000:]))
    return done


def _outcome(line: str) -> Outcome:
    seed, verdict, trace, events, ms, what = line.split(" ", 5)
    return Outcome(int(seed), trace, int(events), int(ms), what if verdict == "broken" else "")


def run_side_by_side(folder: Path, seeds: list[int], jobs: int, chunk: int = CHUNK) -> Iterator[list[Outcome]]:
    """Chunks of outcomes as they come. seeds: in order; each run of numbers is cut in chunks."""
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = [pool.submit(run_seeds, folder, first, count) for first, count in _chunks(seeds, chunk)]
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted run ends with the chunks that have begun


def _chunks(seeds: list[int], most: int) -> Iterator[tuple[int, int]]:
    first = 0
    for i in range(1, len(seeds) + 1):
        if i == len(seeds) or seeds[i] != seeds[i - 1] + 1 or i - first == most:
            yield seeds[first], i - first
            first = i


@dataclass
class Record:
    """What has been run of one state of the tree; a file of JSON, written after each chunk."""

    file: Path
    commit: str
    server: str = "c"
    spans: list[tuple[int, int]] = field(default_factory=list)  # first and last
    events: int = 0
    virtual_s: int = 0
    broken: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path, commit: str, server: str = "c") -> Record:
        """Go on with that file's, if it is of this commit and server; else a new one."""
        kept = json.loads(file.read_text()) if file.exists() else {}
        if (kept.get("commit"), kept.get("server", "c")) != (commit, server):
            return cls(file, commit, server)
        spans = [(first, last) for first, last in kept["seeds"]]
        return cls(file, commit, server, spans, kept["events"], kept["virtual_s"], kept["broken"])

    def missing(self, seeds: range) -> list[int]:
        """Those that have not been run."""
        return [s for s in seeds if not any(first <= s <= last for first, last in self.spans)]

    def add(self, outcomes: list[Outcome]) -> None:
        self.events += sum(o.events for o in outcomes)
        self.virtual_s += sum(o.virtual_ms for o in outcomes) // 1000
        self.broken |= {str(o.seed): o.broken for o in outcomes if o.broken}
        spans = sorted([*self.spans, (outcomes[0].seed, outcomes[-1].seed)])
        self.spans = spans[:1]
        for first, last in spans[1:]:
            if first == self.spans[-1][1] + 1:
                self.spans[-1] = (self.spans[-1][0], last)
            else:
                self.spans.append((first, last))
        self._write()

    def _write(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        content = {
            "date": now.isoformat(timespec="seconds"),
            "commit": self.commit,
            "server": self.server,
            "seeds": self.spans,
            "count": sum(last - first + 1 for first, last in self.spans),
            "events": self.events,
            "virtual_s": self.virtual_s,
            "broken": self.broken,
        }
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(content, indent=2) + "\n")
        fresh.rename(self.file)


def tree_state(top: Path) -> str:
    """The commit, and whether the tree differs from it: "0123abc" or "0123abc+"."""

    def git(*words: str) -> str:
        argv = ["git", "-C", str(top), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")
