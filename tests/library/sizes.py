# SPDX-License-Identifier: MIT
"""What each module of docs/python.md adds to an image: python -m tests.library.sizes prints the table that is there.

The first figure is of a script that imports the module, the second of one that names all that the rows have. Counted
is what is loaded, without the zeros that fill pages."""

from __future__ import annotations

import tempfile
from pathlib import Path

from floe.build import pipeline
from tests.library.table import ROWS

LOADED = (".text", ".rodata", ".data", ".note.floe")


def size(folder: Path, text: str) -> int:
    """Bytes of the image of a script that are loaded."""
    script = folder / "main.py"
    script.write_text(f"# SPDX-License-Identifier: MIT\n{text}\n")
    sections = pipeline.build(script).image.sections
    return sum(sections[name] for name in LOADED)


def main() -> None:
    """Print a row for each module."""
    names: dict[str, list[str]] = {}
    for row in ROWS:
        if row.module and row.state != "not there":
            names.setdefault(row.module, []).extend(row.names)
    with tempfile.TemporaryDirectory() as folder:
        empty = size(Path(folder), "")
        for module, used in names.items():
            bare = size(Path(folder), f"import {module}") - empty
            full = size(Path(folder), f"import {module}\n" + "\n".join(f"{module}.{name}" for name in used)) - empty
            print(f"| `{module}` | {bare:,} | {full:,} |", flush=True)


if __name__ == "__main__":
    main()
