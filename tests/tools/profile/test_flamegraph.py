# SPDX-License-Identifier: MIT
"""flamegraph.py: an SVG that stands alone, and boxes as wide as their part."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from floe.profile import flamegraph
from floe.profile.samples import Frame, Stack

SVG = "{http://www.w3.org/2000/svg}"
MAIN, WORK, REST = Frame("a.py", 9, "main"), Frame("a.py", 4, "work"), Frame("a.py", 5, "rest")


def boxes(text: str) -> dict[str, tuple[float, float, float]]:
    """Left, top and width of each, by the words before the colon of what it says."""
    found = {}
    for group in ElementTree.fromstring(text).iter(f"{SVG}g"):
        title, box = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None and title.text is not None and box is not None
        name = title.text.rpartition(": ")[0]
        assert name not in found
        found[name] = (float(box.attrib["x"]), float(box.attrib["y"]), float(box.attrib["width"]))
    return found


def test_a_box_is_as_wide_as_its_part_and_stands_on_its_caller() -> None:
    text = flamegraph.draw([Stack((MAIN, WORK), "add", 3), Stack((MAIN, REST), "mul", 1)], "one: 4 samples")
    assert "one: 4 samples" in text
    found = boxes(text)
    assert set(found) == {"a.py:9 main", "a.py:4 work", "a.py:5 rest", "add", "mul"}
    left, top, width = found["a.py:9 main"]
    assert width == 1180
    assert found["a.py:4 work"] == (left, top - 18, 885)
    assert found["a.py:5 rest"] == (left + 885, top - 18, 295)
    assert found["add"] == (left, top - 36, 885)
    assert re.search(r"<title>a\.py:4 work: 3 samples, 75\.0 %</title>", text)


def test_what_is_too_thin_to_be_seen_is_left_out_and_keeps_its_place() -> None:
    text = flamegraph.draw([Stack((MAIN, WORK), "add", 9999), Stack((MAIN, REST), "mul", 1)], "")
    assert "a.py:5 rest" not in boxes(text)


@pytest.mark.parametrize("name", ['<&">', "a\x1b]0;x\x07", "ä\ud800", "two\nlines"])
def test_names_of_a_guest_s_are_text_and_nothing_else(name: str) -> None:
    text = flamegraph.draw([Stack((Frame(name, 1, name),), "c", 1)], name)
    ElementTree.fromstring(text.encode())
    assert "\x1b" not in text and "\x07" not in text


def test_it_needs_nothing_beside_it() -> None:
    text = flamegraph.draw([Stack((MAIN,), "add", 1)], "t")
    assert re.findall(r"https?://\S+?(?=\")", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<script|href|@import|url\(", text)


def test_no_samples_are_an_empty_graph() -> None:
    assert boxes(flamegraph.draw([], "nothing")) == {}
