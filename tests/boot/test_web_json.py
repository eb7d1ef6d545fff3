# SPDX-License-Identifier: MIT
"""images/web's reader of JSON bodies, run by CPython: what is no JSON is 400, and so is a number whose digits would take
MicroPython seconds to read, wherever it stands; digits in a string are text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fixtures import REPO
from tests.support.imagecode import imported

LONG = b"9" * 2001


@pytest.fixture(scope="module")
def message() -> Iterator[Any]:
    with imported(REPO / "images/web", "message") as module:
        yield module


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"1,2", b"1]", b"\xff", b"[1" * 3, LONG, b"-" + LONG, b"[%s]" % LONG, b"1." + LONG, b"1e" + LONG,
        b'{"a": "x", "b": %s}' % LONG, b'["%s", %s]' % (LONG, LONG), b'["\\"", %s]' % LONG,
        *(b" " * blanks + LONG for blanks in (1, 500, 999, 1000, 1001)), b"[" + b"1," * 500_000 + LONG + b"]",
    ],
)  # fmt: skip
def test_what_is_refused(message: Any, body: bytes) -> None:
    with pytest.raises(message.HttpError) as caught:
        message.parse_json(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "value", [1, None, {"a": ["b", 10**900]}, "9" * 10_000, ["\\" * 3, "9" * 5000, '"' + "8" * 3000], [1] * 100_000]
)
def test_what_is_taken(message: Any, value: object) -> None:
    assert message.parse_json(json.dumps(value).encode()) == value
