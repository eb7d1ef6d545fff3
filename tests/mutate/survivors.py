# SPDX-License-Identifier: MIT
"""The mutants that no test notices, each with its reason: survivors.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.mutate.operators import Mutant

FILE = Path(__file__).with_name("survivors.toml")
_KEYS = {"file", "before", "after", "kind", "reason"}


@dataclass(frozen=True)
class Survivor:
    """kind: "equal", no test can tell it from what was meant; or "open", a test is wanted. Lines have no number: they
    move. above: what the line before it says, for a line that stands in the file more than once ("": any)."""

    file: str
    before: str
    after: str
    kind: Literal["equal", "open"]
    reason: str
    above: str = ""

    def is_of(self, mutant: Mutant) -> bool:
        above = mutant.text.split("\n")[mutant.line - 2].strip() if self.above else ""
        own = (self.file, self.before, self.after, self.above)
        return own == (mutant.file, mutant.before, mutant.after, above)


def load(file: Path = FILE) -> list[Survivor]:
    """Raises ValueError that names the entry for one that is not whole."""
    found = []
    for number, entry in enumerate(tomllib.loads(file.read_text()).get("survivor", []), 1):
        if set(entry) - {"above"} != _KEYS or entry["kind"] not in ("equal", "open") or not entry["reason"].strip():
            raise ValueError(f"{file.name}: survivor {number} needs {', '.join(sorted(_KEYS))}")
        found.append(Survivor(**entry))
    return found
