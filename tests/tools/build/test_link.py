# SPDX-License-Identifier: MIT
"""link.py: what a source includes, by the compiler's own list, whatever the folders are called."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

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
