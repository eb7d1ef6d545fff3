# SPDX-License-Identifier: MIT
"""modules/resp/resp.c: commands in a buffer that ends where the block does, and heads; then buffers at random."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build

FUZZED = 300_000


@pytest.fixture(scope="module")
def resp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(build(tmp_path_factory.mktemp("resp"), "commands", f"-I{ROOT}", folder="resp")) as harness:
        yield harness


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def taken(h: Harness, data: bytes, at: int = 0) -> tuple[int, list[bytes]] | None:
    answer = h.do("take", data.hex() or "-", at)
    if answer == "none":
        return None
    end, *words = answer.split("\n")
    return int(end), [bytes.fromhex(word) for word in words]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20), st.binary(max_size=20), st.binary(max_size=20))
@settings(deadline=None, max_examples=60)
def test_a_command_is_taken_where_it_is_whole(resp: Harness, words: list[bytes], before: bytes, after: bytes) -> None:
    whole = command(*words)
    end = len(before) + len(whole)
    assert taken(resp, before + whole + after, len(before)) == (end, words)
    for size in {0, 1, 3, len(whole) // 2, len(whole) - 1}:
        assert taken(resp, before + whole[:size], len(before)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PING\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*\r\n",
        b"*1\n$1\r\na\r\n",
        b"*1x\r\n$1\r\na\r\n",
        b"*1048577\r\n$1\r\na\r\n",
        b"*9999999999\r\n",
        b"*18446744073709551617\r\n$1\r\na\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$\r\n\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$18446744073709551615\r\n",
        b"*2\r\n$1\r\na\r\n",
    ],
)
def test_what_has_another_form_is_left(resp: Harness, data: bytes) -> None:
    assert taken(resp, data) is None
    assert taken(resp, data, len(data)) is None and taken(resp, data, 1 << 40) is None


@pytest.mark.parametrize("number", [0, 7, 10, -1, 1234567890, 2**63 - 1, -(2**63)])
def test_heads(resp: Harness, number: int) -> None:
    assert bytes.fromhex(resp.do("head", "$", number)) == b"$%d\r\n" % number


def test_fuzz(resp: Harness) -> None:
    assert FUZZED // 10 < int(resp.do("fuzz", 11, FUZZED)) < FUZZED
