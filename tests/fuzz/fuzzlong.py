# SPDX-License-Identifier: MIT
"""The long run and its record: targets take turns until each has had so many executions, and a TOML file says after each turn
how far it is, so that a run that was stopped goes on from there."""

from __future__ import annotations

import resource
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.fuzz.fuzztargets import REPO

ABOUT = '# What `make fuzz ARGS="--runs N --record FILE"` has done; cpu_s: of a processor; of 0 edges: a target in Python.\n'


@dataclass(frozen=True)
class Row:
    """How far a target is. date, commit: of its last turn; edges: covered, of all."""

    target: str
    date: str = ""
    commit: str = ""
    turns: int = 0
    executions: int = 0
    cpu_s: float = 0
    edges: int = 0
    of: int = 0


def read(path: Path) -> dict[str, Row]:
    """The rows of a record by their target; none where there is no file."""
    rows = tomllib.loads(path.read_text())["run"] if path.exists() else []
    return {row["target"]: Row(**row) for row in rows}


def write(path: Path, rows: dict[str, Row]) -> None:
    """Write a record anew, whole or not at all."""
    made = path.with_name(f"{path.name}.new")
    made.write_text(ABOUT + "".join(f"\n[[run]]\n{_lines(row)}" for row in rows.values()))
    made.replace(path)


def _lines(row: Row) -> str:
    """TOML's of a row; no name or date needs a backslash."""
    values = {key: f'"{value}"' if isinstance(value, str) else str(value) for key, value in asdict(row).items()}
    return "".join(f"{key} = {value}\n" for key, value in values.items())


def _commit() -> str:
    argv = ["git", "-C", str(REPO), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def cpu_s() -> float:
    """What this process and those that it has waited for have used of a processor, in seconds."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in used)


Turn = Callable[[int, int], tuple[int, int, int] | None]


def rounds(path: Path, turns: dict[str, Turn], runs: int) -> int:
    """Let targets take turns until each has had `runs` executions. A turn is called with the number of turns that its target
    had before and the executions that are left, and returns executions, edges and all edges; None where it crashed, and the
    target has no further turn. Returns how many crashed."""
    rows, crashed = read(path), set[str]()
    while left := [n for n in turns if n not in crashed and rows.get(n, Row(n)).executions < runs]:
        for name in left:
            row, began = rows.get(name, Row(name)), cpu_s()
            ran = turns[name](row.turns, runs - row.executions)
            if ran is None:
                crashed.add(name)
                continue
            rows[name] = replace(
                row,
                date=datetime.now(UTC).date().isoformat(),
                commit=_commit(),
                turns=row.turns + 1,
                executions=row.executions + ran[0],
                cpu_s=round(row.cpu_s + cpu_s() - began, 1),
                edges=max(row.edges, ran[1]),
                of=ran[2],
            )
            write(path, rows)
    return len(crashed)
