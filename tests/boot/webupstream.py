# SPDX-License-Identifier: MIT
"""An HTTP server of the test's own, behind a proxy: answers as it is told, also what no server should."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

Script = bytes | Callable[["Conversation"], None]


class Conversation:
    """One request and the connection that it came on. keep: another request may come on it."""

    def __init__(self, sock: socket.socket, head: str, body: bytes, rest: bytes) -> None:
        self.sock = sock
        self.head = head
        self.body = body
        self.rest = rest  # what came behind the request
        self.keep = False

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.sock.sendall(piece)


class Upstream:
    """Listens on 127.0.0.1. scripts: path -> what to send, or what to do; other paths are answered with what was asked."""

    def __init__(self, name: str, scripts: dict[str, Script] | None = None) -> None:
        self.name = name
        self.scripts = scripts or {}
        self.heads: list[str] = []
        self.accepted = 0
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()  # between those that end connections and the thread that takes them
        self._closed = False
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._sock.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Refuse connections, and reset those that there are."""
        with self._lock:
            self._closed = True
            for sock in [self._sock, *self._connections]:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            self._connections.clear()

    def hang_up(self) -> None:
        """End all connections, as a server does with those that are idle."""
        with self._lock:
            for sock in self._connections:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            self._connections.clear()

    @property
    def url(self) -> str:
        """As a guest behind QEMU's own network names it."""
        return f"10.0.2.2:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            with self._lock:
                if self._closed:
                    sock.close()
                    return
                self.accepted += 1
                self._connections.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        buf = b""
        with suppress(OSError, EOFError), sock:
            sock.settimeout(30)
            while True:
                head, body, buf = _request(sock, buf)
                self.heads.append(head)
                talk = Conversation(sock, head, body, buf)
                script = self.scripts.get(head.split(" ")[1].partition("?")[0], self._echo)
                if isinstance(script, bytes):
                    talk.say(script)
                    sock.recv(1)  # whoever asked ends it
                    return
                script(talk)
                if not talk.keep:
                    return

    def _echo(self, talk: Conversation) -> None:
        said = json.dumps({"name": self.name, "head": talk.head, "body": len(talk.body)}).encode()
        talk.say(
            b"HTTP/1.1 200 OK\r\nDate: Sun, 29 Nov 2026 02:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(said)
            + said
        )
        talk.keep = True


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise EOFError
    return data


def _request(sock: socket.socket, buf: bytes) -> tuple[str, bytes, bytes]:
    """Head, body, and what comes after it."""
    while b"\r\n\r\n" not in buf:
        buf += _more(sock)
    raw, _, buf = buf.partition(b"\r\n\r\n")
    head = raw.decode("latin-1")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
    if "transfer-encoding" not in fields:
        size = int(fields.get("content-length", "0"))
        while len(buf) < size:
            buf += _more(sock)
        return head, buf[:size], buf[size:]
    body = b""
    while True:
        while b"\r\n" not in buf:
            buf += _more(sock)
        line, _, buf = buf.partition(b"\r\n")
        size = int(line, 16)
        while len(buf) < size + 2:
            buf += _more(sock)
        body, buf = body + buf[:size], buf[size + 2 :]
        if size == 0:
            return head, body, buf
