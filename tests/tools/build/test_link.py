# SPDX-License-Identifier: MIT
"""link.py: what a source includes, by the compiler's own list, whatever the folders are called; which names stay."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from floe.build import pipeline
from floe.build.link import prerequisites
from floe.image import names


@pytest.mark.parametrize("name", ["plain", "a blank", "two  blanks", "umlaut ö", "a#b", "a$b"])
def test_what_gcc_lists_as_included(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    header, source = folder / "x.h", folder / "x.c"
    header.write_text("")
    source.write_text('#include "x.h"\n')
    done = subprocess.run(["gcc", "-M", str(source)], capture_output=True, text=True, check=True)
    assert {str(source), str(header)} <= set(prerequisites(done.stdout))


def test_an_image_names_its_functions_and_not_the_constants_of_its_bytecode(tmp_path: Path) -> None:
    """Those are of no use to a panic, and took up to a tenth of an image."""
    script = tmp_path / "main.py"
    script.write_text('def said(word):\n    return (word, "a constant", 1.5)\n\n\nprint(said("x"))\n')
    with pipeline.build(script).path.open("rb") as file:
        held = {symbol.name for symbol in names.read(ELFFile(file))}
    assert "mp_execute_bytecode" in held
    assert not [name for name in held if "said" in name]
