# SPDX-License-Identifier: MIT
"""A running images/mqtt for the tests, and a client that says what mosquitto's would not."""

from __future__ import annotations

import re
import shutil
import socket
import struct
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from floe.testing import Boot, Guest
from tests.boot.served import Served, stop_all
from tests.support.sockets import exactly

DEADLINE_S = 120.0  # for one test
_START_S = 30.0
_ANSWER_S = 20.0
CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = (
    2, 3, 4, 5, 6, 7, 9, 11, 13, 14,
)  # fmt: skip


def run(*words: object, code: int = 0) -> str:
    """What mosquitto_pub or mosquitto_sub prints; it must end with this exit code."""
    argv = [str(word) for word in words]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"SKIP: {argv[0]} is not installed")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def text(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def connect(
    name: bytes, version: int = 4, flags: int = 2, keep_alive: int = 0, props: bytes = b"", rest: bytes = b""
) -> bytes:
    """flags: 2 clean, 4 will, 0x20 its retain, 0x40 password, 0x80 user; `rest` holds their values."""
    extra = bytes([len(props)]) + props if version == 5 else b""
    head = text(b"MQTT") + struct.pack(">BBH", version, flags, keep_alive)
    return packet(0x10, head + extra + text(name) + rest)


class Client:
    """A connection on which packets are written by hand."""

    def __init__(self, port: int, first: bytes = b"") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S)
        self.send(first)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """First byte and body of the next packet. Raises EOFError."""
        first = exactly(self.sock, 1)[0]
        size = shift = 0
        while True:
            byte = exactly(self.sock, 1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                return first, exactly(self.sock, size)

    def expect(self, kind: int) -> tuple[int, bytes]:
        """The next packet, which must be of this kind: flags and body."""
        first, body = self.receive()
        assert first >> 4 == kind, (first, body)
        return first & 15, body

    def message(self, version: int = 4) -> tuple[int, bytes, int, bytes]:
        """The next packet, a PUBLISH without properties: flags, topic, id or 0, payload."""
        flags, body = self.expect(PUBLISH)
        size = struct.unpack(">H", body[:2])[0]
        topic, rest, number = body[2 : 2 + size], body[2 + size :], 0
        if flags & 6:
            number, rest = struct.unpack(">H", rest[:2])[0], rest[2:]
        if version == 5:
            assert rest[0] == 0
            rest = rest[1:]
        return flags, topic, number, rest

    def subscribe(self, topic: bytes, options: int = 0, version: int = 4) -> bytes:
        """The codes of SUBACK."""
        none = b"\0" if version == 5 else b""
        self.send(packet(0x82, b"\0\7" + none + text(topic) + bytes([options])))
        _, body = self.expect(SUBACK)
        assert body[:2] == b"\0\7"
        return body[2 + len(none) :]

    def publish(self, topic: bytes, payload: bytes, qos: int = 0, number: int = 0, flags: int = 0) -> None:
        """Of version 4."""
        ident = struct.pack(">H", number) if qos else b""
        self.send(packet(0x30 | qos << 1 | flags, text(topic) + ident + payload))

    def reset(self) -> None:
        """End the connection by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def ended(self) -> bool:
        """Whether the broker closes the connection, after whatever it still says."""
        try:
            while True:
                self.receive()
        except (EOFError, ConnectionError):
            return True


class Mqtt(Served):
    """A running broker that serves."""

    def __init__(self, vm: Guest, port: int) -> None:
        self.vm = vm
        self.port = vm.ports[port]
        self.metrics = vm.ports[9100]
        vm.expect_exact(f"info mqtt: serving on port {port}", timeout=_START_S)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=_ANSWER_S) as answer:
            found = re.search(rf"^{name} (.*)$", answer.read().decode(), re.MULTILINE)
        assert found is not None
        return float(found[1])


BootMqtt = Callable[..., Mqtt]


def serve(boot: Boot) -> Iterator[BootMqtt]:
    """Body of a fixture boot_mqtt(secrets={}, disks=[], variant="", memory="32M", **env) -> Mqtt. Each must end in order."""
    running: list[Mqtt] = []

    def start(
        secrets: dict[str, Path] | None = None,
        disks: list[str] | None = None,
        variant: str = "",
        memory: str = "32M",
        **env: str,
    ) -> Mqtt:
        port = 8883 if variant else 1883
        more: dict[str, Any] = {"variant": variant} if variant else {}
        more["memory"] = memory
        vm = boot(
            "mqtt", deadline_s=DEADLINE_S, ports=[port, 9100], env=env, secrets=secrets or {}, disks=disks or [], **more
        )
        running.append(Mqtt(vm, port))
        return running[-1]

    yield start
    stop_all(running)
