# SPDX-License-Identifier: MIT
"""port/libc: string.c beside the host's C library, every buffer at the end of its heap block; stdlib.c; fortify.c."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Died, Harness
from tests.c.support.port_programs import build

CHECKS = ["memcpy", "memmove", "memset", "memcmp", "memchr", "strlen", "compare", "search", "strcpy"]


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # As the port compiles it: at -O2, and without loops becoming calls of the function that they are in.
    flags = ("-O2", "-fno-builtin", "-fno-tree-loop-distribute-patterns")
    return build(tmp_path_factory.mktemp("strings"), "strings", *flags)


@pytest.fixture(scope="module")
def stdlib(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(build(tmp_path_factory.mktemp("stdlib"), "stdlib")) as harness:
        yield harness


@pytest.mark.parametrize(
    ("name", "source", "length", "room", "holds"),
    [
        ("memcpy", "wxyz", 4, 4, b"wxyz"), ("memcpy", "wxyz", 4, 3, 4), ("memmove", "wxyz", 3, 3, b"wxy"),
        ("memmove", "wxyz", 4, 3, 4), ("memset", "z", 3, 3, b"zzz"), ("memset", "z", 4, 3, 4),
        ("strcpy", "wxy", 0, 4, b"wxy\0"), ("strcpy", "wxyz", 0, 4, 5), ("strncpy", "w", 4, 4, b"w\0\0\0"),
        ("strncpy", "w", 5, 4, 5), ("strcat", "w", 0, 4, b"abw\0"), ("strcat", "wx", 0, 4, 5),
        ("snprintf", "wxyz", 4, 4, b"wxy\0"), ("snprintf", "w", 5, 4, 5),
    ],
)  # fmt: skip
def test_a_write_that_does_not_fit(
    tmp_path: Path, name: str, source: str, length: int, room: int, holds: bytes | int
) -> None:
    """holds: what the memory holds then, or how many bytes the PANIC line says were too many."""
    with Harness(build(tmp_path, "fortify", "-fno-builtin")) as h:
        if isinstance(holds, bytes):
            assert h.do(name, source, length, room) == holds.hex()
        else:
            with pytest.raises(Died, match=f"PANIC a write of {holds} bytes where {room} have room"):
                h.do(name, source, length, room)


@pytest.mark.parametrize("name", CHECKS)
def test_string(strings: Path, name: str) -> None:
    with Harness(strings) as h:
        assert h.do(name) == "ok"


def test_an_unknown_check_is_no_success(strings: Path) -> None:
    with Harness(strings) as h:
        assert h.do("strfry") == "no such check"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("-", 0),
        ("x1", 0),
        ("42abc", 42),
        (" \t\n\v\f\r+7", 7),
        ("- 1", 0),
        ("+-1", 0),
        ("0x10", 0),
        ("007", 7),
    ],
)
def test_atoi_on_odd_text(stdlib: Harness, text: str, value: int) -> None:
    assert stdlib.number("atoi", text.encode().hex() or "-") == value


@given(st.integers(-(2**31), 2**31 - 1))
@settings(deadline=None)
def test_atoi(stdlib: Harness, value: int) -> None:
    assert stdlib.number("atoi", str(value).encode().hex()) == value


@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1, -(2**31) + 1])
def test_abs(stdlib: Harness, value: int) -> None:
    assert stdlib.number("abs", value) == abs(value)


def of_doubles(h: Harness, name: str, values: list[float]) -> list[float]:
    bits = [struct.unpack("<Q", struct.pack("<d", v))[0] for v in values]
    return [struct.unpack("<d", struct.pack("<Q", n))[0] for n in h.numbers(name, *bits)]


def log2(h: Harness, values: list[float]) -> list[float]:
    return of_doubles(h, "log2", values)


def test_log2_of_every_power_of_two_is_exact(stdlib: Harness) -> None:
    exponents = list(range(-1074, 1024))
    assert log2(stdlib, [math.ldexp(1.0, e) for e in exponents]) == exponents


def test_log2_at_the_borders(stdlib: Harness) -> None:
    inf, nan, zero, negative = log2(stdlib, [math.inf, math.nan, 0.0, -1.0])
    assert (inf, zero) == (math.inf, -math.inf)
    assert math.isnan(nan)
    assert math.isnan(negative)


@given(st.floats(min_value=5e-324, allow_infinity=False))
@settings(deadline=None)
def test_log2(stdlib: Harness, value: float) -> None:
    assert log2(stdlib, [value])[0] == pytest.approx(math.log2(value), rel=1e-15, abs=1e-16)


def test_sqrt_is_rounded_correctly(stdlib: Harness) -> None:
    values = [0.0, 1.0, 2.0, 0.25, 1e-320, 1.7976931348623157e308, math.inf, *(i / 7 for i in range(300))]
    assert of_doubles(stdlib, "sqrt", values) == [math.sqrt(v) for v in values]
    assert all(math.isnan(a) for a in of_doubles(stdlib, "sqrt", [-1.0, math.nan]))
    assert math.copysign(1.0, of_doubles(stdlib, "sqrt", [-0.0])[0]) == -1.0


def test_exp_where_the_answer_is_known(stdlib: Harness) -> None:
    values = {0.0: 1.0, 1.0: math.e, -1.0: 1 / math.e, 710.0: math.inf, -746.0: 0.0}
    values |= {math.inf: math.inf, -math.inf: 0.0, 709.782712893384: math.exp(709.782712893384)}
    assert of_doubles(stdlib, "exp", list(values)) == list(values.values())
    assert math.isnan(of_doubles(stdlib, "exp", [math.nan])[0])


def test_exp_is_hardly_ever_off_by_one_unit(stdlib: Harness) -> None:
    """And never by more; near the smallest doubles too."""
    values = [-745 + i * 0.0726 for i in range(20000)] + [i * 1e-5 for i in range(-2000, 2000)]
    answers = [a for i in range(0, len(values), 400) for a in of_doubles(stdlib, "exp", values[i : i + 400])]
    off = [abs(a - math.exp(v)) / math.ulp(math.exp(v)) for a, v in zip(answers, values, strict=True)]
    assert max(off) <= 1
    assert sum(1 for n in off if n) < len(off) // 20


def test_a_read_behind_the_buffer_would_be_seen(strings: Path) -> None:
    with Harness(strings) as h, pytest.raises(Died, match="AddressSanitizer"):
        h.do("overread")
