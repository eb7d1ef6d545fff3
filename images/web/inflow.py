# SPDX-License-Identifier: MIT
"""A request's body that is handed on as it arrives, for handlers that ask for it: `handler.streams(head)` is true."""

import errno

from http1 import Body

_NO_LIMIT = 1 << 48  # bytes: whoever reads takes one piece after the other


class Raw:
    """What comes after the request head of another protocol: bytes without an end."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed(self, buf: bytes) -> tuple:
        self.data.extend(buf)
        return False, b""


class Inflow:
    """A source as message.Streamed has it; `Request.body` of such a handler. At most one piece waits here.

    While nobody reads, nothing is received, and the client has to wait.
    """

    def __init__(self, connection: object, head: object) -> None:
        self.length = head.length  # bytes; -1: not known
        self.wake: object = None  # called when there is something to read after read() gave None
        self.ended = False  # all of it has arrived
        self.since = 0  # tick of the server when the client was last heard, or waited for
        self.endless = b"upgrade" in head.fields and head.length == 0
        self._body = Raw() if self.endless else Body(head.length, _NO_LIMIT)
        self._connection = connection

    def hungry(self) -> bool:
        return not self._body.data and not self.ended

    def feed(self, buf: bytes) -> bytes:
        """Take what belongs to the body; returns the rest. Raises HttpError."""
        self.ended, buf = self._body.feed(buf)
        return buf

    def read(self) -> bytes | None:
        """The next piece; b"" at the end, None if it has not come yet. Raises OSError if it never will."""
        piece = self._body.data
        if piece:
            self._body.data = bytearray()
        elif self.ended:
            return b""
        if self._connection is None:
            raise OSError(errno.ECONNRESET)
        if not self.ended:
            self._connection.receive_more()
        return piece or None

    def close(self) -> None:
        """Nothing more is read, or will come."""
        self._connection = self.wake = None
        self._body.data = bytearray()
