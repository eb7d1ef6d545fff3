# SPDX-License-Identifier: MIT
"""A port that is spread over a family (`-p HOST:GUEST/spread`): who gets a connection, in the foreground and detached."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from floe.store import vmfolder
from floe.testing import Boot
from tests.support.clients import served
from tests.support.command import floe
from tests.support.vms import Vms, kill, log, until

GUEST = Path(__file__).resolve().parent / "guests" / "guest_spread.py"
WAIT_S = 30.0


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """On one accelerator: none matters to who gets a connection."""
    with Boot(folder=tmp_path) as boots:
        yield boots


def ask(sock: socket.socket, line: bytes) -> int:
    """Say a line, and return the number of the VM that answers with it."""
    sock.sendall(line + b"\n")
    return answer(sock, line)


def answer(sock: socket.socket, line: bytes) -> int:
    data = b""
    while not data.endswith(b"\n"):
        more = sock.recv(100)
        assert more, data
        data += more
    number, said = data.split()
    assert said == line
    return int(number)


def reach(port: int, line: bytes = b"hello") -> int:
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
        return ask(sock, line)


def order(port: int, line: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
        sock.sendall(line + b"\n")
        return sock.recv(100).strip()


@contextmanager
def connected(port: int, count: int) -> Iterator[Sequence[socket.socket]]:
    socks = [socket.create_connection(("127.0.0.1", port), WAIT_S) for _ in range(count)]
    try:
        yield socks
    finally:
        for sock in socks:
            sock.close()


def test_who_gets_a_connection(boot: Boot) -> None:
    vm = boot(GUEST, deadline_s=60, ports=["80/spread", 7000], children=4)
    vm.expect_exact("ready")
    port = vm.ports[80]

    def tell(line: bytes) -> bytes:
        return served(vm, order, vm.ports[7000], line)

    def beget(word: bytes, says: str) -> int:
        number = int(tell(word))
        vm.expect_exact(f"[guest_spread.{number - 1}] {says}\n")
        return number

    def in_turn(count: int, line: bytes = b"hello") -> list[int]:
        return served(vm, lambda: [reach(port, line) for _ in range(count)])

    assert in_turn(3) == [1, 1, 1]  # there are no children

    two, three = (beget(b"fork", "serves") for _ in range(2))
    with connected(port, 6) as socks:  # who has the fewest
        assert sorted(served(vm, ask, sock, b"all") for sock in socks) == [two] * 3 + [three] * 3
    end = time.monotonic() + WAIT_S  # those six are over when both sides have heard of it, one after the other
    while set(in_turn(2)) != {two, three}:
        assert time.monotonic() < end

    deaf = beget(b"deaf", "deaf")  # what it refuses goes on to another, with all that was said
    assert set(in_turn(8, b"x" * 900)) == {two, three}
    with connected(port, 4) as socks:
        assert {served(vm, ask, sock, b"late") for sock in socks} == {two, three}

    assert tell(b"kill %d" % two) == b"done"
    assert set(in_turn(4)) == {three}

    with connected(port, 1) as [sock]:
        assert served(vm, ask, sock, b"before") == three
        assert tell(b"end %d" % three) == b"done"
        vm.expect_exact(f"[guest_spread.{three - 1}] goes on\n")
        assert in_turn(4) == [1] * 4  # who ends gets no more, who is deaf none
        assert served(vm, ask, sock, b"after") == three
    assert vm.family is not None
    assert [child.pid for child in vm.family.children] == [three, deaf]


def test_detached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Vms(tmp_path, monkeypatch) as vms:
        told = vms.run("-p", "0:80/spread", "-p", "0:7000", "--name", "s", GUEST)
        until(lambda: "ready" in log("s"), "the guest")
        ports = {p["guest"]: p["host"] for p in told["ports"]}
        assert order(ports[7000], b"fork") == b"2"
        until(lambda: "serves" in log("s"), "the child")
        assert {reach(ports[80]) for _ in range(3)} == {2}
        assert f"127.0.0.1:{ports[80]}->80/spread" in floe("ps").stdout
        folder = vmfolder.find("s")
        kill(folder.keeper)  # its children end with it, and the next keeper listens there
        until(lambda: (keeper := folder.keeper) is not None and keeper.alive, "another keeper")
        vms.note(folder)
        until(lambda: answers(ports[80]), "the port of the other keeper")
        assert {reach(ports[80]) for _ in range(3)} == {1}


def answers(port: int) -> bool:
    try:
        return reach(port) == 1
    except OSError:
        return False
