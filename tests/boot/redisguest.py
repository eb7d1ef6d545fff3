# SPDX-License-Identifier: MIT
"""A running images/redis for the tests, Debian's redis-server to compare it with, and a client that speaks to both."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from floe.testing import Boot, Guest
from tests.boot.dnspeer import free_port
from tests.boot.served import Served, stop_all

SERVER = shutil.which("redis-server")
CLI = shutil.which("redis-cli")
DEADLINE_S = 120.0  # for one test
_START_S = 30.0
_ANSWER_S = 30.0

BootRedis = Callable[..., "Redis"]


class ErrorAnswer(str):
    """What came behind a minus."""


def as_command(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Peer:
    """A connection of RESP: commands out, answers in as Python values (a map as a list of pairs, a set sorted)."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S)
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.sock.close()

    def send(self, *words: bytes | str | float) -> None:
        self.sock.sendall(as_command([word if isinstance(word, bytes) else str(word).encode() for word in words]))

    def ask(self, *words: bytes | str | float) -> object:
        self.send(*words)
        return self.read()

    def line(self) -> bytes:
        line = self._file.readline()
        assert line.endswith(b"\r\n"), f"the connection ended: {line!r}"
        return line[:-2]

    def read(self) -> object:
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind in b"+,":
            return rest.decode()
        if kind == b"-":
            return ErrorAnswer(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"_" or rest == b"-1":
            return None
        if kind == b"$":
            data = self._file.read(int(rest) + 2)
            assert data[-2:] == b"\r\n"
            return data[:-2]
        if kind in b"*>":
            return [self.read() for _ in range(int(rest))]
        if kind == b"~":
            return sorted((self.read() for _ in range(int(rest))), key=repr)
        assert kind == b"%", line
        return [[self.read(), self.read()] for _ in range(int(rest))]

    def at_end(self) -> bool:
        """Whether the other side has closed, and said nothing more."""
        return self._file.read(1) == b""


class Redis(Served):
    """A running images/redis that serves."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self.port = vm.ports[6379]
        vm.expect_exact("redis: serving on port 6379 (IPv6, IPv4)", timeout=_START_S)


def serve(boot: Boot) -> Iterator[BootRedis]:
    """Body of a fixture boot_redis(disk=None, secrets={}, **env) -> Redis. Each must end in order."""
    running: list[Redis] = []

    def start(disk: Path | None = None, secrets: dict[str, Path] | None = None, **env: str) -> Redis:
        disks = [str(disk)] if disk else []
        vm = boot(
            "redis",
            deadline_s=DEADLINE_S,
            memory="64M",
            ports=[6379, 9100],
            env=env,
            disks=disks,
            secrets=secrets or {},
        )
        running.append(Redis(vm))
        return running[-1]

    yield start
    stop_all(running)


@contextmanager
def reference(folder: Path, *options: str) -> Iterator[int]:
    """Debian's redis-server, without a file of its own: its port."""
    assert SERVER is not None
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    argv = [SERVER, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            _until_it_answers(port, process)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while True:
        assert process.poll() is None, "redis-server has ended"
        try:
            with Peer(port) as peer:
                if peer.ask("PING") == "PONG":
                    return
        except OSError:
            pass
        assert time.monotonic() < end, "redis-server does not answer"
        time.sleep(0.05)
