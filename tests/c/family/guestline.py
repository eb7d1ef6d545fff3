# SPDX-License-Identifier: MIT
"""modules/family in a program whose line is a script (family_user.c): its frames, and the VM that it plays."""

from __future__ import annotations

import struct

from tests.c.support.harness import EIO, Harness

HELLO, FORK, PREPARED, FROZEN, RESULT, ENDED, KILL, KILLED, SIGNAL = range(1, 10)
PIPE, WRITE, TAKEN, READ, DATA, WANT, READABLE, CLOSE, STATE = range(10, 19)
SNAPSHOT, TEMPLATE, HOLD, GO = 24, 25, 26, 27
ECHILD, EBADF, EPIPE, EMFILE, ENOSYS = -10, -9, -32, -24, -38
SIGINT, SIGTERM = 2, 15
IN, OUT, HUP = 1, 4, 16
WINDOW, PAYLOAD, ATOMIC = 65536, 16384, 4096
ID = 5 << 16 | 1  # of the first pipe of VM 5


def frame(kind: int, payload: bytes = b"", channel: int = 0) -> str:
    return (struct.pack("<IBBHI", len(payload), kind, 0, 0, channel) + payload).hex()


def numbers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


class Family:
    """The program, which has said hello and is VM 5, of VM 3."""

    def __init__(self, h: Harness) -> None:
        self.h = h
        h.do("later", frame(HELLO, numbers(1, 5, 3, 16)))
        assert self.lines("open") == [f"SENT {frame(HELLO, numbers(1))}", "0 5 3"]

    def lines(self, *words: object) -> list[str]:
        return self.h.do(*words).splitlines()

    def sent(self, *words: object) -> list[str]:
        return [line.removeprefix("SENT ") for line in self.lines(*words) if line.startswith("SENT ")]

    def comes(self, kind: int, payload: bytes = b"", channel: int = 0) -> list[str]:
        return self.lines("feed", frame(kind, payload, channel))

    def later(self, kind: int, payload: bytes = b"", channel: int = 0) -> None:
        self.h.do("later", frame(kind, payload, channel))

    def is_over(self, reason: str, lines: list[str]) -> None:
        assert f"floe: family: {reason}" in lines
        assert self.h.number("state") == EIO
        assert self.h.number("run") == 0
        assert self.h.number("kill", 1, 0) == EIO

    def pipe(self) -> None:
        assert self.lines("pipe", 5) == [f"SENT {frame(PIPE, channel=ID)}", "0 100 101"]
