# SPDX-License-Identifier: MIT
"""What the bench `perf` makes of the output of upstream's run-perfbench.py."""

from __future__ import annotations

import pytest

from floe.errors import VmError
from tests.bench import perf

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


def test_ratios_are_over_what_both_measured() -> None:
    ours = perf.Run({"a": 50.0, "b": 800.0, "only here": 1.0}, errors={"c": "CRASH"})
    theirs = perf.Run({"a": 100.0, "b": 100.0, "c": 5.0})
    slower = perf.Run({"a": 50.0, "b": 200.0})
    report = perf.summary({"process": [theirs, theirs], "kvm": [slower, ours]})
    assert report["kvm"]["ratios"] == {"a": 0.5, "b": 8.0}
    assert (report["kvm"]["geometric_mean"], report["kvm"]["of_rounds"]) == (2.0, [1.0, 2.0])
    assert report["kvm"]["errors"] == {"c": "CRASH"}
    assert "ratios" not in report["process"]


def test_nothing_in_common_is_no_mean() -> None:
    report = perf.summary({"process": [perf.Run({"a": 1.0})], "tcg": [perf.Run(skipped=["a"])]})
    assert report["tcg"]["geometric_mean"] is None
