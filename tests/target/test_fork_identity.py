# SPDX-License-Identifier: MIT
"""A child is another machine: guest_fork_identity.py forks twice in the middle of a download, with connections open; its
family is asked from outside, and the packets of all three are looked at."""

from __future__ import annotations

import errno
import hashlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from scapy.layers.inet import TCP
from scapy.layers.l2 import ARP
from scapy.packet import Packet
from scapy.utils import rdpcap

from floe.testing import Boot, Guest
from tests.support.certs import Certificates
from tests.support.sockets import talk_to_all

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_identity.py"
DEADLINE_S = 60.0
DRAWS = 1000
CHILDREN = (2, 3)
RST, WHO_HAS = 4, 1
SLIRP = ("52:55:0a:00:02:", "52:56:00:00:00:")  # hardware addresses of QEMU's user network


class Host:
    """The services of the guest's; what VMs have drawn, by their numbers. Every connection but those of `draws` and
    `echo6` is the first VM's."""

    def __init__(self, blob: bytes, certificates: Certificates) -> None:
        self._blob = blob
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificates.pem("good"), certificates.key("good"))
        self._stack = ExitStack()
        self.draws: dict[int, bytes] = {}
        self.held = b""
        self.arguments: list[str] = []

    def __enter__(self) -> Self:
        services: dict[str, Callable[[socket.socket], None]] = {
            "blob": lambda s: s.sendall(self._blob),
            "hold": self._hold,
            "tls": self._secure,
            "draws": self._take,
        }
        for name, talk in services.items():
            self._serve(name, socket.create_server(("127.0.0.1", 0)), talk_to_all, talk, DEADLINE_S)
        self._serve("echo6", socket.create_server(("::1", 0), family=socket.AF_INET6), talk_to_all, _echo, DEADLINE_S)
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        self._serve("echo", datagrams, _echo_datagrams)
        return self

    def _serve(self, name: str, server: socket.socket, function: Callable[..., None], *more: object) -> None:
        self._stack.enter_context(server)
        self.arguments.append(f"{name}={server.getsockname()[1]}")
        threading.Thread(target=function, args=(server, *more), daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _hold(self, conn: socket.socket) -> None:
        self.held += conn.recv(10)

    def _secure(self, conn: socket.socket) -> None:
        with self._tls.wrap_socket(conn, server_side=True) as s:
            _echo(s)

    def _take(self, conn: socket.socket) -> None:
        with conn.makefile("rb") as file:
            pid, data = int(file.readline()), file.read(8 * DRAWS)
        self.draws[pid] = data
        conn.sendall(b"k")


def _echo(conn: socket.socket) -> None:
    while data := conn.recv(4096):
        conn.sendall(data)


def _echo_datagrams(server: socket.socket) -> None:
    with suppress(OSError):  # closed: the test is over
        while True:
            data, source = server.recvfrom(2048)
            server.sendto(data, source)


def ask(port: int, word: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
        s.sendall(f"{word}\n".encode())
        return s.makefile().readline().strip()


class Browser:
    """A TLS client that comes again with the session of its first visit."""

    def __init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2  # its ticket comes within the handshake
        self._session: ssl.SSLSession | None = None

    def visit(self, port: int) -> bool | None:
        """Whether the session of before was good."""
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        with plain, self._context.wrap_socket(plain, session=self._session) as s:
            s.sendall(b"hello\n")
            assert s.recv(10).startswith(b"pid ")
            self._session = self._session or s.session
            return s.session_reused


def told(vm: Guest, pid: int, what: str) -> list[str]:
    """The words of the latest line that a VM has told this in."""
    start = f"told {pid} {what} "
    lines = [line[line.index(start) + len(start) :] for line in vm.console_text.splitlines() if start in line]
    assert lines, (start, vm.console_text)
    return lines[-1].split()


def sent_by(card: Path, layer: type[Packet]) -> list[Any]:
    """Packets of this kind that left the guest."""
    packets = rdpcap(str(card))
    return [p[layer] for p in packets if layer in p and not p.src.startswith(SLIRP)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_a_child_is_another_machine(boot: Boot, certificates: Certificates, tmp_path: Path) -> None:
    blob = random.Random(12).randbytes(1_000_000)
    browser = Browser()
    with Host(blob, certificates) as host:
        packets = tmp_path / "packets.pcap"
        vm = boot(
            GUEST,
            deadline_s=DEADLINE_S,
            net=["user"],
            ports=[8080, 8443],
            args=host.arguments,
            env=certificates.env("good"),
            capture=packets,
        )
        vm.expect_exact("ready")
        assert browser.visit(vm.ports[8443]) is False
        assert browser.visit(vm.ports[8443]) is True
        begun = time.time()
        assert ask(vm.ports[8080], "go") == "pid 1"
        for _ in (1, *CHILDREN):
            vm.expect(r"told \d drew")
        members = {pid: member.machine for pid, member in zip(CHILDREN, vm.family.children, strict=True)}
        assert ask(vm.ports[8080], "hello") == "pid 1"
        for pid, machine in members.items():
            assert ask(machine.ports[8080], "hello") == f"pid {pid}"
            assert browser.visit(machine.ports[8443]) is False, "a ticket of the first machine's keys"
        assert browser.visit(vm.ports[8443]) is True
        for machine in (*members.values(), vm):
            ask(machine.ports[8080], "stop")
        assert vm.wait() == 0
        assert "PANIC" not in vm.console_text
        judge_words(vm, hashlib.sha256(blob).hexdigest())
        judge_clocks(vm, begun)
        judge_draws(host.draws)
        assert host.held == b""
        judge_packets(packets, [packets.with_name(f"packets.{m.spec.name}.pcap") for m in members.values()], host)


def judge_words(vm: Guest, digest: str) -> None:
    assert told(vm, 1, "hash") == ["1000000", digest, "[]"]
    assert told(vm, 1, "tls") == ["b'two'"]
    assert told(vm, 1, "unread") == ["b'theirs'", "b'own'"]
    who = {pid: told(vm, pid, "is") for pid in (1, *CHILDREN)}
    for pid in (1, *CHILDREN):
        assert told(vm, pid, "ip6") == ["1", "b'six'"]
    for pid in CHILDREN:
        assert told(vm, pid, "read") == f"errno {errno.ECONNRESET} b'' errno {errno.EPIPE}".split()
        assert told(vm, pid, "task") == ["errno", str(errno.ECONNRESET)]
        assert told(vm, pid, "tls") == f"errno {errno.ECONNRESET} errno {errno.EPIPE}".split()
        assert told(vm, pid, "unread") == f"errno {errno.EAGAIN} b'own'".split()
        assert told(vm, pid, "inside") == ["b'inside'"]
    for n, what in enumerate(("random", "hostname", "unique_id")):
        assert len({words[n] for words in who.values()}) == len(who), (what, who)
    assert f"told 1 ended {CHILDREN[0]} {7 << 8}" in vm.console_text
    assert f"told 1 ended {CHILDREN[1]} {7 << 8}" in vm.console_text


def judge_clocks(vm: Guest, begun: float) -> None:
    """The first VM's clock was set to a date of long ago; a child has the host's."""
    assert told(vm, 1, "clock")[1:] == ["2001", "2", "3"]
    for pid in CHILDREN:
        said, *date = map(int, told(vm, pid, "clock"))
        assert begun - 1 <= said <= time.time() + 1
        assert date == list(time.gmtime(said)[:3])


def judge_draws(draws: dict[int, bytes]) -> None:
    each = [data[i : i + 8] for data in draws.values() for i in range(0, len(data), 8)]
    assert len(each) == DRAWS * (1 + len(CHILDREN))
    assert len(set(each)) == len(each)


def judge_packets(first: Path, children: list[Path], host: Host) -> None:
    """No end of a connection of the first machine's, nor anything else of it, leaves a child, which has to ask where the
    host is."""
    ports = {name: int(port) for name, port in (word.split("=") for word in host.arguments)}
    theirs = {ports[name] for name in ("blob", "hold", "tls")}
    assert {t.dport for t in sent_by(first, TCP)} > theirs
    for path in (first, *children):
        sent = sent_by(path, TCP)
        assert sent
        # What `tls` says at the end of the first machine is for nobody any more.
        assert not [t for t in sent if t.flags & RST and t.dport != ports["tls"]]
        assert any(a.op == WHO_HAS and a.pdst == "10.0.2.2" for a in sent_by(path, ARP))
    for path in children:
        assert not [t for t in sent_by(path, TCP) if t.dport in theirs]
