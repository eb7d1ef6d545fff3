# SPDX-License-Identifier: MIT
"""port/libc/decimal.c: doubles as decimal text and back, beside CPython's."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from decimal import Decimal, localcontext

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

ALL = 2000
POSITIVE = st.integers(0, 0x7FEF << 48 | 0xFFFFFFFFFFFF).map(
    lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]
)


@pytest.fixture(scope="module")
def decimal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(build(tmp_path_factory.mktemp("decimal"), "decimal")) as harness:
        yield harness


def value(h: Harness, text: str) -> tuple[int, float] | None:
    answer = h.do("value", text.encode().hex() or "-")
    if answer == "none":
        return None
    end, bits = map(int, answer.split())
    return end, struct.unpack("<d", struct.pack("<Q", bits))[0]


def digits(h: Harness, x: float, count: int, decimals: int = ALL) -> tuple[int, str]:
    power, text = h.do("digits", struct.unpack("<Q", struct.pack("<d", x))[0], count, decimals).split()
    return int(power), text


@given(POSITIVE)
@example(2.0**-44)  # the nearest number of 16 digits is another double
@example(5e-324)
@example(math.nextafter(math.inf, 0))
@settings(deadline=None)
def test_as_few_digits_as_give_the_double_back(decimal: Harness, x: float) -> None:
    power, text = digits(decimal, x, 0)
    assert Decimal(f"{text[0]}.{text[1:]}e{power}") == Decimal(repr(x))


@given(POSITIVE, st.integers(1, 40))
@settings(deadline=None)
def test_so_many_digits(decimal: Harness, x: float, count: int) -> None:
    mantissa, _, power = f"{x:.{count - 1}e}".partition("e")
    assert digits(decimal, x, count) == (int(power), mantissa.replace(".", "").ljust(40, "0"))


@given(st.floats(0, 1e15), st.integers(0, 20))
@example(0.5, 0)
@example(9.5, 0)
@example(0.006, 2)
@example(99.996, 2)
@settings(deadline=None)
def test_so_many_decimals(decimal: Harness, x: float, decimals: int) -> None:
    power, text = digits(decimal, x, 40, decimals)
    assert Decimal(f"{text[0]}.{text[1:]}e{power}") == Decimal(f"{x:.{decimals}f}")


@given(POSITIVE)
@settings(deadline=None)
def test_between_two_doubles_the_even_one(decimal: Harness, x: float) -> None:
    with localcontext() as context:
        context.prec = ALL
        half = (
            (Decimal(x) + Decimal(math.nextafter(x, math.inf))) / 2 if x < math.nextafter(math.inf, 0) else Decimal(x)
        )
        least = Decimal("1e-1990")
        texts = [format(half, "f"), format(half + least, "f"), format(half - least, "f"), f"{half:e}"]
    assert [value(decimal, text) for text in texts] == [(len(text), float(text)) for text in texts]


TEXTS = [
    *("0", "1e400", "1e-400", "1e99999999999", "0e99999999999", "1_0.5_0e0_1", "1.", ".5", "9" * 800),
    *("1.797693134862315808e308", "2.47032822920623272088284396434110686183e-324"),
    *("0." + "0" * 400 + "1e401", "1" + "0" * 400 + "E-400"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_value(decimal: Harness, text: str) -> None:
    assert value(decimal, text) == (len(text), float(text))


@pytest.mark.parametrize(
    ("text", "answer"), [(t, (0, 0)) for t in ("", ".", "e5", "_", "j")] + [("1e", None), ("1e+", None)]
)
def test_no_number(decimal: Harness, text: str, answer: tuple[int, float] | None) -> None:
    assert value(decimal, text) == answer


@pytest.mark.parametrize(("text", "end"), [("1x", 1), ("1.2.3", 3), ("1e5.0", 3), ("1e5e5", 3), ("1 ", 1), ("2j", 1)])
def test_what_is_no_number_ends_it(decimal: Harness, text: str, end: int) -> None:
    assert value(decimal, text) == (end, float(text[:end]))
