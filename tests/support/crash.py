# SPDX-License-Identifier: MIT
"""What may be on a littlefs disk whose VM was killed while guest_crash.py wrote: the operations, known on both sides,
and the judge of an image. An operation that was acknowledged is there; one that was not has happened or has not."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from littlefs import LittleFS, LittleFSError, UserContext

from tests.support import writelog

SLOTS = 12
AHEAD = 400  # operations the guest can be ahead of what its console has told us
_ACK = re.compile(r"^ack (\d+) (\d+)$", re.MULTILINE)


def slot_of(k: int) -> int:
    return k * 7 % SLOTS


def path_of(slot: int) -> str:
    return f"/d/{slot}" if slot % 2 else f"/{slot}"


def content(k: int) -> bytes | None:
    """What operation k leaves in its slot; None: no file."""
    if k * 11 % 5 == 4:
        return None
    seed = k * 2654435761 & 0xFFFFFFFF
    return b"%08d" % k + bytes(seed >> i & 0xFF for i in range(24)) * (seed % 300)


def acks(console: str) -> list[tuple[int, int]]:
    """(operation, flushes so far) for each acknowledged operation. The last line counts only when it is whole."""
    whole = console[: console.rfind("\n") + 1]
    return [(int(k), int(flushes)) for k, flushes in _ACK.findall(whole)]


def mounted(image: bytes, block_size: int) -> LittleFS:
    return LittleFS(UserContext(buffer=bytearray(image)), block_size=block_size, block_count=len(image) // block_size)


def state(fs: LittleFS) -> dict[int, bytes | None]:
    """What each slot holds."""
    found: dict[int, bytes | None] = {}
    for slot in range(SLOTS):
        try:
            with fs.open(path_of(slot), "rb") as f:
                found[slot] = f.read()
        except FileNotFoundError:
            found[slot] = None
    return found


def allowed(slot: int, acked: int, ahead: int = AHEAD) -> Iterator[bytes | None]:
    """What a slot may hold when all operations up to `acked` were acknowledged (-1: none)."""
    last = next((k for k in range(acked, -1, -1) if slot_of(k) == slot), None)
    yield None if last is None else content(last)
    empty = last is None or content(last) is None
    for k in range(acked + 1, acked + 1 + ahead):
        if slot_of(k) == slot:
            if empty:
                yield b""  # littlefs makes the name first
            yield content(k)
            empty = content(k) is None


def faults(image: bytes, acked: int, block_size: int = 4096, *, ahead: int = AHEAD) -> list[str]:
    """What is wrong with an image; nothing, if littlefs and this driver keep their promise."""
    try:
        found = state(mounted(image, block_size))
    except (LittleFSError, OSError) as e:
        return [f"littlefs: {e!r}"]
    wrong = []
    for slot, data in found.items():
        if data not in allowed(slot, acked, ahead):
            shown = "no file" if data is None else f"{len(data)} bytes, {data[:8]!r}"
            wrong.append(f"slot {slot} holds {shown} with all up to {acked} acknowledged")
    return wrong


def judge(entries: list[writelog.Entry], acks: list[tuple[int, int]], size: int, seed: int) -> None:
    """Fails unless every image that a power failure may leave keeps the promise: between two flushes writes may be
    lost, reordered and torn at sectors."""
    assert acks[-1][1] <= sum(entry.data is None for entry in entries)
    checked = 0
    for done, image in writelog.crashes(entries, size, random.Random(seed), each=4):
        acked = max((k for k, after in acks if after <= done), default=-1)
        if acked >= 0:
            checked += 1
            assert faults(image, acked, ahead=4) == [], f"after {done} flushes, seed {seed}"
    assert checked > 4 * len(acks)
