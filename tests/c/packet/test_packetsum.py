# SPDX-License-Identifier: MIT
"""modules/packet/packetsum.c: a checksum that was mended is the one that a whole sum gives."""

from __future__ import annotations

import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.c.packet.flowpackets import ones_sum
from tests.c.support.harness import Harness

PLAIN, UDP, PARTIAL = 0, 1, 2


def change(h: Harness, data: bytes, at: int, new: bytes, kind: int) -> tuple[bytes, int, int]:
    """data begins with its checksum, which is mended for what is put at `at`."""
    changed, sums = h.do("change", data.hex(), at, new.hex() or "-", 0, kind).splitlines()
    first, second = map(int, sums.split())
    return bytes.fromhex(changed), first, second


def written(total: int, kind: int) -> int:
    """The field of a sum."""
    if kind == PARTIAL:
        return total
    return 0xFFFF if kind == UDP and total == 0xFFFF else 0xFFFF - total


@given(
    st.binary(min_size=2, max_size=64),
    st.integers(0, 31),
    st.binary(max_size=32),
    st.sampled_from([PLAIN, UDP, PARTIAL]),
)
@example(b"\0\1", 0, b"\0\1", PLAIN)
@example(b"\xff\xff\0\0", 1, b"\0\0\0\0", UDP)
@settings(deadline=None, max_examples=1000)
def test_as_a_whole_sum(h: Harness, body: bytes, place: int, new: bytes, kind: int) -> None:
    body = body[: len(body) & ~1]
    if not any(body):
        body = b"\0\1"  # a sum of nothing but zeros is no packet's: addresses, lengths or versions are in it
    at = 2 * place % len(body)
    new = new[: (len(body) - at) & ~1]
    new = new[: len(new) & ~1]
    after = body[:at] + new + body[at + len(new) :]
    if not any(after):
        return
    data = struct.pack(">H", written(ones_sum(body), kind)) + body
    changed, _, _ = change(h, data, 2 + at, new, kind)
    assert changed[2:] == after
    found = struct.unpack(">H", changed[:2])[0]
    if kind == PARTIAL:
        assert found % 0xFFFF == ones_sum(after) % 0xFFFF  # 0 and 0xffff are one number to who goes on adding
    else:
        assert found == written(ones_sum(after), kind)


def test_what_mending_changes_is_told(h: Harness) -> None:
    """So a sum over both, as ICMP's over a quoted packet, is mended by both changes."""
    inner = struct.pack(">H4H", 0xFFFF - ones_sum(struct.pack(">4H", 1, 2, 3, 4)), 1, 2, 3, 4)
    changed, first, second = change(h, inner, 2, struct.pack(">H", 0xBEEF), PLAIN)
    outer = ones_sum(inner) + first + second
    assert outer % 0xFFFF == ones_sum(changed) % 0xFFFF


def test_no_udp_checksum_stays_none(h: Harness) -> None:
    assert change(h, bytes(2) + b"abcd", 2, b"xyzt", UDP)[0] == bytes(2) + b"xyzt"


def test_a_sum_of_zero_is_written_as_ones_in_udp_alone(h: Harness) -> None:
    data = struct.pack(">HH", 0xFFFF - 0x1234, 0x1234)
    assert change(h, data, 2, b"\xff\xff", UDP)[0] == b"\xff\xff\xff\xff"
    assert change(h, data, 2, b"\xff\xff", PLAIN)[0] == b"\0\0\xff\xff"


def test_siphash(h: Harness) -> None:
    """SipHash-1-3 by its description; the same code with 2 and 4 rounds gives the vector of the paper's appendix A."""

    def rounds(v: list[int], count: int) -> None:
        def rotl(x: int, n: int) -> int:
            return (x << n | x >> (64 - n)) % 2**64

        for _ in range(count):
            v[0] = (v[0] + v[1]) % 2**64
            v[1] = rotl(v[1], 13) ^ v[0]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) % 2**64
            v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) % 2**64
            v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) % 2**64
            v[1] = rotl(v[1], 17) ^ v[2]
            v[2] = rotl(v[2], 32)

    def siphash(key: tuple[int, int], data: bytes, each: int, last: int) -> int:
        v = [a ^ b for a, b in zip(key * 2, struct.unpack(">4Q", b"somepseudorandomlygeneratedbytes"), strict=True)]
        data += bytes(7 - len(data) % 8) + bytes([len(data) % 256])
        for (m,) in struct.iter_unpack("<Q", data):
            v[3] ^= m
            rounds(v, each)
            v[0] ^= m
        v[2] ^= 0xFF
        rounds(v, last)
        return v[0] ^ v[1] ^ v[2] ^ v[3]

    key = struct.unpack("<2Q", bytes(range(16)))
    assert siphash(key, bytes(range(15)), 2, 4) == 0xA129CA6149BE45E5
    h.do("init", 1, *key)
    for words in ([], [1], [2**64 - 1, 5], [3, 1, 4, 1, 5]):
        assert h.number("hash", *words) == siphash(key, struct.pack(f"<{len(words)}Q", *words), 1, 3)
