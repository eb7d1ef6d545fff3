# SPDX-License-Identifier: MIT
"""The process of a domain that is made of another one: where it hears of which, and tells how that went."""

from __future__ import annotations

import contextlib
import select
import socket

from floe.errors import VmError

DONE = b"done\n"  # any other line says why not
_LINE_MAX = 64  # bytes of the number of a domain


class Arrival:
    """The socket to whoever has the other domain."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._line = b""

    def expect(self, fd: int) -> None:
        """From here on; the descriptor, which was inherited, becomes ours."""
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(False)

    def fileno(self) -> int:
        """What to poll; -1 while there is nothing to wait for."""
        return self._sock.fileno() if self._sock is not None and not self._line.endswith(b"\n") else -1

    def turn(self) -> int | None:
        """After poll() named us: the number of the domain, once all of it is here. Raises VmError."""
        assert self._sock is not None
        try:
            data = self._sock.recv(_LINE_MAX)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self._line += data
        if not data or len(self._line) > _LINE_MAX:
            raise VmError("nobody says which domain is to be copied")
        if not self._line.endswith(b"\n"):
            return None
        try:
            return int(self._line)
        except ValueError:
            raise VmError("what is to be copied is not the number of a domain") from None

    def wait(self) -> int:
        """turn() until it has the number. Raises VmError."""
        while True:
            select.select([self], [], [])
            number = self.turn()
            if number is not None:
                return number

    def answer(self, problem: str = "") -> None:
        """The domain is there, or why not. Only the first answer counts."""
        if self._sock is not None:
            with contextlib.suppress(OSError):  # nobody wants to know any more
                self._sock.sendall(" ".join(problem.split()).encode() + b"\n" if problem else DONE)
            self._sock.close()
            self._sock = None
