# SPDX-License-Identifier: MIT
"""tools/floe/bench/summary.py and report.py: from rounds to rows, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json

import pytest

from floe.bench import report, summary
from floe.bench.experiment import Reading
from floe.bench.report import Run
from floe.bench.rounds import Result
from tests.tools.bench.benchresults import EXPERIMENT, along_an_axis, taken


def test_circumstances_stand_along_the_axis() -> None:
    assert summary.circumstances(along_an_axis()) == [("20/s", 20), ("100/s", 100)]


def test_circumstances_without_an_axis_stand_as_they_came() -> None:
    found = Result(EXPERIMENT, [taken("ours", 0, Reading({"ms": 1.0}, "b"), Reading({"ms": 1.0}, "a"))])
    assert summary.circumstances(found) == [("b", None), ("a", None)]


def test_rows_are_of_what_was_measured() -> None:
    rows = summary.rows(along_an_axis())
    assert [(row.at, row.figure.key, row.contender, row.summary.median, row.summary.count) for row in rows] == [
        ("20/s", "ms", "ours", 2.0, 6),
        ("20/s", "ms", "theirs", 1.0, 7),
        ("100/s", "ms", "ours", 25.0, 6),
        ("100/s", "ms", "theirs", 13.0, 7),
        ("100/s", "rate", "ours", 200.0, 6),
        ("100/s", "rate", "theirs", 100.0, 7),
    ]


def test_ratios_are_of_rounds_that_both_have() -> None:
    rows = summary.ratios(along_an_axis())
    assert [(row.at, row.figure.key, row.ratio.ratio, row.ratio.rounds) for row in rows] == [
        ("20/s", "ms", 2.0, 6), ("100/s", "ms", 2.0, 6), ("100/s", "rate", 2.0, 6),
    ]  # fmt: skip


def test_a_ratio_says_better_only_where_its_interval_leaves_no_doubt() -> None:
    assert [row.says for row in summary.ratios(along_an_axis())] == ["worse", "worse", "better"]
    doubtful = Result(EXPERIMENT)
    for number, ours in enumerate((8.0, 12.0, 9.0, 11.0, 8.5, 11.5)):
        doubtful.taken += [
            taken("ours", number, Reading({"ms": ours})), taken("theirs", number, Reading({"ms": 10.0})),
        ]  # fmt: skip
    assert [row.says for row in summary.ratios(doubtful)] == ["unclear"]


def test_what_others_took_is_weighed_by_time() -> None:
    found = Result(EXPERIMENT, [taken("ours", 0, seconds=9, others=0.1), taken("theirs", 0, seconds=1, others=0.6)])
    assert summary.others(found) == pytest.approx(0.15)
    assert summary.others(Result(EXPERIMENT)) == 0.0


def test_json_has_each_number_and_what_was_left_out() -> None:
    run = Run("floe bench web", True, {"cpu": "a CPU"}, [along_an_axis()], skipped={"dns": "no dnsperf"})
    told = json.loads(report.as_json(run))
    assert (told["format"], told["command"], told["quick"], told["interrupted"]) == (1, "floe bench web", True, False)
    (web,) = told["experiments"]
    assert told["surroundings"] == {"cpu": "a CPU"}
    assert told["skipped"] == {"dns": "no dnsperf"}
    assert web["left_out"] == [{"name": "nginx", "why": "it is not here"}]
    assert [one["failed"] for one in web["taken"]] == [""] * 12 + ["it broke", ""]
    assert web["taken"][0]["readings"][0] == {"at": "100/s", "x": 100, "values": {"ms": 20.0, "rate": 200.0}}
    assert web["medians"][0]["median"] == 2.0
    assert web["ratios"][0] | {"low": 0, "high": 0} == {
        "at": "20/s", "x": 20, "figure": "ms", "contender": "ours", "against": "theirs", "ratio": 2.0, "rounds": 6,
        "low": 0, "high": 0, "says": "worse",
    }  # fmt: skip
    assert run.failed


def test_csv_has_a_line_for_each_number() -> None:
    lines = list(csv.DictReader(io.StringIO(report.as_csv(Run("", False, {}, [along_an_axis()])))))
    assert len(lines) == 6 * 3 + 7 * 3
    assert lines[1] == {
        "experiment": "web", "contender": "ours", "round": "0", "at": "100/s", "x": "100", "figure": "rate",
        "unit": "1/s", "value": "200.0", "others": "0", "steal": "0.0", "load": "1.5",
    }  # fmt: skip
