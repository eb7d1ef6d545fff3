# SPDX-License-Identifier: MIT
"""modules/resp/resp.c: commands in a buffer that ends where the block does, and heads; beside the reader in Python that
says what is wrong; then buffers at random."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build
from tests.support.imagecode import imported

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
        b"*01\r\n$1\r\na\r\n",
        b"*1\r\n$01\r\na\r\n",
        b"*1\r\n$00\r\n\r\n",
        b"*+1\r\n$1\r\na\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$-0\r\n\r\n",
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


@pytest.fixture(scope="module")
def slow() -> Iterator[Any]:
    """images/redis/resp.py without its native help."""
    native = ModuleType("_resp")
    native.__dict__.update(bulk=None, bulks=None, integer=None, more=lambda data, at, *_: at)
    with imported(ROOT / "images/redis", "resp", {"_resp": native}) as module:
        yield module


_NUMBERS = st.sampled_from(
    [b"0", b"1", b"2", b"3", b"4", b"10", b"00", b"01", b"-0", b"-1", b"+1", b"", b"1 ", b"1048577"]
)
_HEADS = st.tuples(
    st.sampled_from([b"*", b"$", b"$", b":"]), _NUMBERS, st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"])
)
_PIECES = st.one_of(_HEADS.map(b"".join), st.sampled_from([b"a", b"ab\r\n", b"\r\n", b"$3\r\nabc\r\n", b"$0\r\n\r\n"]))


@given(st.integers(1, 4), st.lists(_PIECES, max_size=6), st.binary(max_size=4))
@settings(deadline=None, max_examples=2000)
def test_beside_the_slow_reader(resp: Harness, slow: Any, count: int, pieces: list[bytes], end: bytes) -> None:
    """What either takes as an array that is not empty the other takes, too, with the same arguments and end."""
    for head in (b"", b"*%d\r\n" % count):
        data = head + b"".join(pieces) + end
        if data[:1] != b"*":
            assert taken(resp, data) is None
            continue
        try:
            words, behind, _ = slow.Reader().read(data, 0)
        except slow.ProtocolError:
            words = None
        assert taken(resp, data) == ((behind, words) if words else None), data


def test_fuzz(resp: Harness) -> None:
    assert FUZZED // 10 < int(resp.do("fuzz", 11, FUZZED)) < FUZZED
