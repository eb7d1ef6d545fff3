# SPDX-License-Identifier: MIT
"""A run as files: JSON with all there is, CSV with each number that was measured."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from floe.bench import summary
from floe.bench.rounds import Result

FORMAT = 1


@dataclass
class Run:
    """What `floe bench` has measured. command: as the user typed it; surroundings: of surroundings.describe(); skipped:
    experiments that were not begun, and why."""

    command: str
    quick: bool
    surroundings: dict[str, str | int]
    results: list[Result] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def failed(self) -> bool:
        return any(result.failures for result in self.results) or bool(self.skipped)


def as_dict(run: Run) -> dict[str, Any]:
    """All of it, for JSON."""
    return {
        "format": FORMAT,
        "command": run.command,
        "quick": run.quick,
        "interrupted": run.interrupted,
        "surroundings": run.surroundings,
        "skipped": run.skipped,
        "experiments": [_experiment(result) for result in run.results],
    }


def _experiment(result: Result) -> dict[str, Any]:
    of = result.experiment
    return {
        "name": of.name,
        "title": of.title,
        "measures": of.measures,
        "note": of.note,
        "axis": of.axis,
        "figures": [asdict(figure) for figure in of.figures],
        "contenders": [
            {"name": one.name, "against": one.against, "command": one.command, "limit_s": one.limit_s}
            for one in of.contenders
        ],
        "left_out": [asdict(one) for one in of.left_out],
        "rounds": of.rounds,
        "at_most_s": of.seconds,
        "took_s": result.seconds,
        "ended": result.ended,
        "others": round(summary.others(result), 4),
        "steal": round(summary.steal(result), 4),
        "ratios": [
            {
                "at": row.at, "x": row.x, "figure": row.figure.key, "contender": row.contender, "against": row.against,
                **asdict(row.ratio), "says": row.says,
            }
            for row in summary.ratios(result)
        ],
        "medians": [
            {"at": row.at, "x": row.x, "figure": row.figure.key, "contender": row.contender, **asdict(row.summary)}
            for row in summary.rows(result)
        ],
        "taken": [
            {
                "contender": taken.contender, "round": taken.round, "failed": taken.failed,
                "meanwhile": asdict(taken.meanwhile),
                "readings": [
                    {"at": reading.at, "x": reading.x, "values": dict(reading.values)} for reading in taken.readings
                ],
            }
            for taken in result.taken
        ],
    }  # fmt: skip


def as_json(run: Run) -> str:
    """Lists of numbers on one line each."""
    text = json.dumps(as_dict(run), indent=1)
    return re.sub(r"\[[\s\d.,-]+\]", lambda match: re.sub(r"\s+", " ", match[0]), text) + "\n"


def as_csv(run: Run) -> str:
    """A line for each number that was measured."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        ("experiment", "contender", "round", "at", "x", "figure", "unit", "value", "others", "steal", "load")
    )
    for result in run.results:
        units = {figure.key: figure.unit for figure in result.experiment.figures}
        for taken in result.taken:
            meanwhile = (taken.meanwhile.others, taken.meanwhile.steal, taken.meanwhile.load)
            for reading in taken.readings:
                for key, value in reading.values.items():
                    where = (result.experiment.name, taken.contender, taken.round, reading.at, reading.x)
                    table.writerow((*where, key, units[key], value, *meanwhile))
    return out.getvalue()
