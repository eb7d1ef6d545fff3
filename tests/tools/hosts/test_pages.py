# SPDX-License-Identifier: MIT
"""tools/floe/hosts/pages.py: a state comes out as it went in, however it is cut, and a page goes once."""

from __future__ import annotations

import os
import random
import struct

import pytest

from floe.hosts import line, pages
from floe.hosts.line import BrokenLine
from floe.hosts.pages import PAGE, Packer, StatePacker, Unpacker

RECORD = struct.Struct(">Q")
RAM = b"\x01" + struct.pack(">I", 2) + b"\x03ram" + struct.pack(">II", 0, 4)


def state(contents: list[bytes], device: bytes = b"devices") -> bytes:
    """A migration stream as QEMU writes it: RAM's set-up, its pages (b"": zeros), and what is not RAM."""
    footer = b"\x7e" + struct.pack(">I", 2)
    blocks = RECORD.pack(len(contents) * PAGE | 4) + b"\x04pc.m" + RECORD.pack(len(contents) * PAGE) + RECORD.pack(16)
    records = b""
    for n, content in enumerate(contents):
        name = b"\x04pc.m" if n == 0 else b""
        flags = (8 if content else 2) | (0 if n == 0 else 0x20)
        records += RECORD.pack(n * PAGE | flags) + name + (content or b"\0")
    part = b"\x03" + struct.pack(">I", 2) + records + RECORD.pack(16)
    return b"QEVM\0\0\0\3" + b"\x07about" + RAM + blocks + footer + part + footer + b"\x04" + device


def carried(packer: Packer, unpacker: Unpacker, stream: bytes, cuts: random.Random) -> int:
    """Send it in pieces; how many bytes were sent."""
    sender, sent, came, at = StatePacker(packer), 0, b"", 0
    while at < len(stream):
        piece = stream[at : at + cuts.randint(1, 9000)]
        at += len(piece)
        packed = sender.pack(piece)
        sent += len(packed)
        came += unpacker.unpack(packed)
    packed = sender.rest()
    assert came + unpacker.unpack(packed) == stream
    return sent + len(packed)


def test_a_page_goes_once(seed: int = 7) -> None:
    cuts = random.Random(seed)
    packer, unpacker = Packer(), Unpacker()
    contents = [os.urandom(PAGE) if n % 3 else b"" for n in range(60)]
    known = [os.urandom(PAGE)]
    packer.seed(known)
    unpacker.seed(known)
    assert carried(packer, unpacker, state(contents), cuts) > 40 * PAGE
    contents[30], contents[31] = os.urandom(PAGE), known[0]
    assert PAGE < carried(packer, unpacker, state(contents, os.urandom(99)), cuts) < 2 * PAGE


def test_other_streams_go_as_they_are() -> None:
    cuts = random.Random(8)
    whole = state([os.urandom(PAGE) for _ in range(9)])
    broken = [whole[: cuts.randrange(len(whole))] for _ in range(20)]
    for _ in range(60):
        torn = bytearray(whole)
        torn[cuts.randrange(len(RAM) + 60)] ^= 1 << cuts.randrange(8)
        broken.append(bytes(torn))
    for stream in [b"", b"x", os.urandom(20_000), *broken]:
        carried(Packer(), Unpacker(), stream, cuts)


def test_both_sides_forget_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "KEPT", 8)
    cuts = random.Random(9)
    packer, unpacker = Packer(), Unpacker()
    some = [os.urandom(PAGE) for _ in range(12)]
    for _ in range(40):
        carried(packer, unpacker, state([cuts.choice(some) for _ in range(cuts.randint(1, 10))]), cuts)


@pytest.mark.parametrize("packed", [b"K\x05\0\0\0", b"K\xff\xff\xff\xff", b"N123", b"L\x09\0\0\0x", b"?\0\0\0\0", b"L"])
def test_what_is_no_state(packed: bytes) -> None:
    with pytest.raises(BrokenLine):
        Unpacker().unpack(packed)


def test_a_message_stands_for_no_more_than_one_may_hold() -> None:
    """Pages that came before go as five bytes each."""
    packer, unpacker = Packer(), Unpacker()
    page = os.urandom(PAGE)
    unpacker.unpack(StatePacker(packer).pack(state([page])))
    again = StatePacker(packer).pack(state([page]))
    with pytest.raises(BrokenLine, match="too long"):
        unpacker.unpack(again * (line.MAX_PAYLOAD // PAGE + 1))
