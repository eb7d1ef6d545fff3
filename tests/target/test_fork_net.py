# SPDX-License-Identifier: MIT
"""Forks while others are at work with a VM: guest_fork_net.py inside, and outside a host that sends, echoes and asks, and
looks at the packets of children.

FLOE_FORK_MB=100 makes the download as long, FLOE_FORK_WORKERS=30 asks until so many workers were made, one a second.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from scapy.layers.inet import TCP
from scapy.utils import rdpcap

from floe.testing import Boot, Guest
from tests.support.sockets import talk_to_all

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_net.py"
DEADLINE_S = 300.0
MB = int(os.environ.get("FLOE_FORK_MB", "10"))
WORKERS = int(os.environ.get("FLOE_FORK_WORKERS", "5"))
FORKS = 20
CLIENTS = 4


class Host:
    """Services on ports of 127.0.0.1, each connection in a thread: `arguments` names them for the guest."""

    def __init__(self, services: dict[str, Callable[[socket.socket], None]]) -> None:
        self._services = services
        self._stack = ExitStack()
        self.ports: dict[str, int] = {}

    @property
    def arguments(self) -> list[str]:
        return [f"{name}={port}" for name, port in self.ports.items()]

    def __enter__(self) -> Self:
        for name, talk in self._services.items():
            server = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            self.ports[name] = server.getsockname()[1]
            threading.Thread(target=talk_to_all, args=(server, talk, DEADLINE_S), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def echo(conn: socket.socket) -> None:
    while data := conn.recv(4096):
        conn.sendall(data)


def answer_hash(conn: socket.socket) -> None:
    hashed = hashlib.sha256()
    while data := conn.recv(65536):
        hashed.update(data)
    conn.sendall(hashed.hexdigest().encode())


def peers(path: Path) -> set[int]:
    """Ports of the host with which a VM has spoken."""
    return {p[TCP].dport for p in rdpcap(str(path)) if TCP in p}


def child_packets(packets: Path, vm: Guest, pid: int) -> Path:
    return packets.with_name(f"{packets.stem}.{vm.spec.name}.{pid - 1}.pcap")


def test_a_transfer_runs_through_forks(boot: Boot, tmp_path: Path) -> None:
    """It arrives whole, and no child has said anything of it; each has spoken on a connection of its own."""
    blob = random.Random(20).randbytes(MB * 1_000_000)
    packets = tmp_path / "packets.pcap"
    with Host({"blob": lambda conn: conn.sendall(blob), "echo": echo}) as host:
        words = ["transfer", *host.arguments, f"size={len(blob)}", f"forks={FORKS}"]
        vm = boot(GUEST, deadline_s=DEADLINE_S, args=words, children=FORKS, capture=packets)
        assert vm.wait() == 0
    text = vm.console_text
    assert f"told 1 hash {len(blob)} {hashlib.sha256(blob).hexdigest()} {FORKS} {{0}}\n" in text
    for pid in range(2, 2 + FORKS):
        assert f"told {pid} child errno 104 b'mine'\n" in text
        assert host.ports["echo"] in peers(own := child_packets(packets, vm, pid))
        assert host.ports["blob"] not in peers(own)
    assert "PANIC" not in text


def test_an_upload_runs_through_forks(boot: Boot, tmp_path: Path) -> None:
    """What is on its way when a VM forks, is sent by one machine alone."""
    packets = tmp_path / "packets.pcap"
    with Host({"sink": answer_hash, "echo": echo}) as host:
        words = ["upload", *host.arguments, f"size={MB * 1_000_000}", f"forks={FORKS}"]
        vm = boot(GUEST, deadline_s=DEADLINE_S, args=words, children=FORKS, capture=packets)
        assert vm.wait() == 0
    assert f"told 1 hash True {FORKS} {{0}}\n" in vm.console_text
    for pid in range(2, 2 + FORKS):
        assert f"told {pid} child errno 104 b'mine'\n" in vm.console_text
        assert host.ports["echo"] in peers(own := child_packets(packets, vm, pid))
        assert host.ports["sink"] not in peers(own)


def ask(port: int, word: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        s.sendall(f"{word}\n".encode())
        return s.makefile().readline().strip()


def test_a_childs_child(boot: Boot, tmp_path: Path) -> None:
    """What listens goes on in all three, each at a port of its own; connections are their maker's alone."""
    packets = tmp_path / "packets.pcap"
    names = ("first", "second", "third")
    with Host(dict.fromkeys(names, echo)) as host:
        args = ["nested", *host.arguments]
        vm = boot(GUEST, deadline_s=DEADLINE_S, args=args, net=["user"], ports=[8080], capture=packets)
        for _ in names:
            vm.expect(r"told \d own b'still'")
        ports = [vm.ports[8080], *(m.machine.ports[8080] for m in sorted(vm.family.children, key=lambda m: m.pid))]
        assert [ask(port, "hello") for port in ports] == ["pid 1", "pid 2", "pid 3"]
        for port in reversed(ports):
            ask(port, "stop")
        assert vm.wait() == 0
    text = vm.console_text
    assert "told 2 inherited errno 104\n" in text
    assert "told 3 inherited b'' errno 104\n" in text  # of the first one its parent has heard before
    assert f"told 1 child ended (2, {2 << 8})\n" in text and f"told 2 child ended (3, {3 << 8})\n" in text
    first, second, third = (host.ports[name] for name in names)
    theirs = {first, second, third}
    assert peers(packets) & theirs == {first}
    assert peers(child_packets(packets, vm, 2)) & theirs == {second}
    assert peers(child_packets(packets, vm, 3)) & theirs == {third}
    assert "PANIC" not in text


class Client(threading.Thread):
    """Asks again and again on one connection, until it is told to stop."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._stop_asked = threading.Event()
        self.served = 0
        self.problem: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            http_client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            while not self._stop_asked.is_set():
                http_client.request("GET", "/")
                assert http_client.getresponse().read() == b"served"
                self.served += 1
            http_client.close()
        except Exception as e:  # what it is, the test says
            self.problem = e

    def stop(self) -> int:
        """How many answers came. Raises what went wrong."""
        self._stop_asked.set()
        self.join(60)
        if self.problem is not None:
            raise self.problem
        return self.served


def test_a_server_makes_workers(boot: Boot) -> None:
    """Nobody who asks a server sees that it forks."""
    args = ["workers", f"forks={WORKERS}", f"pause={1000 if WORKERS > 5 else 200}"]
    vm = boot(GUEST, deadline_s=DEADLINE_S, args=args, net=["user"], ports=[8080])
    vm.expect_exact("told 1 serving")
    clients = [Client(vm.ports[8080]) for _ in range(CLIENTS)]
    vm.expect_exact(f"told 1 workers {WORKERS} {{{5 << 8}}}")
    assert min(client.stop() for client in clients) > WORKERS
    assert "Traceback" not in vm.console_text
