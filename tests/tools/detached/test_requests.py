# SPDX-License-Identifier: MIT
"""Requests to a keeper: what is one, and what is refused in words."""

from __future__ import annotations

import pytest

from floe.detached.requests import BadRequest, Request, read


def test_a_request_has_what_was_said() -> None:
    assert read(b'{"do": "stop", "timeout": 3, "child": "web.1"}\n') == Request(do="stop", timeout=3.0, child="web.1")
    assert read(b'{"do": "claim", "until": 12.5}') == Request(do="claim", until=12.5)
    assert read(b'{"do": "profile", "timeout": 1, "rate": 50}') == Request(do="profile", timeout=1.0, rate=50.0)


def test_what_another_version_adds_is_passed_over() -> None:
    assert read(b'{"do": "status", "more": [{"x": 1}]}') == Request(do="status")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status\n",
        b'["status"]\n',
        b'{"do": 1}',
        b'{"do": "stop", "timeout": []}',
        b'{"do": "stop", "timeout": NaN}',
        b'{"do": "stop", "timeout": 1e999}',
        b'{"do": "stop", "timeout": "5"}',
        b'{"do": "\xff"}',
        b'{"more": ' + b"[" * 20000,
    ],
)
def test_all_else_is_refused_in_words(line: bytes) -> None:
    with pytest.raises(BadRequest) as raised:
        read(line)
    assert str(raised.value)
