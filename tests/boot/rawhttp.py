# SPDX-License-Identifier: MIT
"""A small HTTP/1.1 client for tests: says exactly what it is told to, and reads answers one by one."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from types import TracebackType


@dataclass
class Answer:
    status: int
    fields: dict[str, str] = field(default_factory=dict)  # lower-case names
    body: bytes = b""


class RawHttp:
    """One connection to 127.0.0.1. Every wait ends after timeout_s with TimeoutError."""

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self.timeout_s = timeout_s
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buf = b""

    def __enter__(self) -> RawHttp:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        """Each piece in a packet of its own, as far as TCP lets one say so."""
        for number, piece in enumerate(pieces):
            if number and pause_s:
                time.sleep(pause_s)
            self.sock.sendall(piece)

    def get(self, path: str, *fields: str) -> Answer:
        self.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *fields, "", ""]).encode())
        return self.answer()

    def answer(self, head_only: bool = False) -> Answer:
        """The next answer. EOFError: the connection ended before or inside it."""
        while b"\r\n\r\n" not in self._buf:
            self._more()
        head, _, self._buf = self._buf.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version in ("HTTP/1.0", "HTTP/1.1"), lines[0]
        answer = Answer(int(status))
        for line in lines[1:]:
            name, colon, value = line.partition(": ")
            assert colon and name.lower() not in answer.fields, f"bad or repeated field: {line}"
            answer.fields[name.lower()] = value
        length = int(answer.fields.get("content-length", "0"))
        if not head_only and answer.status != 304:
            while len(self._buf) < length:
                self._more()
            answer.body, self._buf = self._buf[:length], self._buf[length:]
        return answer

    def line(self) -> bytes:
        """What is left of the next line, without its end."""
        while b"\r\n" not in self._buf:
            self._more()
        line, _, self._buf = self._buf.partition(b"\r\n")
        return line

    def take(self, size: int) -> bytes:
        while len(self._buf) < size:
            self._more()
        taken, self._buf = self._buf[:size], self._buf[size:]
        return taken

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        try:
            while True:
                self._more()
        except EOFError:
            return self._buf

    def at_end(self) -> bool:
        """Whether the server closes now (waiting for it) and has said nothing more."""
        try:
            self._more()
        except EOFError:
            return self._buf == b""
        return False

    def _more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError as exc:
            raise EOFError("connection reset") from exc
        if not data:
            raise EOFError(f"connection closed; unread: {self._buf[:200]!r}")
        self._buf += data


def exchange(port: int, *pieces: bytes, pause_s: float = 0.0, timeout_s: float = 10.0) -> tuple[Answer, bool]:
    """Send on a fresh connection and read one answer; and whether the server then closed it."""
    with RawHttp(port, timeout_s) as client:
        client.send(*pieces, pause_s=pause_s)
        answer = client.answer()
        if "close" in answer.fields.get("connection", ""):
            return answer, client.at_end()
        return answer, False
