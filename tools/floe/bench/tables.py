# SPDX-License-Identifier: MIT
"""An experiment's results as tables and sentences, for the terminal and for the page. Ratios come first."""

from __future__ import annotations

from dataclasses import dataclass

from floe.bench import summary
from floe.bench.rounds import Result


@dataclass(frozen=True)
class Table:
    """Cells as text; the first three columns are words, the others numbers."""

    title: str
    head: tuple[str, ...]
    lines: list[tuple[str, ...]]


def of(result: Result) -> list[Table]:
    """Those that have lines."""
    ratios = Table(
        "Ratios of medians, with their 95 % intervals",
        ("figure", "at", "contender", "ratio", "interval", "rounds", "is"),
        [
            (row.figure.title, row.at, f"{row.contender} : {row.against}", number(row.ratio.ratio),
             interval(row.ratio.low, row.ratio.high), str(row.ratio.rounds), row.says)
            for row in summary.ratios(result)
        ],
    )  # fmt: skip
    medians = Table(
        "Medians",
        ("figure", "at", "contender", "median", "unit", "min", "max", "interval", "rounds"),
        [
            (row.figure.title, row.at, row.contender, number(row.summary.median), row.figure.unit,
             number(row.summary.min), number(row.summary.max), interval(row.summary.low, row.summary.high),
             str(row.summary.count))
            for row in summary.rows(result)
        ],
    )  # fmt: skip
    return [table for table in (ratios, medians) if table.lines]


def remarks(result: Result) -> list[str]:
    """What a reader of the tables must know."""
    experiment = result.experiment
    found = [experiment.note] if experiment.note else []
    found += [f"Without {one.name}: {one.why}." for one in experiment.left_out]
    found += [f"Failed: {one.contender}, round {one.round + 1}: {one.failed}." for one in result.failures]
    if result.ended == "time":
        found.append(f"There was no time for more rounds within {experiment.seconds:.0f} s.")
        if never := _never_measured(result):
            found.append(f"Not measured, for want of time: {', '.join(never)}.")
    if result.ended == "interrupted":
        found.append("Interrupted: this is what was measured until then.")
    taken = f"Others took {summary.others(result):.0%} of the processors"
    if (steal := summary.steal(result)) >= 0.005:
        taken += f", and this machine's own hypervisor {steal:.0%}"
    return [*found, f"{taken}: compare contenders, not absolutes."]


def _never_measured(result: Result) -> list[str]:
    """Contenders of which there is nothing, and no failure that says why."""
    told = {taken.contender for taken in result.taken if taken.readings or taken.failed}
    return [contender.name for contender in result.experiment.contenders if contender.name not in told]


def number(value: float) -> str:
    """With three digits that count, and no exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) >= 1 else 3}f}"


def interval(low: float | None, high: float | None) -> str:
    """A dash where there is none."""
    return "-" if low is None or high is None else f"{number(low)} .. {number(high)}"
