# SPDX-License-Identifier: MIT
"""What the bench `perf` makes of the output of upstream's run-perfbench.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from floe.bench import guests, perf
from floe.bench.experiment import Reading, Turn
from floe.errors import VmError
from floe.vm.vm import Vm

SAID = """N=1000 M=1000 n_average=1
perf_bench/bm_float.py: 100.00 0.0000 2000.00 0.0000
perf_bench/core_str.py: 50.00 0.0000 4000.00 0.0000
perf_bench/misc_aes.py: FAIL truth
perf_bench/bm_fft.py: CRASH: PyboardError('timeout waiting for first EOF reception')
perf_bench/viper_call0.py: SKIP
"""


def test_every_line_is_a_score_a_skip_or_an_error() -> None:
    run = perf.parse(SAID)
    assert run.scores == {"bm_float": 2000.0, "core_str": 4000.0}
    assert run.skipped == ["viper_call0"]
    assert run.errors["misc_aes"] == "FAIL truth"
    assert run.errors["bm_fft"].startswith("CRASH: PyboardError")


def test_output_without_a_benchmark_is_an_error() -> None:
    with pytest.raises(VmError, match="measured nothing") as caught:
        perf.parse("Traceback: no such device\n")
    assert "no such device" in str(caught.value.evidence)


def test_scores_are_kept_where_a_benchmark_fails() -> None:
    found = []
    with pytest.raises(VmError, match=r"misc_aes: FAIL truth; bm_fft: CRASH"):
        for reading in perf.readings(perf.parse(SAID)):
            found.append((reading.at, reading.values))
    assert found == [("perf_bench bm_float", {"score": 2000.0}), ("perf_bench core_str", {"score": 4000.0})]


# In the place of run-perfbench.py: two scores, a part of a third line, and it does not end.
SAYS = 'printf \'%s\' "$0"; touch "$1"; exec sleep 600'
BEGUN = "\n".join(SAID.splitlines()[:3]) + "\nperf_bench/misc_aes.py: "
SCORES = [("perf_bench bm_float", 2000.0), ("perf_bench core_str", 4000.0)]


class FakeVm:
    """One that ends as soon as the file is there."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def outcome(self) -> str | None:
        return "ended" if self.file.exists() else None


def scores(readings: Iterator[Reading], failed: str) -> list[tuple[str, float]]:
    found = []
    with pytest.raises(VmError, match=failed):
        for reading in readings:
            found.append((reading.at, reading.values["score"]))
    return found


def test_scores_are_kept_where_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["sh", "-c", SAYS, BEGUN, str(tmp_path / "said")]
    monkeypatch.setattr(perf, "_argv", lambda *words: argv)
    why = "^run-perfbench.py: it did not end within the round's time$"
    assert scores(perf.as_process((), Turn(0, True, time.monotonic() + 3)), why) == SCORES
    said, broken_off = asyncio.run(perf._over(cast(Vm, FakeVm(tmp_path / "never")), argv, 3))
    assert scores(perf._until(said, broken_off), why) == SCORES


def test_scores_are_kept_where_the_vm_ends(tmp_path: Path) -> None:
    argv = ["sh", "-c", SAYS, BEGUN, str(tmp_path / "said")]
    said, broken_off = asyncio.run(perf._over(cast(Vm, FakeVm(tmp_path / "said")), argv, 60))
    assert scores(perf._until(said, broken_off), "^run-perfbench.py: the VM ended before it$") == SCORES


def test_a_run_that_is_broken_off_before_its_first_score_says_so() -> None:
    assert scores(perf._until(b"N=1000 M=1000\nperf_", "the VM ended before it"), "the VM ended before it") == []


def test_a_benchmark_of_upstream_s_runs_in_a_vm(tmp_path: Path) -> None:
    script = tmp_path / "device.py"
    script.write_text("")
    turn = Turn(0, True, time.monotonic() + 300)
    (reading,) = perf.in_vm(guests.build(script, profile="dev"), "tcg", ["perf_bench/core_str.py"], turn)
    assert reading.at == "perf_bench core_str"
    assert reading.values["score"] > 0
