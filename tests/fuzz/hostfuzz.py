# SPDX-License-Identifier: MIT
"""Targets in Python: what the host's side makes of bytes that a guest, a client or a file's author chose. Inputs are made of
seeds, one after the other by one seed of chance; what raises anything else than it says is a crash."""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from floe.detached.hub import Client, Hub
from floe.errors import FloeError
from floe.family.frames import BrokenFrame, Decoder, Frame
from floe.image import elf, signature
from floe.stream.logfile import BoundedLog
from floe.stream.stamps import StampFilter
from tests.fuzz import hosthttp, hostkeeper


@dataclass(frozen=True)
class HostTarget:
    """feed: does all with one input; folder: where it may write. seeds: inputs to begin with."""

    name: str
    about: str
    feed: Callable[[bytes, Path], None]
    seeds: tuple[bytes, ...]


class _FakeLink:
    """A link (floe.stream.link) whose other end is the target: it takes all at once, or nothing while `slow`."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.on_data: Callable[[bytes], None] = lambda data: None
        self.on_end: Callable[[], None] = lambda: None
        self.on_room: Callable[[], None] = lambda: None
        self.queued = self.taken = 0
        self.hung_up = False

    def send(self, data: bytes) -> None:
        self.sent += data

    def discard(self) -> int:
        return 0

    def read_now(self) -> bool:
        return True

    def resume(self) -> None: ...

    def pause(self) -> None: ...


class _FakeLoop:
    """Of an event loop what a hub asks for: nothing is ever due by itself."""

    def call_later(self, delay: float, what: Callable[..., None], *args: object) -> Any:
        class Handle:
            def cancel(self) -> None: ...

        return Handle()


class _FakeLog:
    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data


def _pieces(data: bytes) -> list[tuple[int, bytes]]:
    """An input as deeds: a byte that says which, a length, so many bytes."""
    found, at = [], 0
    while at + 1 < len(data):
        end = at + 2 + data[at + 1]
        found.append((data[at], data[at + 2 : end]))
        at = end
    return found


def _hub(data: bytes, folder: Path) -> None:
    """The console hub between a guest and clients that come and go: a client gets every byte that came while it was attached,
    and without a REPL the guest gets every byte that a client sent."""
    repl = bool(data[:1]) and data[0] % 2 == 1
    log = _FakeLog()
    hub = Hub("vm", cast(asyncio.AbstractEventLoop, _FakeLoop()), cast(BoundedLog, log), repl=repl)
    machine, client = _FakeLink(), Client(cast(Any, _FakeLink()), "somebody")
    hub.connect(cast(Any, machine))
    heard, typed, said = bytearray(), bytearray(), bytearray()
    for what, piece in _pieces(data[1:]):
        if what % 8 < 3:
            machine.on_data(piece)
            said += piece
            heard += piece if hub.client is client else b""
        elif what % 8 < 5 and hub.client is client:
            cast(Any, client.link).on_data(piece)
            typed += piece
        elif what % 8 == 5:
            hub.attach(client)
        elif what % 8 == 6:
            hub.leave(client)
        elif what % 8 == 7:
            hub.hang_up()
    hub.connect(None)
    assert cast(Any, client.link).sent == heard
    assert repl or (machine.sent == typed and log.written == said)
    assert len(log.written) <= len(said)


def _stamps(data: bytes, folder: Path) -> None:
    """The filter that takes a guest's boot times out of its output: all else passes, however it is cut."""
    filtered, out = StampFilter(), bytearray()
    for what, piece in _pieces(data):
        out += filtered.feed(piece, float(what))
    out += filtered.rest()
    whole = b"".join(piece for _, piece in _pieces(data))
    assert len(out) <= len(whole)
    assert filtered.times is not None or bytes(out) == whole


def _frames(data: bytes, folder: Path) -> None:
    """Frames of a VM's family, whole or in pieces: the same frames, or the same refusal."""

    def decoded(pieces: list[bytes]) -> tuple[list[Frame], bool]:
        decoder, found = Decoder(), []
        try:
            for piece in pieces:
                found += decoder.feed(piece)
        except BrokenFrame:
            return found, True
        return found, False

    one_by_one, broken = decoded([data[i : i + 1] for i in range(len(data))])
    whole, broken_whole = decoded([data])
    assert broken == broken_whole
    assert broken or whole == one_by_one


def _image(data: bytes, folder: Path) -> None:
    """An image that may be damaged is read, or refused in words."""
    path = folder / "image.elf"
    path.write_bytes(data)
    try:
        elf.read(path)
    except FloeError as e:
        assert str(e)


def _signature(data: bytes, folder: Path) -> None:
    """A signature beside an image, and a file of public keys: refused in words; nothing here is what that key signed."""
    said = signature._said(data)
    assert said == (b"", b"") or all(isinstance(part, bytes) for part in said)
    path = folder / "keys"
    path.write_bytes(data)
    try:
        assert signature._public_keys(path)
    except FloeError as e:
        assert str(e)


def _tiny_image() -> bytes:
    """The smallest ELF file with a PVH note and contents that are nearly an image's."""
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x200000, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    at = 64 + 2 * 56
    content = b'{"format":1,"floe":"0","name":"x","version":"0","profile":"sealed","compiler":false,"main":"x.py"}'
    content += b" " * (-len(content) % 4)
    notes = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", 0x200000)
    notes += struct.pack("<III", 5, len(content), 1) + b"Floe\0\0\0\0" + content
    notes += struct.pack("<III", 5, 32, 2) + b"Floe\0\0\0\0" + bytes(32)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x200000, 0x200000, at + len(notes), at + len(notes), 4096)
    return head + load + struct.pack("<IIQQQQQQ", 4, 4, at, at, at, len(notes), len(notes), 4) + notes


_KEY = b"AAAAC3NzaC1lZDI1NTE5AAAAIDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"
_ARMOUR = b"-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQAAAANhYmMAAAAEZmxvZQAAAAAAAAAGc2hhNTEyAAAAA3NpZw==\n-----END SSH SIGNATURE-----\n"
_RAW = b"\x00\x1braw REPL; CTRL-B to exit\r\n>"

TARGETS = {
    target.name: target
    for target in (
        HostTarget(
            "host_hub",
            "the console hub: guest, clients, log",
            _hub,
            (
                b"\x01\x05\x00\x00\x06hello\n\x03\x02\x01\r"
                + _RAW
                + b"\x03\x03\x041\x04\x00\x08OK1\r\n\x04\x04>\x06\x00",
                b"\x00\x05\x00\x00\x03abc\x03\x03xyz\x06\x00\x00\x02no\x07\x00",
            ),
        ),
        HostTarget(
            "host_stamps",
            "the filter of a guest's boot times",
            _stamps,
            (
                b'\x01\x06hello\n\x02\x2efloe: stamps {"machine": 400, "python": 5000}\n',
                b"\x02\x16floe: stamps {\rmore\r\n\n",  # was a crash: what stands behind the first \r was dropped
                b'\x02\x18floe: stamps {"python": 1'
                + b"\x02\xc8"
                + b"0" * 200
                + b"\x02\xc8"
                + b"0" * 200
                + b"\x02\x02}\n",
            ),
        ),
        HostTarget(
            "host_frames",
            "frames of a VM's family",
            _frames,
            (
                b"\x04\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0" + b"\x03\0\0\0\x0b\0\0\0\x07\0\0\0abc",
                b"\0\0\0\0\x0a\0\0\0\x07\0\0\0" + b"\x04\0\0\0\x0d\0\0\0\x07\0\0\0\0\1\0\0",
            ),
        ),
        HostTarget("host_image", "an image: its ELF structure and notes", _image, (_tiny_image(),)),
        HostTarget(
            "host_signature",
            "a signature, and a file of public keys",
            _signature,
            (_ARMOUR, b"ssh-ed25519 " + _KEY + b" me\n"),
        ),
        HostTarget("host_keeper", "requests to the keeper of a detached VM", hostkeeper.feed, hostkeeper.SEEDS),
        HostTarget("host_answers", "answers of such a keeper to a command", hostkeeper.answered, hostkeeper.ANSWERS),
        HostTarget("host_qmp", "what a QEMU says on its monitor's socket", hostkeeper.monitored, hostkeeper.QMP),
        HostTarget(
            "web_http", "requests to images/web: heads, bodies, cut anyhow", hosthttp.requested, hosthttp.REQUESTED
        ),
        HostTarget("http_client", "answers to the guest's `requests`", hosthttp.answered, hosthttp.ANSWERED),
        HostTarget("admin_http", "requests to an appliance's admin port", hosthttp.asked, hosthttp.ASKED),
    )
}


def mutated(chance: random.Random, pool: list[bytes]) -> bytes:
    """Another input, out of some that there are."""
    data = bytearray(chance.choice(pool))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        how = chance.randrange(6)
        if how == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif how == 1 and data:
            data[at % len(data)] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        elif how == 2:
            del data[at : at + chance.randint(1, 8)]
        elif how == 3:
            data[at:at] = chance.randbytes(chance.randint(1, 8))
        elif how == 4:
            other = chance.choice(pool)
            begin = chance.randrange(len(other) + 1)
            data[at:at] = other[begin : begin + chance.randint(1, 64)]
        elif at + 4 <= len(data):
            data[at : at + 4] = chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\x01\0\0\0"))
    return bytes(data[:4096])


class HostCrash(AssertionError):
    """An input that a target does not take."""

    def __init__(self, target: HostTarget, data: bytes) -> None:
        super().__init__(f"{target.name} does not take {data!r}")
        self.data = data


def run(target: HostTarget, folder: Path, *, seed: int, seconds: float, runs: int = 0) -> int:
    """Feed a target for so long, or so often; with both, to the end of the first. Returns how often; raises HostCrash, whose
    cause says what happened."""
    chance, pool, done = random.Random(f"{seed} {target.name}"), list(target.seeds), 0
    until = time.monotonic() + seconds
    while (done < runs or not runs) and (not seconds or time.monotonic() < until):
        data = target.seeds[done] if done < len(target.seeds) else mutated(chance, pool)
        try:
            target.feed(data, folder)
        except Exception as e:
            raise HostCrash(target, data) from e
        if done % 16 == 0:  # what grows out of others goes further from the seeds
            pool = [*target.seeds, *pool[len(target.seeds) :][-60:], data]
        done += 1
    return done
