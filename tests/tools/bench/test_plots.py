# SPDX-License-Identifier: MIT
"""tools/floe/bench/plots.py: a picture of each figure, in two formats, the same each time."""

from __future__ import annotations

import importlib.util
import io
import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from floe.bench import plots
from floe.bench.experiment import Contender, Experiment, Reading
from floe.bench.rounds import Result
from floe.errors import NotFound
from tests.tools.bench.benchresults import MS, along_an_axis, taken, without_an_axis

TEXT = "{http://www.w3.org/2000/svg}text"


def words(svg: str) -> set[str]:
    return {"".join(node.itertext()) for node in ElementTree.fromstring(svg.encode()).iter(TEXT)}


def test_each_figure_has_a_picture_with_its_contenders() -> None:
    drawn = plots.of(along_an_axis())
    assert [plot.name for plot in drawn] == ["web-ms", "web-rate"]
    assert {"Web: time", "ours", "theirs", "requests offered, 1/s", "ms, less is better"} <= words(drawn[0].svg)
    assert "1/s, more is better" in words(drawn[1].svg)
    for plot in drawn:
        with Image.open(io.BytesIO(plot.png)) as image:
            assert image.format == "PNG"
            assert image.width > 600


def test_bars_stand_by_circumstance_and_text_is_no_formula() -> None:
    (drawn,) = plots.of(without_an_axis())
    assert {"Bars $x_1$ </title><script>: time", "alone", "<ten> & more", "ours", "theirs"} <= words(drawn.svg)


def test_what_has_no_place_on_the_axis_has_bars_of_its_own() -> None:
    result = along_an_axis()
    result.taken.append(taken("ours", 0, Reading({"ms": 1.0}, "fastest")))
    assert [plot.name for plot in plots.of(result)] == ["web-ms", "web-ms-bars", "web-rate"]
    assert "fastest" in words(plots.of(result)[1].svg)


def test_bars_under_one_circumstance_have_their_contenders_names() -> None:
    contenders = tuple(Contender(f"image {number}", lambda turn: iter(())) for number in range(20))
    result = Result(Experiment("size", "Size", "Bytes.", (MS,), contenders, 1, 60))
    result.taken = [taken(one.name, 0, Reading({"ms": 5.0})) for one in contenders]
    (drawn,) = plots.of(result)
    assert {one.name for one in contenders} <= words(drawn.svg)


def test_no_two_contenders_look_alike() -> None:
    """As many as `floe bench http` has: on lines by colour and mark, as bars by colour and hatch."""
    styles = [plots.style(number) for number in range(32)]
    assert len({(colour, mark) for colour, mark, _ in styles}) == 32
    assert len({(colour, hatch) for colour, _, hatch in styles}) == 32
    assert len({mark for _, mark, _ in styles[:8]}) == 8


def test_contenders_beyond_the_colours_are_drawn_otherwise() -> None:
    """The first and the ninth have one colour."""
    contenders = tuple(Contender(f"server {number}", lambda turn: iter(())) for number in range(9))
    result = Result(Experiment("web", "Web", "Times.", (MS,), contenders, 1, 60, axis="rate"))
    readings = (Reading({"ms": 5.0}, "1/s", 1), Reading({"ms": 6.0}, "alone"), Reading({"ms": 6.0}, "both"))
    result.taken = [taken(one.name, 0, *readings) for one in contenders]
    lines, bars = plots.of(result)
    marks = set(re.findall(r'<use xlink:href="#(\w+)"[^>]*style="fill: #0072b2', lines.svg))
    assert len(marks) == 3, "two, and the end of an interval's line"
    assert "stroke: #ffffff" in bars.svg, "a hatch in white, which is seen on black, too"
    assert re.search(r"fill: url\(#\w+\)", bars.svg)


def test_rates_far_apart_are_named_as_they_were_offered() -> None:
    result = along_an_axis()
    result.taken = [taken("ours", 0, *(Reading({"ms": rate / 100}, f"{rate}/s", rate) for rate in (5, 300, 10_000)))]
    (drawn,) = plots.of(result)
    assert {"5", "300", "10,000"} <= words(drawn.svg)
    assert not [word for word in words(drawn.svg) if "math" in word]


def test_the_same_numbers_give_the_same_file() -> None:
    assert [plot.svg for plot in plots.of(along_an_axis())] == [plot.svg for plot in plots.of(along_an_axis())]


def test_what_was_not_measured_has_no_picture() -> None:
    assert plots.of(Result(along_an_axis().experiment)) == []


def test_without_matplotlib_there_is_one_error_with_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    plots.check()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotFound, match="matplotlib") as caught:
        plots.check()
    assert "-m pip install 'matplotlib>=3.8'" in caught.value.hint
