# SPDX-License-Identifier: MIT
"""Peers for a guest's sockets, on loopback: what user networking shows the guest as 10.0.2.2 and fec0::2."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType

Talk = Callable[[socket.socket], None]

DEADLINE_S = 60
LINGER_RESET = struct.pack("ii", 1, 0)  # close() sends RST


class Services:
    """Every service on a port of its own; `arguments` names them for the guest's command line.

    echo, echo6 and udp give back what they get; upper too, in capitals, after the end. bye says "bye" and FIN and
    keeps what it gets; count counts it; report tells what the last of these two learned. reset waits for a
    word and sends RST. Nobody listens at nobody.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._learned = b""
        self._counted = threading.Event()
        self.ports: dict[str, int] = {}

    @property
    def arguments(self) -> list[str]:
        return [f"{name}={port}" for name, port in self.ports.items()]

    def __enter__(self) -> Services:
        serve: dict[str, Talk] = {
            "echo": self._echo,
            "upper": self._upper,
            "bye": self._bye,
            "count": self._count,
            "report": lambda s: s.sendall(self._learned),
            "reset": self._reset,
        }
        for name, talk in serve.items():
            self._listen(name, socket.AF_INET, "127.0.0.1", talk)
        with suppress(OSError):  # a host without IPv6: the guest says that it skips
            self._listen("echo6", socket.AF_INET6, "::1", self._echo)
        udp = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        self.ports["udp"] = udp.getsockname()[1]
        threading.Thread(target=self._udp_echo, args=(udp,), daemon=True).start()
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            self.ports["nobody"] = nobody.getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _listen(self, name: str, family: socket.AddressFamily, host: str, talk: Talk) -> None:
        server = self._stack.enter_context(socket.create_server((host, 0), family=family, backlog=512))
        self.ports[name] = server.getsockname()[1]
        threading.Thread(target=self._accept, args=(server, talk), daemon=True).start()

    def _accept(self, server: socket.socket, talk: Talk) -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                conn, _ = server.accept()
                conn.settimeout(DEADLINE_S)
                threading.Thread(target=self._talk, args=(conn, talk), daemon=True).start()

    def _talk(self, conn: socket.socket, talk: Talk) -> None:
        with conn, suppress(OSError):  # a guest that resets is judged in the guest
            talk(conn)

    def _echo(self, conn: socket.socket) -> None:
        while data := conn.recv(65536):
            conn.sendall(data)

    def _upper(self, conn: socket.socket) -> None:
        conn.sendall(_read_all(conn).upper())

    def _bye(self, conn: socket.socket) -> None:
        conn.sendall(b"bye")
        conn.shutdown(socket.SHUT_WR)
        self._learned = _read_all(conn)

    def _count(self, conn: socket.socket) -> None:
        self._learned = str(len(_read_all(conn))).encode()
        self._counted.set()

    def counted(self) -> int:
        """What count has counted once its connection has ended. Raises TimeoutError."""
        if not self._counted.wait(DEADLINE_S):
            raise TimeoutError("nobody has sent to count")
        return int(self._learned)

    def _reset(self, conn: socket.socket) -> None:
        conn.recv(100)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)

    def _udp_echo(self, udp: socket.socket) -> None:
        with suppress(OSError):
            while True:
                data, sender = udp.recvfrom(65536)
                udp.sendto(data, sender)


def _read_all(conn: socket.socket) -> bytes:
    parts = []
    while part := conn.recv(65536):
        parts.append(part)
    return b"".join(parts)
