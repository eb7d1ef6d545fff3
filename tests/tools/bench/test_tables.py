# SPDX-License-Identifier: MIT
"""tools/floe/bench/tables.py: ratios first, numbers that are short, and what a reader must know."""

from __future__ import annotations

import pytest

from floe.bench import tables
from floe.bench.rounds import Result
from tests.tools.bench.benchresults import EXPERIMENT, along_an_axis, taken, without_an_axis


def test_ratios_come_first() -> None:
    ratios, medians = tables.of(along_an_axis())
    assert ratios.lines[0] == ("time", "20/s", "ours : theirs", "2.00", "2.00 .. 2.00", "6", "worse")
    assert medians.lines[0] == ("time", "20/s", "ours", "2.00", "ms", "2.00", "2.00", "2.00 .. 2.00", "6")
    assert {len(line) for table in (ratios, medians) for line in table.lines} == {len(ratios.head), len(medians.head)}


def test_what_has_no_lines_is_no_table() -> None:
    assert tables.of(Result(EXPERIMENT)) == []


def test_a_reader_is_told_what_was_left_out_what_failed_and_what_others_took() -> None:
    result = along_an_axis()
    result.ended = "time"
    result.taken.append(taken("theirs", 7, seconds=14, others=0.5))
    assert tables.remarks(result) == [
        "Without nginx: it is not here.",
        "Failed: ours, round 7: it broke.",
        "There was no time for more rounds within 60 s.",
        "Others took 25% of the processors: compare contenders, not absolutes.",
    ]
    assert tables.remarks(without_an_axis())[0].startswith("Interrupted: ")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.12345, "0.123"), (1.0, "1.00"), (99.994, "99.99"), (12345.6, "12,346")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert tables.number(value) == text


def test_an_interval_that_is_not_there_is_a_dash() -> None:
    assert (tables.interval(None, None), tables.interval(0.5, 120.0)) == ("-", "0.500 .. 120")
