# SPDX-License-Identifier: MIT
"""The rows of docs/python.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
STATES = ("works", "differs", "not there")


@dataclass(frozen=True)
class Row:
    """A row of docs/python.md. module: an import name, "builtins", or "" for the language; names: its attributes."""

    module: str
    names: tuple[str, ...]
    state: str
    note: str
    case: str

    @property
    def dotted(self) -> list[str]:
        return [f"{self.module}.{name}" for name in self.names] or [self.module]


def table() -> list[Row]:
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[2] in STATES:
            quoted = re.match(r"`([\w.]+)`$", cells[0])
            module = quoted[1] if quoted else ""
            names = tuple(re.findall(r"`(\w+)`", cells[1])) if module else ()
            linked = re.match(r"\[(\S+)\]\((\S+)\)$", cells[4])
            found.append(Row(module, names, cells[2], cells[3], linked[2] if linked else ""))
    return found


ROWS = table()
