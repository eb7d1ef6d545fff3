# SPDX-License-Identifier: MIT
"""Frames from which floe serve sees that a guest listens (tools/floe/serve/packets.py). With a guest: test_service.py."""

from __future__ import annotations

import asyncio
import os
import struct

import pytest

from floe.serve.packets import Ear, accepting

GATEWAY, GUEST = b"\x52\x55\x0a\x00\x02\x02", b"\x52\x54\x00\x12\x34\x56"
SYN, SYN_ACK, RST_ACK, ACK = 0x02, 0x12, 0x14, 0x10
FILE_HEAD = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65536, 1)


def tcp(flags: int, port: int = 80, *, to: bytes = GATEWAY, by: bytes = GUEST, options: bytes = b"") -> bytes:
    """A frame of Ethernet II, IPv4 (RFC 791, with `options` in its header) and TCP (RFC 9293)."""
    head = 5 + len(options) // 4
    ip = struct.pack(">BBHHHBBH4s4s", 4 << 4 | head, 0, head * 4 + 20, 0, 0, 64, 6, 0, b"\x0a\0\2\x0f", b"\x0a\0\2\2")
    return to + by + b"\x08\x00" + ip + options + struct.pack(">HHIIBBHHH", port, 40_000, 1, 2, 5 << 4, flags, 9, 0, 0)


def record(frame: bytes, cut: int = 128) -> bytes:
    return struct.pack("=IIII", 1, 2, min(cut, len(frame)), len(frame)) + frame[:cut]


@pytest.mark.parametrize(
    ("frame", "port"),
    [
        (tcp(SYN_ACK), 80),
        (tcp(SYN_ACK, 65535), 65535),
        (tcp(SYN_ACK, options=b"\x94\x04\0\0"), 80),
        (tcp(RST_ACK), 0),  # it refuses
        (tcp(SYN), 0),  # it connects itself
        (tcp(ACK), 0),
        (tcp(SYN_ACK, to=GUEST, by=GATEWAY), 0),  # somebody else accepts it
        (tcp(SYN_ACK).replace(b"\x08\x00", b"\x86\xdd", 1), 0),
        (tcp(SYN_ACK)[:47], 0),
        (tcp(SYN_ACK)[:20], 0),
        (b"", 0),
    ],
)
def test_who_accepts(frame: bytes, port: int) -> None:
    assert accepting(frame) == port


def heard(pieces: list[bytes]) -> tuple[int, list[int], bool]:
    """Frames of the guest's, ports that accepted, and whether the ear has closed itself, after these writes."""

    async def listen() -> tuple[int, list[int], bool]:
        ear = Ear(asyncio.get_running_loop())
        frames, accepted = [], []
        ear.on_frame = lambda: frames.append(1)
        ear.on_listens = accepted.append
        for piece in pieces:
            os.write(ear.theirs, piece)
            ear.hear()
        closed = ear.theirs < 0
        ear.close()
        ear.close()
        return len(frames), accepted, closed

    return asyncio.run(listen())


@pytest.mark.parametrize("size", [1, 7, 24, 1000])
def test_frames_come_in_pieces(size: int) -> None:
    arp = b"\xff" * 6 + GUEST + b"\x08\x06" + bytes(28)
    frames = [arp, tcp(SYN, to=GUEST, by=GATEWAY), tcp(RST_ACK), tcp(SYN_ACK, 443) + bytes(1000), tcp(SYN_ACK)]
    data = FILE_HEAD + b"".join(map(record, frames))
    assert heard([data[at : at + size] for at in range(0, len(data), size)]) == (4, [443, 80], False)


def test_what_is_no_record_is_the_end() -> None:
    assert heard([FILE_HEAD + struct.pack("=IIII", 1, 2, 1 << 30, 1 << 30) + record(tcp(SYN_ACK))]) == (0, [], True)


def test_the_other_end_closes() -> None:
    async def listen() -> bool:
        ear = Ear(asyncio.get_running_loop())
        os.write(ear.theirs, FILE_HEAD + record(tcp(SYN_ACK))[:-1])
        ear.lent()
        accepted: list[int] = []
        ear.on_listens = accepted.append
        ear.hear()
        return accepted == []

    assert asyncio.run(listen())
