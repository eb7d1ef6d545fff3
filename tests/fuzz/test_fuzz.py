# SPDX-License-Identifier: MIT
"""Each target over its committed corpus, and for a moment beyond it; the table, the corpora, and a planted bug that is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import fuzzrun, planted
from tests.fuzz.fuzzbuild import build, compiler
from tests.fuzz.fuzztargets import CORPUS_MOST, HERE, Target, inputs, remarked, targets, write_corpus

TARGETS = targets()
SECONDS, RUNS = 1, 3000  # of each target, beyond its corpus: what comes first ends it
ALL_CORPORA = 400_000


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    if compiler() is None:
        pytest.skip("SKIP: clang with libFuzzer is not installed; try: apt-get install clang libclang-rt-dev")
    return build(list(TARGETS.values()))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_nothing_crashes(programs: dict[str, Path], target: Target) -> None:
    ran = fuzzrun.run(target, programs[target.name], seconds=SECONDS, runs=RUNS, keep=False)
    assert ran.crash is None, fuzzrun.report(target, ran)
    assert ran.executions > len(inputs(target.corpus))
    assert ran.edges > 20


def test_a_planted_bug_is_found(programs: dict[str, Path]) -> None:
    """One of them; `make fuzz ARGS="--plant"` tries all."""
    ran = planted.find(TARGETS["virtqueue"], 30)
    assert ran.crash is not None
    assert "planted/virtqueue/virtio/virtqueue.c" in ran.words


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_a_target_has_a_corpus_and_a_bug_to_find(target: Target) -> None:
    assert target.source.exists()
    assert len(inputs(target.corpus)) > 3
    assert all(len(data) <= target.max_len for data in inputs(target.corpus))
    assert target.corpus.stat().st_size <= CORPUS_MOST + len(remarked(target.corpus))
    assert planted.plants()[target.name].text(target) != ""


def test_the_corpora_are_small_and_each_is_a_target_s() -> None:
    found = [path for path in (HERE / "corpus").iterdir() if path.suffix == ".txt"]
    assert {path.stem for path in found} == TARGETS.keys()
    assert sum(path.stat().st_size for path in found) < ALL_CORPORA
    assert {path.stem for path in (HERE / "targets").iterdir()} == TARGETS.keys()


def test_a_remark_and_its_input_outlive_a_new_corpus(tmp_path: Path) -> None:
    corpus = tmp_path / "x.txt"
    corpus.write_text("# read past the end\nAAE=\nAgM=\n")
    write_corpus(corpus, [b"new", b"\x00\x01"])
    assert corpus.read_text() == "# read past the end\nAAE=\nbmV3\n"
    assert inputs(corpus) == [b"\x00\x01", b"new"]
