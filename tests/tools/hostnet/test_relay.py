# SPDX-License-Identifier: MIT
"""What -p is in a dom0, and for IPv6 under QEMU, with a server of this machine's in the guest's place: 127.0.0.2. With a
guest: tests/target/test_ports.py, tests/xen/test_run.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import pytest

from floe.errors import FloeError
from floe.hostnet import carry, relay
from floe.hostnet.relay import Relay
from floe.spec import ports
from floe.spec.ports import Forward

GUEST = "127.0.0.2"
WAIT_S = 20


def listening(kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.settimeout(WAIT_S)
    sock.bind((GUEST, 0))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


def forward(guest_port: int, protocol: str = "tcp", address: str = "127.0.0.1") -> Forward:
    return ports.claim([Forward(address, 0, guest_port, protocol)])[0]


@contextmanager
def relayed(guest: socket.socket, protocol: str = "tcp", address: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    asked = forward(guest.getsockname()[1], protocol, address)
    with closing(Relay({asked: (GUEST, asked.guest_port)})):
        yield asked.address, asked.host_port


@pytest.fixture
def guest() -> Iterator[socket.socket]:
    with listening() as sock:
        yield sock


@pytest.fixture
def there(guest: socket.socket) -> Iterator[tuple[str, int]]:
    """Where the relay to `guest` listens."""
    with relayed(guest) as at:
        yield at


def received(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def test_both_ways_at_once_and_each_to_its_own_end(guest: socket.socket, there: tuple[str, int]) -> None:
    up, down = bytes(range(256)) * 40_000, bytes(range(255, -1, -1)) * 30_000
    with socket.create_connection(there, WAIT_S) as client, guest.accept()[0] as server, ThreadPoolExecutor(3) as pool:
        server.settimeout(WAIT_S)
        going = pool.submit(lambda: (client.sendall(up), client.shutdown(socket.SHUT_WR)))
        back = pool.submit(received, client)
        sending = pool.submit(server.sendall, down)
        assert received(server) == up
        going.result(WAIT_S)
        sending.result(WAIT_S)
        assert not back.done()  # only one way has ended
        server.sendall(b"the last word")
        server.shutdown(socket.SHUT_WR)
        assert back.result(WAIT_S) == down + b"the last word"


def test_many_connections(guest: socket.socket, there: tuple[str, int]) -> None:
    clients = [socket.create_connection(there, WAIT_S) for _ in range(50)]
    for number, client in enumerate(clients):
        client.sendall(b"%03d" % number)
    for _ in clients:
        with guest.accept()[0] as server:
            server.settimeout(WAIT_S)
            server.sendall(server.recv(3) * 2)
    for number, client in enumerate(clients):
        with client:
            assert received(client) == b"%03d" % number * 2


def test_one_connection_too_many(guest: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "_CONNECTIONS", 2)
    with relayed(guest) as there:
        with socket.create_connection(there, WAIT_S) as first, socket.create_connection(there, WAIT_S) as second:
            servers = [guest.accept()[0] for _ in range(2)]
            with pytest.raises(ConnectionResetError), socket.create_connection(there, WAIT_S) as third:
                third.recv(1)
            for each in (first, second, *servers):
                each.close()
        for _ in range(100):  # there is room again, as soon as the relay has seen the end
            guest.settimeout(0.2)
            try:
                with socket.create_connection(there, WAIT_S) as fourth:
                    fourth.sendall(b"x")
                    server = guest.accept()[0]
            except (TimeoutError, ConnectionError):
                continue
            with server:
                server.settimeout(WAIT_S)
                assert server.recv(1) == b"x"
            break
        else:
            pytest.fail("no room")


def test_who_takes_no_answer_is_counted(guest: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends have closed, and what the guest said still waits in the relay."""
    monkeypatch.setattr(carry, "_CONNECTIONS", 1)
    with relayed(guest) as there, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(WAIT_S)
        client.connect(there)
        client.shutdown(socket.SHUT_WR)
        with guest.accept()[0] as server:
            server.settimeout(0.5)
            with pytest.raises(TimeoutError):
                server.sendall(bytes(64 << 20))
        with pytest.raises(ConnectionResetError), socket.create_connection(there, WAIT_S) as second:
            second.recv(1)


def test_a_guest_that_does_not_listen_yet() -> None:
    with listening() as guest, relayed(guest) as there:
        guest.close()
        with pytest.raises(ConnectionResetError), socket.create_connection(there, WAIT_S) as client:
            client.recv(1)


def test_a_reset_is_passed_on(guest: socket.socket, there: tuple[str, int]) -> None:
    with socket.create_connection(there, WAIT_S) as client:
        server = guest.accept()[0]
        server.sendall(b"half an ans")
        assert client.recv(100) == b"half an ans"
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with socket.create_connection(there, WAIT_S) as client, guest.accept()[0] as server:
        server.settimeout(WAIT_S)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(ConnectionResetError):
            server.recv(1)


def ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_the_end_is_that_of_every_connection(guest: socket.socket) -> None:
    asked = forward(guest.getsockname()[1])
    made = Relay({asked: (GUEST, asked.guest_port)})
    with socket.create_connection((asked.address, asked.host_port), WAIT_S) as client, guest.accept()[0] as server:
        server.settimeout(WAIT_S)
        made.close()
        assert ended(client) and ended(server)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((asked.address, asked.host_port), WAIT_S)
    Relay({asked: (GUEST, asked.guest_port)}).close()  # the port is free again


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_is_taken(protocol: str) -> None:
    asked = forward(80, protocol)
    made = Relay({asked: (GUEST, asked.guest_port)})
    try:
        with pytest.raises(FloeError, match=f"cannot listen on 127.0.0.1:{asked.host_port}"):
            Relay({asked: (GUEST, asked.guest_port)})
    finally:
        made.close()


def test_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client gets what is its own; one too many makes room by the eldest."""
    monkeypatch.setattr(relay, "_CLIENTS", 3)
    with ExitStack() as stack:
        guest = stack.enter_context(listening(socket.SOCK_DGRAM))
        there = stack.enter_context(relayed(guest, "udp"))
        clients = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(5)]
        for number, client in enumerate(clients):
            client.settimeout(WAIT_S)
            client.connect(there)
            client.send(bytes([number]) * 1400)
        seen = dict(guest.recvfrom(2000) for _ in clients)
        assert sorted(seen) == [bytes([number]) * 1400 for number in range(5)]
        for data, address in seen.items():
            guest.sendto(data[:7], address)
        for number, client in enumerate(clients[2:], 2):
            assert client.recv(100) == bytes([number]) * 7
        clients[0].send(b"again")
        data, address = guest.recvfrom(100)
        guest.sendto(data.upper(), address)
        assert clients[0].recv(100) == b"AGAIN"
        clients[1].setblocking(False)
        with pytest.raises(BlockingIOError):  # what was sent to it went nowhere
            clients[1].recv(1)


@pytest.mark.parametrize(("address", "asked"), [("0.0.0.0", "127.0.0.9"), ("::1", "::1"), ("::", "::1")])
def test_datagrams_come_back_from_the_address_that_was_asked(address: str, asked: str) -> None:
    with (
        listening(socket.SOCK_DGRAM) as guest,
        relayed(guest, "udp", address) as (_, port),
    ):
        family = socket.AF_INET6 if ":" in asked else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(WAIT_S)
            client.connect((asked, port))  # takes nothing from elsewhere
            client.send(b"to you")
            data, via = guest.recvfrom(100)
            guest.sendto(data.upper(), via)
            assert client.recv(100) == b"TO YOU"


def test_ipv6_and_ipv4_share_a_port_and_a_thread(guest: socket.socket) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        port = both.getsockname()[1]  # is free in both families
    one = Forward("::", port, guest.getsockname()[1])
    two = Forward("0.0.0.0", one.host_port, one.guest_port)
    target = (GUEST, one.guest_port)
    with closing(Relay({one: target, two: target})):
        for address in ("::1", "127.0.0.1"):
            with (
                socket.create_connection((address, one.host_port), WAIT_S) as client,
                guest.accept()[0] as server,
            ):
                server.settimeout(WAIT_S)
                client.sendall(b"x")
                assert server.recv(1) == b"x"
    with (
        pytest.raises(FloeError, match=r"cannot listen on \[::1\]:"),
        socket.socket(socket.AF_INET6) as holder,
    ):
        holder.bind(("::1", 0))
        holder.listen()
        Relay({two: target, Forward("::1", holder.getsockname()[1], 80): target})
    Relay({two: target}).close()  # which was let go
