# SPDX-License-Identifier: MIT
"""tools/floe/bench/size.py: parts are a whole, an import costs what it brings, a missing one is an error."""

from __future__ import annotations

import time

import pytest

from floe.bench import size
from floe.bench.experiment import Options, Turn
from floe.bench.guests import WEB
from floe.build import pipeline
from floe.errors import FloeError


def turn() -> Turn:
    return Turn(0, True, time.monotonic() + 300)


def test_the_parts_of_an_image_are_all_of_it() -> None:
    built = pipeline.build(WEB)
    parts = size.parts(built)
    assert sum(parts.values()) == built.path.stat().st_size
    assert list(parts.values()) == sorted(parts.values(), reverse=True)
    assert {"interpreter", "network", "virtio drivers", "Python as bytecode", size.REST} <= set(parts)
    assert parts["interpreter"] > 100_000
    assert parts[size.REST] < sum(parts.values()) / 5, "an object's folder is not known"


def test_an_import_costs_what_it_brings() -> None:
    (empty,), (json,) = list(size._import("", turn())), list(size._import("json", turn()))
    assert set(empty.values) == {"elf"}
    assert json.values["added"] == json.values["elf"] - empty.values["elf"] > 1000


def test_an_import_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FloeError, match="nothere"):
        list(size._import("nothere", turn()))


def test_quick_says_what_it_leaves_out() -> None:
    quick, full = size.prepare(Options(quick=True)), size.prepare(Options())
    assert len(quick.contenders) < len(full.contenders)
    assert [one.why for one in quick.left_out] == ["--quick builds a few"]
    assert full.left_out == ()
    assert {one.against for one in full.contenders if one.name.startswith("import ")} == {"no import"}
