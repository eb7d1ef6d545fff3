# SPDX-License-Identifier: MIT
"""What becomes of a connection that a VM refuses. Servers of this machine stand for VMs; with these:
tests/target/test_spread.py."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from floe.hostnet import carry
from floe.hostnet.balance import Target
from floe.hostnet.relay import Relay
from floe.spec import ports
from floe.spec.ports import Forward

WAIT_S = 20
Spread = tuple[Callable[[], socket.socket], socket.socket, socket.socket]


def listening() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.settimeout(WAIT_S)
    return sock


@pytest.fixture
def spread() -> Iterator[Spread]:
    """A function that connects to what is spread over two servers, and these, in the order in which they are tried."""
    with ExitStack() as stack:
        first, one, other = (stack.enter_context(listening()) for _ in range(3))
        first.close()  # nobody listens there
        [asked] = ports.claim([Forward("127.0.0.1", 0, 80, spread=True)])
        family = [one.getsockname(), other.getsockname()]
        stack.enter_context(closing(Relay({asked: first_place(asked)}, lambda port: family if port == 80 else [])))

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection((asked.address, asked.host_port), WAIT_S))

        yield connect, one, other


def first_place(asked: Forward) -> Target:
    return "127.0.0.1", ports.free_port(asked)


def accepted(server: socket.socket) -> socket.socket:
    sock = server.accept()[0]
    sock.settimeout(WAIT_S)
    return sock


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("how", [socket.socket.close, reset])
def test_a_vm_that_takes_nothing(spread: Spread, how: Callable[[socket.socket], None]) -> None:
    connect, one, other = spread
    client = connect()
    client.sendall(b"question")
    refusing = accepted(one)
    while len(refusing.recv(100, socket.MSG_PEEK)) < 8:  # it lies there, unread
        pass
    how(refusing)
    with accepted(other) as server:
        assert server.recv(100) == b"question"
        client.sendall(b" and more")
        assert server.recv(100) == b" and more"
        server.sendall(b"answer")
        assert client.recv(100) == b"answer"


def test_an_end_before_the_client_says_anything(spread: Spread) -> None:
    connect, one, other = spread
    client = connect()
    accepted(one).close()
    with accepted(other) as server:
        client.sendall(b"question")
        assert server.recv(100) == b"question"


def test_what_was_read_is_said_to_nobody_else(spread: Spread) -> None:
    connect, one, other = spread
    client = connect()
    client.sendall(b"question")
    with accepted(one) as server:
        assert server.recv(100) == b"question"
    assert client.recv(100) == b""
    other.settimeout(0)
    with pytest.raises(BlockingIOError):
        other.accept()


def test_more_than_is_kept(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "_KEPT", 4)
    connect, one, other = spread
    client = connect()
    client.sendall(b"question")
    server = accepted(one)
    assert server.recv(100) == b"question"
    reset(server)
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    other.settimeout(0)
    with pytest.raises(BlockingIOError):
        other.accept()


def test_nobody_takes_it(spread: Spread) -> None:
    connect, one, other = spread
    one.close()
    other.close()
    with pytest.raises(ConnectionResetError):
        client = connect()
        client.sendall(b"question")
        client.recv(100)
