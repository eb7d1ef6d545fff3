# SPDX-License-Identifier: MIT
"""modules/resp/bits.c beside the same with CPython's numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import ROOT, Harness
from tests.c.support.port_programs import build

DATA = st.one_of(st.binary(max_size=40), st.sampled_from([bytes(30), b"\xff" * 30, bytes(20) + b"\x01" + bytes(9)]))


@pytest.fixture(scope="module")
def resp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(build(tmp_path_factory.mktemp("bits"), "commands", f"-I{ROOT}", folder="resp")) as harness:
        yield harness


@given(DATA, st.integers(0, 320), st.integers(0, 320), st.integers(0, 1))
@settings(deadline=None)
def test_count_and_find(resp: Harness, data: bytes, first: int, last: int, bit: int) -> None:
    to = min(last, len(data) * 8)
    low = min(first, to)
    bits = "".join(f"{byte:08b}" for byte in data)
    assert int(resp.do("count", data.hex() or "-", low, to)) == bits[low:to].count("1")
    at = bits.find(str(bit), low, to)
    assert int(resp.do("find", data.hex() or "-", low, to, bit)) == (to if at < 0 else at)


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
@settings(deadline=None)
def test_join(resp: Harness, data: bytes, other: bytes) -> None:
    both = list(zip(data, other, strict=False))
    for op, joined in enumerate(([a & b for a, b in both], [a | b for a, b in both], [a ^ b for a, b in both])):
        assert bytes.fromhex(resp.do("join", data.hex(), other.hex(), op)) == bytes(joined) + data[len(joined) :]
    assert bytes.fromhex(resp.do("join", data.hex(), data.hex(), 3)) == bytes(255 - byte for byte in data)
