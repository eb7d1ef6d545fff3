# SPDX-License-Identifier: MIT
"""The frames of a running VM's network card, from now on: of a tap, whose frames may pass QEMU by, as its interface has
them (packet(7)); of all others as QEMU's filter-dump writes them into pipes, one for each way.

Once nobody has its pipe open, QEMU drops what it would write: a reader that dies does not hold the VM up. It waits for
one that has and does not read, and hears nothing on its monitor meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import socket
import struct
from collections.abc import Awaitable
from typing import Any, TypeVar

from floe.errors import VmError
from floe.qemu.qmp import Commands

HEADS = 128  # bytes of a frame: its Ethernet, IP and TCP headers are in them

Frame = tuple[bool, int, int, bytes]  # whether it comes in, ns of the source's clock, bytes that it has, the first ones

_WAYS = {True: "tx", False: "rx"}  # queues of the netdev: what it sends comes in
_PIPE = 1 << 20
_CHUNK = 1 << 16
_FILE_HEAD = 24  # begins with this
_MAGIC = struct.pack("=I", 0xA1B2C3D4)
_RECORD = struct.Struct("=4I")  # of each frame: seconds, us, bytes that are here, bytes that it had
_ALL = 0x0003  # linux/if_ether.h: ETH_P_ALL
_OUTGOING = 4  # linux/if_packet.h, and of the host's: it comes in to the guest
_PACKET, _STATISTICS, _AUXDATA = 263, 6, 8
_AUX = struct.Struct("=2I")  # tpacket_auxdata: its status, and how long the frame was
_BESIDE = 256  # bytes for both
_STAMPS_NS = 35  # SO_TIMESTAMPNS
_STAMP = struct.Struct("@2l")
_BUFFER = 8 << 20
_AT_ONCE = 20_000  # frames of a tap: they may come as fast as they are read
_CHUNKS = 2 * _PIPE // _CHUNK  # of a pipe, for the same reason
_LOOK_S = 0.01

_Answer = TypeVar("_Answer")


class Dump:
    """By QEMU."""

    seconds_apart = True  # time stamps of the two ways may differ by whole seconds

    def __init__(self, commands: Commands, card: int) -> None:
        self.lost = 0
        self._commands = commands
        self._card = card
        self._pipes: dict[bool, tuple[int, bytearray]] = {}

    async def open(self) -> None:
        """Raises VmError."""
        try:
            for way in _WAYS:
                await self._open(way)
        except BaseException:
            await self.close()
            raise

    async def _open(self, way: bool) -> None:
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._pipes[way] = (ours, bytearray())
        try:
            with contextlib.suppress(OSError):  # a user may have so many bytes in pipes
                fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE)
            with contextlib.suppress(VmError):  # of a reader that has died
                await self._ask("object-del", {"id": self._id(way)})
            lent: Any = await self._reading(self._commands.lend(theirs))
            try:
                where = {"netdev": f"net{self._card}", "queue": _WAYS[way], "file": f"/dev/fd/{lent['fd']}"}
                what = {"qom-type": "filter-dump", "id": self._id(way), "maxlen": HEADS}
                await self._ask("object-add", what | where)
            finally:
                await self._ask("remove-fd", {"fdset-id": lent["fdset-id"]})
        finally:
            os.close(theirs)

    async def _ask(self, name: str, arguments: dict[str, object]) -> object:
        return await self._reading(self._commands.ask(name, arguments))

    async def _reading(self, answer: Awaitable[_Answer]) -> _Answer:
        """It comes once there is room in our pipes. What is in them is nobody's yet, or no more."""
        asking = asyncio.ensure_future(answer)
        try:
            while not asking.done():
                self.read()
                await asyncio.wait({asking}, timeout=_LOOK_S)
            return asking.result()
        finally:
            asking.cancel()

    def _id(self, way: bool) -> str:
        return f"trace{self._card}{_WAYS[way]}"

    def read(self) -> list[Frame]:
        """Those that came since."""
        found = []
        for way, (fd, data) in self._pipes.items():
            with contextlib.suppress(BlockingIOError):
                for _ in range(_CHUNKS):
                    data += os.read(fd, _CHUNK)
            at = _FILE_HEAD if data.startswith(_MAGIC) else 0
            while len(data) >= at + _RECORD.size:
                seconds, us, size, length = _RECORD.unpack_from(data, at)
                if size > HEADS:  # asked for no such: what follows is not known to be frames
                    self.lost += 1
                    at = len(data)
                    break
                end = at + _RECORD.size + size
                if len(data) < end:
                    break
                found.append((way, (seconds * 1_000_000 + us) * 1000, length, bytes(data[at + _RECORD.size : end])))
                at = end
            del data[:at]
        return found

    async def close(self) -> None:
        """QEMU writes no more."""
        for way in self._pipes:
            with contextlib.suppress(VmError):  # it has ended
                await self._ask("object-del", {"id": self._id(way)})
        for fd, _ in self._pipes.values():  # it would tell its log of a pipe that is closed before
            os.close(fd)
        self._pipes = {}


class Tap:
    """By its interface. Raises VmError."""

    seconds_apart = False

    def __init__(self, name: str) -> None:
        self.lost = 0
        try:
            self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
        except PermissionError:
            raise VmError(f"{name} is a tap, whose packets only root may see") from None
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._sock.setsockopt(socket.SOL_SOCKET, _STAMPS_NS, 1)
            self._sock.setsockopt(_PACKET, _AUXDATA, 1)
            self._sock.bind((name, _ALL))
        except OSError as e:
            self._sock.close()
            raise VmError(f"the packets of tap {name} cannot be seen: {e.strerror}") from e

    def read(self) -> list[Frame]:
        """Those that came since."""
        found = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(_AT_ONCE):
                head, more, _, sender = self._sock.recvmsg(HEADS, _BESIDE)
                told = {kind: data for _, kind, data in more}
                seconds, ns = _STAMP.unpack(told[_STAMPS_NS])
                _, length = _AUX.unpack_from(told[_AUXDATA])
                found.append((sender[2] == _OUTGOING, seconds * 1_000_000_000 + ns, length, head))
        _, dropped = struct.unpack("=2I", self._sock.getsockopt(_PACKET, _STATISTICS, 8))  # since the last time
        self.lost += dropped
        return found

    async def close(self) -> None:
        """See no more of them."""
        self._sock.close()


async def tap_name(commands: Commands, pid: int, card: int) -> str:
    """The interface of a card that is a tap. Raises VmError."""
    said = str(await commands.ask("human-monitor-command", {"command-line": "info network"}))
    line = next((line for line in said.splitlines() if re.search(rf"\bnet{card}: ", line)), "")
    if named := re.search(r"\bifname=([^,\s]+)", line):
        return named[1]
    handed = re.search(r"\bfd=(\d+)", line)
    found = await asyncio.to_thread(_interfaces, pid)
    name = found.get(int(handed[1]), "") if handed else next(iter(found.values())) if len(found) == 1 else ""
    if not name:
        raise VmError(f"QEMU does not say which tap net{card} has", evidence=line.strip())
    return name


def _interfaces(pid: int) -> dict[int, str]:
    """Taps that a process has open, by its descriptors (proc(5): fdinfo)."""
    found = {}
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fdinfo"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
                if named := re.search(r"^iff:\s*(\S+)", file.read(), re.MULTILINE):
                    found[int(number)] = named[1]
    return found
