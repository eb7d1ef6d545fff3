# SPDX-License-Identifier: MIT
"""What the owner of a Xen domain asks of the domain's process, in lines of JSON over the socket of its events:

    {"do": "expect", "fd": N}   be a copy of the domain whose number comes at that descriptor: EXPECTS answers
    {"do": "load", "version": V, "size": N}
                                go on from the state of so many bytes with which the process was started, of that
                                version of Xen: LOADED answers
    {"do": "run"}               the copy is there: let it run. RESUME answers

The copying itself is dom0's: control.sh."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from floe.errors import VmError
from floe.xen.arrival import DONE

_UP_S = 60.0  # from the start of the process to its first answer, on a busy machine
_RUN_S = 30.0  # xl unpause in a busy dom0
_ANSWER_MAX = 4096  # bytes


class Copying:
    """One domain's part in copying: as the one that gives or the one that takes."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        """sock: our end of the events' socket; it becomes ours."""
        self._sock = sock
        self._heard: set[str] = set()
        self._changed = asyncio.Event()
        self._over = False
        self._failure: VmError | None = None
        self.domain = ""  # its number, once it runs
        self.kept_size = 0  # bytes of the state that was kept
        self.version = ""  # of Xen, once a state was kept

    def heard(self, name: str, data: Mapping[str, Any]) -> None:
        """An event of the process's."""
        self._heard.add(name)
        if name == "RESUME":
            self.domain = str(data.get("domain", ""))
        elif name == "KEPT":
            self.kept_size, self.version = int(data["size"]), str(data["version"])
        elif name == "FAILED":
            self._failure = VmError(str(data.get("message", "")))
        self._changed.set()

    def ended(self) -> None:
        """The process has ended."""
        self._over = True
        self._changed.set()

    def close(self) -> None:
        """Nothing more is asked. May be called more than once."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    async def send(self, fd: int) -> None:
        """Have the domain copied by the process at the other end of this socket, and let it go on. Raises VmError."""
        if not self.domain:
            raise VmError("its domain is not known")
        loop = asyncio.get_running_loop()
        with socket.socket(fileno=os.dup(fd)) as sock:
            sock.setblocking(False)
            answer = b""
            try:
                await loop.sock_sendall(sock, f"{self.domain}\n".encode())
                while not answer.endswith(b"\n") and len(answer) < _ANSWER_MAX:
                    if not (data := await loop.sock_recv(sock, _ANSWER_MAX)):
                        raise VmError("the process of the copy has ended")
                    answer += data
            except OSError as e:
                raise VmError(f"the process of the copy has ended: {e.strerror}") from e
        if answer != DONE:
            raise VmError(answer.decode(errors="replace").strip())

    async def expect(self, fd: int) -> None:
        """Have the process wait at this descriptor, which it has inherited. Raises VmError."""
        await self._ask({"do": "expect", "fd": fd})
        await self._wait("EXPECTS", _UP_S)

    async def kept(self) -> None:
        """Once the other domain was sent: wait until its state is in the file. Raises VmError."""
        await self._wait("KEPT", _UP_S)

    async def load(self, size: int, version: str, deadline_s: float) -> None:
        """Have the process make its domain of the state that it was started with. Raises VmError."""
        await self._ask({"do": "load", "version": version, "size": size})
        await self._wait("LOADED", deadline_s)

    async def run(self) -> None:
        """Once the copy is there, let it run. Raises VmError."""
        await self._ask({"do": "run"})
        await self._wait("RESUME", _RUN_S)

    async def _ask(self, what: Mapping[str, object]) -> None:
        if self._sock is None:
            raise VmError("the domain's process is not there")
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, json.dumps(what).encode() + b"\n")
        except OSError as e:
            raise self._failure or VmError(f"the domain's process has ended: {e.strerror}") from e

    async def _wait(self, name: str, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                while name not in self._heard:
                    if self._failure is not None:
                        raise self._failure
                    if self._over:
                        raise VmError("the domain's process has ended")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise VmError("the domain's process does not answer") from None
