# SPDX-License-Identifier: MIT
"""-p with clients: TCP and UDP, ranges, IPv4 and IPv6, in the foreground and detached, across a reset of the guest and
the death of a keeper."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from floe.errors import FloeError
from floe.spec import ports
from floe.spec.runoptions import RunOptions
from floe.store import vmfolder
from floe.vm.plan import plan
from floe.vm.vm import Vm
from tests.support.command import floe
from tests.support.vms import Vms, kill, log, until

GUEST = Path(__file__).resolve().parent / "guests" / "guest_ports.py"
WAIT_S = 10.0
GUEST_PORTS = range(7001, 7004)
LOOPBACKS = ("127.0.0.1", "::1")


@pytest.fixture
def first() -> int:
    """The first of three ports of this machine that are free everywhere, by TCP and UDP."""
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("SKIP: this machine has no IPv6")
    for _ in range(50):
        first = random.randrange(20_000, 32_000)
        try:
            ports.claim([f for text in published(first) for f in ports.parse_forwards(text)])
        except FloeError:
            continue
        return first
    pytest.fail("no three ports are free")


def published(first: int) -> list[str]:
    """A range of TCP and one of UDP, at all addresses of IPv6 and one of IPv4."""
    span = f"{first}-{first + 2}:7001-7003"
    return [f"{address}{span}{kind}" for address in ("", "[::]:") for kind in ("", "/udp")]


def say(address: str, port: int, word: bytes) -> bytes:
    with socket.create_connection((address, port), WAIT_S) as s:
        s.sendall(word)
        return b"".join(iter(lambda: s.recv(100), b""))


def order(address: str, port: int, word: bytes) -> None:
    """What ends QEMU may end its answer, too."""
    with suppress(ConnectionError):
        say(address, port, word)


def send(address: str, port: int, data: bytes) -> bytes:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(WAIT_S)
        s.connect((address, port))
        s.send(data)
        return s.recv(9000)


def all_answer(first: int) -> None:
    for address in LOOPBACKS:
        for port, guest_port in enumerate(GUEST_PORTS, first):
            assert say(address, port, b"tcp") == b"%d TCP" % guest_port
            assert send(address, port, b"udp" * 400) == b"UDP" * 400


def repeated(sock: socket.socket) -> int:
    """How many segments this host has sent again, a SYN among them (struct tcp_info of linux/tcp.h, its 24th word)."""
    return int(struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0])


def many_come_at_once(first: int, pid: int) -> None:
    """None of 60 clients waits for another, though nobody takes a connection meanwhile; all are served later."""
    with ExitStack() as stack:
        os.kill(pid, signal.SIGSTOP)
        stack.callback(os.kill, pid, signal.SIGCONT)
        clients = [stack.enter_context(socket.create_connection((LOOPBACKS[0], first), WAIT_S)) for _ in range(60)]
        assert [repeated(client) for client in clients] == [0] * 60
        os.kill(pid, signal.SIGCONT)
        for client in clients:
            client.sendall(b"many")
            assert client.recv(100) == b"7001 MANY"


def test_every_kind_of_port(first: int, accel: str, each_qemu: str) -> None:
    spec, _ = plan(GUEST, RunOptions(forwards=tuple(published(first)), accel=accel, memory="32M"))
    with Vm(spec) as vm:
        vm.expect_exact("listening", timeout=30)
        all_answer(first)
        many_come_at_once(first, vm.pid)
        order("::1", first, b"reset")
        vm.expect_exact("listening", timeout=30)
        all_answer(first)
        many_come_at_once(first, vm.pid)
        order("::1", first + 2, b"end")
        assert vm.wait(deadline_s=WAIT_S) == 9
        assert "PANIC" not in vm.console_text
    assert vm.resets == 1
    ports.claim([f for text in published(first) for f in ports.parse_forwards(text)])  # all are free again


def test_detached(first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Vms(tmp_path, monkeypatch) as vms:
        told = vms.run(*(word for text in published(first) for word in ("-p", text)), "--name", "p", GUEST)
        until(lambda: "listening" in log("p"), "the guest")
        all_answer(first)
        assert f"[::]:{first}->7001 " in floe("ps").stdout
        many_come_at_once(first, told["pid"])
        folder = vmfolder.find(told["name"])
        kill(folder.keeper)
        until(lambda: (keeper := folder.keeper) is not None and keeper.alive, "another keeper")
        vms.note(folder)
        until(lambda: _listens("::1", first), "the ports of the other keeper")
        all_answer(first)
        order("::1", first, b"end")
        done = floe("stop", "p")
        assert (done.returncode, "(9, exit)" in done.stderr) == (0, True), done.stderr


def _listens(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6) as s:
        return s.connect_ex((address, port)) == 0
