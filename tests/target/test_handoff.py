# SPDX-License-Identifier: MIT
"""vm.handoff(): a server whose children have its connections, guest_handoff.py inside, and clients outside."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from floe.testing import Boot, Guest
from tests.support.certs import Certificates

GUESTS = Path(__file__).resolve().parent / "guests"
DEADLINE_S = 120.0
SIZE = 10_000_000
AT_ONCE = 8


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def serving(boot: Boot, certificates: Certificates) -> Guest:
    env = certificates.env("good")
    vm = boot(GUESTS / "guest_handoff.py", deadline_s=DEADLINE_S, memory="32M", env=env, net=["user"], ports=[8080])
    vm.expect_exact("serving")
    return vm


def connect(vm: Guest, says: bytes) -> socket.socket:
    s = socket.create_connection(("127.0.0.1", vm.ports[8080]), timeout=DEADLINE_S)
    s.sendall(says)
    return s


def rest_of(s: socket.socket) -> bytes:
    """What comes up to the end."""
    data = bytearray()
    while part := s.recv(65536):
        data += part
    return bytes(data)


def ask(vm: Guest, says: bytes) -> bytes:
    with connect(vm, says) as s:
        return rest_of(s)


def while_served(vm: Guest, clients: Callable[[], None], last: bytes = b"Q") -> str:
    """Let clients talk, then have the server end; what was printed. The VM and its children are served by this thread."""

    def all_of_them() -> None:
        try:
            clients()
        finally:
            ask(vm, last)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(all_of_them)
        assert vm.wait() == 0
        done.result()
    assert "PANIC" not in vm.console_text and "floe: family" not in vm.console_text
    return vm.console_text


def curl(vm: Guest, times: int) -> list[str]:
    urls = [f"http://127.0.0.1:{vm.ports[8080]}/"] * times
    argv = ["curl", "-sS", "--http1.0", "--max-time", "60", "-H", "Connection: close", *urls]
    return subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout.split("VM ")[1:]


def at_rest(vm: Guest) -> int:
    """Wait until no pipe is held: a client has its answer before the child has closed. Free bytes of Python's memory."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        lowest, free = ask(vm, b"!").split()
        if lowest == b"100":
            return int(free)
    raise AssertionError(f"descriptor 100 is held, {lowest!r} is the lowest free one")


def test_a_vm_for_each_connection(boot: Boot, certificates: Certificates) -> None:
    """One after the other by curl, and several at once; then nothing has grown."""
    vm = serving(boot, certificates)

    def clients() -> None:
        assert curl(vm, 5) == [*map(str, range(2, 7))]
        free_before = at_rest(vm)
        assert curl(vm, 15) == [*map(str, range(7, 22))]
        several = [connect(vm, b"echo\n") for _ in range(AT_ONCE)]
        for turn in range(3):
            for n, s in enumerate(several):
                s.sendall(b"%d-%d " % (n, turn))
        for n, s in enumerate(several):
            s.shutdown(socket.SHUT_WR)
            said = b"".join(b"%d-%d " % (n, turn) for turn in range(3))
            assert rest_of(s) == said + b" and %d bytes" % len(said)
            s.close()
        assert at_rest(vm) > free_before - 2000

    while_served(vm, clients)


@pytest.mark.any_accel
def test_bytes_and_ends(boot: Boot, certificates: Certificates) -> None:
    vm = serving(boot, certificates)

    def both_ways() -> None:
        blob = random.Random(12).randbytes(SIZE)
        with connect(vm, b"hash %d\n" % SIZE) as s:
            s.sendall(blob)
            back = rest_of(s)
        assert back[:-32] == blob
        assert back[-32:] == hashlib.sha256(blob).digest()

    def killed() -> None:
        with connect(vm, b"wait\n") as s:
            assert ask(vm, b"kill %s\n" % s.recv(100)) == b"killed"
            assert rest_of(s) == b""  # an end as of any process

    def reset() -> None:
        with connect(vm, b"reset\n") as s:
            assert s.recv(100) == b"ready"
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def again() -> None:
        with connect(vm, b"again\n") as s:
            s.sendall(b"hello")
            assert s.recv(100) == b"hello"
            s.shutdown(socket.SHUT_WR)
            assert rest_of(s) == b" and 5 bytes"

    def clients() -> None:
        for part in (both_ways, killed, reset, again):
            part()

    text = while_served(vm, clients)
    assert "] heard 104 b'' 32 32\n" in text
    assert "] not given 104 b''\n" in text


@pytest.mark.any_accel
def test_tls_in_a_child(boot: Boot, certificates: Certificates) -> None:
    """Begun there, and begun before the fork."""
    vm = serving(boot, certificates)
    context = ssl.create_default_context(cafile=str(certificates.pem("ca")))

    def clients() -> None:
        with connect(vm, b"tls\n") as s, context.wrap_socket(s, server_hostname="floe.test") as t:
            t.sendall(b"hello\n")
            assert rest_of(t) == b"2 says hello\n"
        with connect(vm, b"T") as s, context.wrap_socket(s, server_hostname="floe.test") as t:
            assert t.recv(100) == b"begun\n"
            t.sendall(b"hello\n")
            assert rest_of(t) == b"3 says hello\n"

    assert "\nhere 9\n" in while_served(vm, clients)


@pytest.mark.any_accel
def test_streams_and_a_fork_that_fails(boot: Boot) -> None:
    guest = GUESTS / "guest_handoff_async.py"
    vm = boot(guest, deadline_s=DEADLINE_S, children=1, net=["user"], ports=[8080])
    vm.expect_exact("serving")

    def line_after(s: socket.socket, says: bytes) -> bytes:
        s.sendall(says)
        with s.makefile("rb") as file:
            return file.readline()

    def clients() -> None:
        with connect(vm, b"") as first, connect(vm, b"") as second:
            assert line_after(first, b"one\n") == b"there one\n"
            assert line_after(second, b"two\n") == b"here errno 11\n"
            assert line_after(first, b"three\n") == b"there three\n"
            first.shutdown(socket.SHUT_WR)
            assert rest_of(first) == b""
            assert line_after(second, b"four\n") == b"four\n"
            assert rest_of(second) == b""

    text = while_served(vm, clients, b"stop\n")
    assert "refused OSError(107,) TypeError() TypeError()\n" in text
    assert "] another child\n" in text
