# SPDX-License-Identifier: MIT
"""Runs a target: over its corpus alone, for so many seconds, or for so many executions; and reads what libFuzzer says."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

from tests.fuzz.fuzzbuild import BUILT
from tests.fuzz.fuzztargets import Target, inputs

HANG_S = 20  # a run that takes so long is a crash
MEMORY_MB = 1500
SLACK_S = 60  # for the start, and the corpus
SAYS = {"FUZZ_SAY": "1", "ASAN_OPTIONS": "malloc_context_size=30"}  # and where each block comes from
STARVED_S = 1800  # the same of a turn of a long run, which has the lowest priority


@dataclass(frozen=True)
class Ran:
    """How it went. edges: covered, of all; crash: the input that ended it, None where none did; words: libFuzzer's."""

    executions: int
    edges: int
    all_edges: int
    crash: bytes | None
    words: str


@contextmanager
def unpacked(target: Target, *more: Path) -> Iterator[Path]:
    """A folder with the committed corpus, a file an input, and what lies in these other folders."""
    with tempfile.TemporaryDirectory(prefix=f"floe-fuzz-{target.name}-") as name:
        folder = Path(name)
        found = [*inputs(target.corpus), *(p.read_bytes() for f in more if f.is_dir() for p in sorted(f.iterdir()))]
        for data in found:
            (folder / sha1(data).hexdigest()).write_bytes(data)
        yield folder


def found(target: Target) -> Path:
    """Where inputs are kept that reached something new."""
    return BUILT / "found" / target.name


def _limits(target: Target, seed: int) -> list[str]:
    limits = [f"-seed={seed}", f"-max_len={target.max_len}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}"]
    dictionary = [f"-dict={target.dictionary}"] if target.dictionary else []
    told = ["-print_final_stats=1", "-print_funcs=0"]  # names of new functions: a symbolizer that is waited for
    return [*limits, *dictionary, "-len_control=20", "-use_value_profile=0", *told]


def _call(argv: list[str], deadline_s: float, say: bool = False) -> tuple[int, str]:
    env = {**os.environ, "LC_ALL": "C"} | (SAYS if say else {})
    try:
        done = subprocess.run(argv, env=env, capture_output=True, timeout=deadline_s, check=False)
    except subprocess.TimeoutExpired as e:
        return -1, (e.stderr or b"").decode(errors="replace") + f"\nno end after {deadline_s:.0f} s"
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def _number(pattern: str, words: str) -> int:
    values = re.findall(pattern, words)
    return int(values[-1]) if values else 0


def run(target: Target, program: Path, seed: int = 1, seconds: int = 0, runs: int = 0, keep: bool = True) -> Ran:
    """The committed corpus, and then so many seconds or executions of what comes of it; 0 of both: the corpus alone; with both
    it ends with the first.

    keep: inputs that reached something new go to build/fuzz/found, and take part in the next such run."""
    kept = found(target) if keep else BUILT / "planted" / target.name / "found"
    kept.mkdir(parents=True, exist_ok=True)
    with unpacked(target) as corpus, tempfile.TemporaryDirectory(prefix="floe-fuzz-") as scratch:
        limit = [f"-max_total_time={seconds}"] if seconds else []
        limit += [f"-runs={runs}"] if runs or not seconds else []
        argv = [str(program), *_limits(target, seed), *limit, f"-artifact_prefix={scratch}/"]
        deadline_s = STARVED_S + seconds if seconds and runs else SLACK_S + (seconds or runs / 50)
        status, words = _call([*argv, str(kept), str(corpus)], deadline_s)
        crashes = sorted(path for path in Path(scratch).iterdir() if not path.name.startswith("slow-unit-"))
        crash = crashes[0].read_bytes() if crashes else None
        if crashes:
            again, said = _call([str(program), f"-timeout={HANG_S}", str(crashes[0])], 3 * HANG_S, say=True)
            words += f"\n---- once more, with what it says\n{said}"
            if again == 0 and crashes[0].name.startswith("timeout-"):  # others had the processor
                status, crash = 0, None
    if status != 0 and crash is None:
        raise RuntimeError(f"{target.name} ended with {status}\n{words[-4000:]}")
    return Ran(
        _number(r"stat::number_of_executed_units: (\d+)", words) or _number(r"#(\d+)\s", words),
        _number(r"cov: (\d+)", words),
        _number(r"\((\d+) inline 8-bit counters\)", words),
        crash,
        words,
    )


def merge(target: Target, program: Path) -> list[bytes]:
    """The fewest inputs that reach what the corpus and all that was found reach together."""
    with unpacked(target, found(target)) as everything, tempfile.TemporaryDirectory(prefix="floe-fuzz-") as least:
        argv = [str(program), "-merge=1", f"-max_len={target.max_len}", least, str(everything)]
        status, words = _call(argv, 1200)
        if status != 0:
            raise RuntimeError(f"{target.name}: no merging\n{words[-4000:]}")
        return [path.read_bytes() for path in sorted(Path(least).iterdir())]


def report(target: Target, ran: Ran) -> str:
    """What a person needs of a crash: the sanitizer's words, and the line for the corpus."""
    from base64 import b64encode

    at = re.search(
        r"^(BROKEN|ENDED|PANIC|STRAY|==\d+==ERROR|.*runtime error|.*ERROR: libFuzzer).*", ran.words, re.MULTILINE
    )
    words = ran.words[at.start() :] if at else ran.words[-3000:]
    line = b64encode(ran.crash or b"").decode()
    return f"{target.name} crashed\n{words[:6000]}\n\nfor tests/fuzz/corpus/{target.name}.txt, with a remark before it:\n{line}"
