# SPDX-License-Identifier: MIT
"""port/hal/copied.c: what the host says about a copy of a running VM, and in which order its parts are told."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

SEED = bytes(range(32))
LEAST = ["pid=7", "ppid=1", f"seed={SEED.hex()}"]
REFUSED = str(-errno.EPROTO)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(build(tmp_path_factory.mktemp("copied"), "copied")) as harness:
        yield harness


def read(h: Harness, *lines: str) -> list[str]:
    return h.do("read", "\n".join(lines).encode().hex()).split("\n")


def test_the_least(shared: Harness) -> None:
    expected = ["0", "pid 7 ppid 1 wall 0 name []", SEED.hex()]
    assert read(shared, *LEAST) == expected
    assert read(shared, *LEAST, "") == expected, "a line may end in a newline"


def test_all_of_it(shared: Harness) -> None:
    lines = [*LEAST, "wall=1796000000123456789", "name=web.1", "uuid=whatever", "mac0=52:54:00:12:34:5E"]
    assert read(shared, *lines, "ip0=10.0.0.9/24,gw=10.0.0.1", "ip60=fd00::9/64", "ip7=dhcp", "place9=x") == [
        "0",
        "pid 7 ppid 1 wall 1796000000123456789 name [web.1]",
        SEED.hex(),
        "card 0 1 [10.0.0.9/24,gw=10.0.0.1] [fd00::9/64] 52540012345e",
        "card 7 0 [dhcp] [] 000000000000",
    ]


@pytest.mark.parametrize("missing", range(len(LEAST)))
def test_what_is_missing_is_refused(shared: Harness, missing: int) -> None:
    assert read(shared, *LEAST[:missing], *LEAST[missing + 1 :]) == [REFUSED]


@pytest.mark.parametrize(
    "line",
    [
        "pid=0",
        "pid=-1",
        "pid=2147483648",
        "pid=99999999999999999999999",
        "pid=",
        "ppid=1x",
        "seed=" + SEED.hex()[:-1],
        "seed=" + SEED.hex() + "00",
        "seed=" + SEED.hex()[:-1] + "g",
        "wall=9223372036854775808",
        "wall=1.5",
        "name=",
        "name=a b",
        "name=a\x00b",
        "name=" + "x" * 128,
        "mac0=52:54:00:12:34",
        "mac0=52-54-00-12-34-56",
        "mac0=53:54:00:12:34:56",
        "mac0=00:00:00:00:00:00",
        "mac8=52:54:00:12:34:56",
        "mac=52:54:00:12:34:56x",
        "ip8=dhcp",
        "ipx=dhcp",
        "ip0=",
        "no equals sign",
        "=nothing",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(shared: Harness, line: str) -> None:
    if line.startswith("mac="):  # no key of ours: passed over
        assert read(shared, *LEAST, line)[0] == "0"
    else:
        assert read(shared, *LEAST, line) == [REFUSED]


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=200)
def test_anything_is_read_or_refused(shared: Harness, text: bytes) -> None:
    """Also what is cut off anywhere: the block is exactly as long as the text, and the sanitizer looks on."""
    head = "\n".join(LEAST).encode() + b"\n"
    assert shared.do("read", (head + text).hex()).split("\n")[0] in ("0", REFUSED)
    assert shared.do("read", (text or b"=").hex()).split("\n")[0] in ("0", REFUSED)


def test_random_numbers_and_the_clock_come_first(shared: Harness) -> None:
    assert shared.do("became", "\n".join(LEAST).encode().hex()).split("\n") == ["machine 7", "above 7"]
