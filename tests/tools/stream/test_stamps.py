# SPDX-License-Identifier: MIT
"""stamps.py: the guest's line is taken out wherever the stream is cut, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floe.stream.stamps import BootTimes, StampFilter

LINE = b'floe: stamps {"machine": 400, "python": 5000}\n'


@given(st.data())
def test_every_cut_of_the_stream_gives_the_same(data: st.DataObject) -> None:
    stream = b"early\n" + LINE + b"floe: st\nhello"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    stamps = StampFilter()
    shown = b"".join(stamps.feed(stream[a:b], 30.0) for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True))
    assert shown + stamps.rest() == b"early\nfloe: st\nhello"
    assert stamps.times == BootTimes(25.0, 30.0)


@given(st.binary())
def test_what_is_not_ours_passes_unchanged(stream: bytes) -> None:
    stamps = StampFilter()
    shown = b"".join(stamps.feed(stream[i : i + 3], 0.0) for i in range(0, len(stream), 3)) + stamps.rest()
    assert shown == stream


def test_a_line_that_only_looks_like_ours_is_shown() -> None:
    for line in (b"floe: stamps {}\n", b"floe: stamps [1]\n", b"floe: stamps nonsense\n", b"say floe: stamps {}\n"):
        stamps = StampFilter()
        assert stamps.feed(line, 1.0) + stamps.rest() == line
        assert stamps.times is None


@pytest.mark.parametrize(
    "text",
    [
        b'{"python": 1' + b"0" * 400 + b"}",
        b'{"python": 1e999}',
        b'{"python": NaN}',
        b'{"python": -Infinity, "a": 1}',
        b"[" * 100_000,
    ],
    ids=["number", "exponent", "nan", "infinity", "depth"],
)
def test_what_a_guest_writes_there_is_not_trusted(text: bytes) -> None:
    line = b"floe: stamps " + text + b"\n"
    stamps = StampFilter()
    assert stamps.feed(line, 1.0) + stamps.rest() == line
    assert stamps.times is None


def test_a_line_without_an_end_is_not_held_back_for_ever() -> None:
    stamps = StampFilter()
    shown = stamps.feed(b"floe: stamps ", 1.0) + b"".join(stamps.feed(b"x" * 100, 1.0) for _ in range(50))
    assert len(shown) == 13 + 5000
    assert stamps.feed(b"\n" + LINE, 30.0) == b"\n"


@pytest.mark.parametrize("line", [b"floe: stamps 1\rmore\n", b"floe: stamps {\r\r\nmore"])
def test_a_carriage_return_ends_no_line(line: bytes) -> None:
    stamps = StampFilter()
    assert stamps.feed(line, 1.0) + stamps.rest() == line


def test_only_the_first_is_taken() -> None:
    stamps = StampFilter()
    assert stamps.feed(LINE + LINE, 9.0) == LINE


def test_text_names_what_was_seen() -> None:
    assert BootTimes(1.25, 2.0).text() == "boot, ms since QEMU was started: kernel entry 1.2, first Python line 2.0"
    assert BootTimes(1.0, 2.0, 3.0).text().endswith("first byte served 3.0")
    assert BootTimes(1.0).as_dict()["first_byte"] is None
