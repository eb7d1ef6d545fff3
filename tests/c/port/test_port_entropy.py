# SPDX-License-Identifier: MIT
"""port/hal/entropy.c: ChaCha20 against RFC 8439, and what a generator owes its users."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.support.harness import Harness
from tests.c.support.port_programs import build

SEED = bytes(range(32))
# RFC 8439, 2.3.2: key 00..1f, counter 1, nonce 000000090000004a00000000.
RFC_2_3_2 = (
    "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
    "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
)
# RFC 8439, A.1, test vector 1: key, counter and nonce are zero.
RFC_A1_1 = (
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("entropy"), "entropy")


@pytest.fixture(scope="module")
def shared(program: Path) -> Iterator[Harness]:
    with Harness(program) as harness:
        yield harness


def chacha20(key: bytes, last_row: bytes) -> bytes:
    """One block, written from RFC 8439, 2.1 to 2.3; last_row: the words for counter and nonce."""
    state = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), *struct.unpack("<4I", last_row)]
    work = list(state)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, shift in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            work[x] = (work[x] + work[y]) & 0xFFFFFFFF
            mixed = work[z] ^ work[x]
            work[z] = (mixed << shift | mixed >> (32 - shift)) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((s + w) & 0xFFFFFFFF for s, w in zip(state, work, strict=True)))


def get(h: Harness, n: int) -> tuple[bool, bytes]:
    answer = h.do("get", n).split("\n")
    return answer[0] == "1", bytes.fromhex(answer[1] if len(answer) > 1 else "")


def test_the_reference_is_the_rfc_s() -> None:
    row = bytes.fromhex("01000000" + "000000090000004a00000000")
    assert chacha20(bytes(range(32)), row).hex() == RFC_2_3_2


def test_block_of_the_rfc(h: Harness) -> None:
    assert h.do("block", "00" * 32, 0) == RFC_A1_1


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1))
@settings(deadline=None, max_examples=50)
def test_block(shared: Harness, key: bytes, counter: int) -> None:
    assert bytes.fromhex(shared.do("block", key.hex(), counter)) == chacha20(key, struct.pack("<QQ", counter, 0))


@pytest.mark.parametrize("feed", ["", "init 123 456", "add 00112233445566778899aabbccddee"])
def test_without_a_seed_there_is_nothing(h: Harness, feed: str) -> None:
    """Neither silence, nor the clock, nor fifteen bytes make a seed."""
    if feed:
        h.do(feed)
    assert get(h, 100) == (False, bytes(100))


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 64, 65, 1000])
def test_every_length(h: Harness, n: int) -> None:
    h.do("add", SEED.hex())
    ok, data = get(h, n)
    assert ok and len(data) == n
    if n >= 16:
        assert data.count(0xAA) < n // 2  # the harness fills the buffer with it beforehand
        assert get(h, n)[1] != data


def test_same_seed_same_stream_other_seed_another(program: Path) -> None:
    streams = []
    for feed in (
        ["add " + SEED.hex()],
        ["add " + SEED.hex()],
        ["add " + SEED[::-1].hex()],
        ["init 1 2", "add " + SEED.hex()],
    ):
        with Harness(program) as h:
            for command in feed:
                h.do(command)
            streams.append(get(h, 64)[1])
    assert streams[0] == streams[1]
    assert len(set(streams)) == 3


@pytest.mark.parametrize("extra", [b"\0", b"x", bytes(64), bytes(33)])
def test_adding_changes_what_follows(program: Path, extra: bytes) -> None:
    """Also zeros, and also the last byte of a long input."""
    with Harness(program) as with_it, Harness(program) as without:
        with_it.do("add", SEED.hex())
        without.do("add", SEED.hex())
        with_it.do("add", extra.hex())
        assert get(with_it, 32)[1] != get(without, 32)[1]
        assert get(with_it, 1)[0]


def test_earlier_output_cannot_be_computed_from_the_key(h: Harness) -> None:
    h.do("add", SEED.hex())
    before = bytes.fromhex(h.do("key"))
    _, data = get(h, 32)
    after = bytes.fromhex(h.do("key"))
    assert before != after
    assert after != data  # what was given out is not what comes next


def test_bytes_are_even(h: Harness) -> None:
    """Chi-square over 256 values and 64 KiB: 255 degrees of freedom, mean 255, deviation 22.6; five of them allowed."""
    h.do("add", SEED.hex())
    _, data = get(h, 65536)
    counts = Counter(data)
    expected = len(data) / 256
    chi_square = sum((counts[b] - expected) ** 2 / expected for b in range(256))
    assert 142 < chi_square < 368


# ---- health of the sources (NIST SP 800-90B, 4.4) --------------------------------------------------------------------

SOURCES = {"RDSEED": 0, "RDRAND": 1, "device": 2}
WINDOW, SAMPLE = 512, 8


def good(n: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(n * SAMPLE)


BAD = {  # what a source gives, which repeats itself somewhere
    "zeros": bytes(16),
    "ones": b"\xff" * 64,
    "one word": b"\x01\x02\x03\x04\x05\x06\x07\x08" * 8,
    "the last word twice": good(7) + good(7)[-SAMPLE:],
    "sixteen bytes in turn": good(2) * 4,
    "the same at each request": good(8) * 2,
    "the end of a window": (whole := good(WINDOW - 1)) + whole[:SAMPLE],
    "the second window": good(WINDOW) + (other := good(3, 2)) + other[:SAMPLE],
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", BAD)
def test_a_source_that_repeats_itself_is_no_seed(h: Harness, source: str, name: str) -> None:
    """And stays none, which is said once; what the others give is."""
    number = SOURCES[source]
    said = h.do("noise", number, BAD[name].hex())
    assert said == f"entropy: {source} repeats itself: no seed"
    assert h.do("noise", number, good(8, 3).hex()) == ""
    assert h.do("noise", number, BAD[name].hex()) == ""
    assert get(h, 16) == (False, bytes(16))
    assert h.do("noise", (number + 1) % len(SOURCES), good(8, 4).hex()) == ""
    assert get(h, 16)[0]


@pytest.mark.parametrize("source", SOURCES)
def test_a_good_source_stays_one(h: Harness, source: str) -> None:
    """Windows without number; a repetition that is not of the window's first sample, nor at once, may happen."""
    number, data = SOURCES[source], good(3 * WINDOW, 5)
    assert h.do("noise", number, (data + data[SAMPLE * WINDOW : SAMPLE * (WINDOW + 1)]).hex()) == ""
    assert get(h, 16)[0]


def test_the_window_begins_anew(h: Harness) -> None:
    data = good(WINDOW)
    assert h.do("noise", 2, data.hex()) == ""
    assert h.do("noise", 2, (good(1, 6) + data[:SAMPLE]).hex()) == ""


def test_across_requests(h: Harness) -> None:
    data = good(8)
    assert h.do("noise", 2, data.hex()) == ""
    assert get(h, 16)[0]
    assert h.do("noise", 2, (data[-SAMPLE:] + good(7, 7)).hex()) == "entropy: device repeats itself: no seed"
    assert get(h, 16)[0]  # what it was fed before is good


def test_what_is_no_seed_is_mixed_in_all_the_same(program: Path) -> None:
    streams = []
    for data in (bytes(64), b"\1" * 64):
        with Harness(program) as h:
            h.do("noise", 2, data.hex())
            h.do("add", SEED.hex())
            streams.append(get(h, 32)[1])
    assert streams[0] != streams[1]


@pytest.mark.parametrize("n", [0, 7, 15])
def test_too_little_noise_is_no_seed(h: Harness, n: int) -> None:
    assert h.do("noise", 2, good(2)[:n].hex()) == ""
    assert get(h, 16) == (False, bytes(16))


@pytest.mark.parametrize(
    ("rdseed", "rdrand", "seeded", "said"),
    [
        (b"", b"", False, ""),
        (good(8), b"", True, ""),
        (b"", good(8), True, ""),
        (good(1), good(8, 2), True, ""),
        (bytes(64), good(8), True, "entropy: RDSEED repeats itself: no seed"),
        (b"", b"\xff" * 64, False, "entropy: RDRAND repeats itself: no seed"),
        (
            bytes(64),
            bytes(64),
            False,
            "\n".join(f"entropy: {name} repeats itself: no seed" for name in list(SOURCES)[:2]),
        ),
    ],
)
def test_the_processor_s_words(h: Harness, rdseed: bytes, rdrand: bytes, seeded: bool, said: str) -> None:
    """One instruction stands in for the other that has nothing, or is stuck: as on processors after a suspend."""
    h.do("cpu", 0, rdseed.hex())
    h.do("cpu", 1, rdrand.hex())
    assert h.do("init", 1, 2) == said
    assert get(h, 16)[0] == seeded


def test_copies_with_one_seed_differ(program: Path) -> None:
    """The host's mistake; the processor gives each of them words of its own."""
    streams = []
    for number in (2, 3):
        with Harness(program) as h:
            h.do("add", SEED.hex())
            h.do("cpu", 0, good(8, number).hex())
            assert h.do("copied") == ""
            streams.append(get(h, 32)[1])
    assert streams[0] != streams[1]
