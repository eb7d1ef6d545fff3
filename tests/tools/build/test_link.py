# SPDX-License-Identifier: MIT
"""link.py: what a source includes, by the compiler's own list, whatever the folders are called; which names stay."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from floe.build import pipeline
from floe.build.link import prerequisites


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
        names = {symbol.name for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols()}
    assert "mp_execute_bytecode" in names
    assert not [name for name in names if "said" in name]
