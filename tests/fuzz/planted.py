# SPDX-License-Identifier: MIT
"""A bug a target, planted in a copy of one source: what a target would find, it has to find in that copy within seconds."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import fuzzrun
from tests.fuzz.fuzzbuild import BUILT, build
from tests.fuzz.fuzztargets import HERE, REPO, Target, change


@dataclass(frozen=True)
class Plant:
    """In `file`, the text `before`, which stands there once, becomes `after`."""

    file: str
    before: str
    after: str

    def write(self, folder: Path, text: str) -> Path:
        """Write the copy into a folder; it lies as deep there as a target's #include names it."""
        copy = folder.joinpath(*Path(self.file).parts[-2:])
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
        return copy

    def text(self, target: Target) -> str:
        """The source with the bug, and with what the target's group has changed in it."""
        return change(self.file, self.before, self.after, target.group.changed.get(REPO / self.file, ""))


def plants() -> dict[str, Plant]:
    """The bug of each target."""
    return {name: Plant(**row) for name, row in tomllib.loads((HERE / "planted.toml").read_text()).items()}


def find(target: Target, seconds: int) -> fuzzrun.Ran:
    """Run a target with its bug for so long at most."""
    plant = plants()[target.name]
    folder = BUILT / "planted" / target.name
    folder.mkdir(parents=True, exist_ok=True)
    copy = plant.write(folder, plant.text(target))
    program = build([target], {REPO / plant.file: copy}, folder)[target.name]
    return fuzzrun.run(target, program, seconds=seconds, keep=False)
