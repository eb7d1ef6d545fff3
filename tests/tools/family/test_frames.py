# SPDX-License-Identifier: MIT
"""tools/floe/family/frames.py: what a guest sends, whole, in pieces and broken."""

from __future__ import annotations

import struct

import pytest

from floe.family.frames import BrokenFrame, Decoder, Frame, Kind, encode, numbers

SENT = [
    Frame(Kind.HELLO, 0, b"\1\0\0\0"),
    Frame(Kind.PIPE, 0x10001),
    Frame(Kind.WRITE, 0x10001, b"x" * 16384),
    Frame(Kind.KILL, 0, numbers(2, 15)),
]


@pytest.mark.parametrize("size", [1, 11, 12, 13, 1 << 20])
def test_frames_in_pieces(size: int) -> None:
    data = b"".join(encode(frame.kind, frame.payload, frame.channel) for frame in SENT)
    decoder = Decoder()
    found = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
    assert found == SENT


def test_the_bytes_of_a_frame() -> None:
    assert encode(Kind.TAKEN, b"\1\2\3\4", 0x20003) == bytes.fromhex("04000000 0c 00 0000 03000200 01020304")
    assert numbers(-11, 2) == bytes.fromhex("f5ffffff 02000000")


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ((4, 0, 0, 0, 0), "kind 0"),
        ((4, 200, 0, 0, 0), "kind 200"),
        ((4, Kind.RESULT, 0, 0, 0), f"kind {int(Kind.RESULT)}"),  # a host's
        ((3, Kind.HELLO, 0, 0, 0), "HELLO with 3 bytes"),
        ((16385, Kind.WRITE, 0, 0, 1), "WRITE with 16385 bytes"),
        ((1 << 31, Kind.WRITE, 0, 0, 1), "WRITE with"),
        ((4, Kind.HELLO, 1, 0, 0), "bits that mean nothing"),
        ((4, Kind.HELLO, 0, 256, 0), "bits that mean nothing"),
        ((4, Kind.HELLO, 0, 0, 7), "HELLO on channel 7"),
        ((4, Kind.READ, 0, 0, 0), "READ on channel 0"),
    ],
)
def test_what_is_no_frame_is_known_by_its_head(head: tuple[int, ...], problem: str) -> None:
    with pytest.raises(BrokenFrame, match=problem):
        Decoder().feed(struct.pack("<IBBHI", *head))
