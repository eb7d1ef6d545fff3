# SPDX-License-Identifier: MIT
"""A guest that may reach one port of its host (--allow) and tries to reach more: by frames of its own making, by IPv6,
by names, by a redirect. What a QEMU that it took over could do: tests/tools/egress/test_guard.py."""

from __future__ import annotations

import asyncio
import http.server
import json
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, GRE, Ether
from scapy.packet import Packet, Raw

from floe.testing import Boot, Guest
from tests.support.command import floe
from tests.support.fixtures import REPO

GUEST = REPO / "tests/target/guests/guest_egress.py"
HERE, GATEWAY, RESOLVER, OWN = "127.0.0.1", "10.0.2.2", "10.0.2.3", "10.0.2.15"
REFUSED = "<OSError 111>"


class Outside:
    """What a guest must not reach: a TCP and a UDP port of this host, by IPv4 and IPv6 where the host has it."""

    def __init__(self) -> None:
        self.sockets = [socket.create_server((HERE, 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
        self.tcp = self.sockets[0].getsockname()[1]
        self.sockets[1].bind((HERE, 0))
        self.udp = self.sockets[1].getsockname()[1]
        if socket.has_ipv6:
            self.sockets += [
                socket.create_server(("::1", self.tcp), family=socket.AF_INET6),
                socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
            ]
            self.sockets[3].bind(("::1", self.udp))

    def heard(self, wait_s: float = 0.3) -> int:
        """How many of them heard anything."""
        return len(select.select(self.sockets, [], [], wait_s)[0])

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.close()


@pytest.fixture
def site(outside: Outside) -> Iterator[int]:
    """The port of a web server that sends everybody to where the guest may not go."""

    class Redirects(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"http://{GATEWAY}:{outside.tcp}/secrets")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((HERE, 0), Redirects)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def frames(tcp: int, udp: int) -> list[bytes]:
    """Ways to reach those ports, or anybody, that no socket has."""
    out: list[Packet] = []
    four = (GATEWAY, "10.0.2.77", "10.0.2.255", "255.255.255.255", HERE, "127.9.9.9", "0.0.0.0", "192.0.2.1", "8.8.8.8")
    for to in four:
        out += [IP(src=OWN, dst=to) / UDP(sport=4000, dport=port) / b"leak" for port in (udp, 53, 0)]
        out += [IP(src=OWN, dst=to) / TCP(sport=4001 + n, dport=port) for n, port in enumerate((tcp, 53, 80))]
        out += [IP(src=OWN, dst=to) / ICMP() / b"leak", IP(src=OWN, dst=to) / GRE() / b"leak"]
        out += [IP(src=OWN, dst=to, proto=number) / b"leak" for number in (0, 2, 4, 41, 50, 132, 136, 255)]
    for claimed in ("10.0.2.99", "192.0.2.5", HERE, "0.0.0.0", GATEWAY):
        out += [IP(src=claimed, dst=GATEWAY) / UDP(sport=4100, dport=udp) / b"leak"]
        out += [IP(src=claimed, dst=GATEWAY) / TCP(sport=4100, dport=tcp)]
    out += [IP(src=OWN, dst=RESOLVER, options=[IPOption_LSRR(routers=[GATEWAY])]) / UDP(sport=1, dport=udp) / b"leak"]
    out += fragment(IP(src=OWN, dst=GATEWAY, id=7) / UDP(sport=4200, dport=udp) / Raw(b"leak" * 800), 512)
    out += [
        IP(src=OWN, dst=GATEWAY) / TCP(sport=4300, dport=tcp, flags=flags) / b"leak" for flags in ("A", "PA", "R", "FA")
    ]
    out += [IP(src=OWN, dst=RESOLVER) / TCP(sport=4400, dport=53)]
    for to6 in ("fec0::2", "fec0::3", "::1", "::", f"::ffff:{HERE}", "2001:db8::1", "ff02::1", "fe80::2"):
        six = IPv6(src="fec0::5054:ff:fe12:3456", dst=to6)
        out += [six / UDP(sport=4500, dport=port) / b"leak" for port in (udp, 53)]
        out += [six / TCP(sport=4500 + n, dport=port) for n, port in enumerate((tcp, 53))]
        out += [six / ICMPv6EchoRequest(data=b"leak")]
    ethernet = Ether(src="52:54:00:12:34:56", dst="52:55:0a:00:02:02")
    made = [bytes(ethernet / packet) for packet in out]
    made += [bytes(ethernet / ARP(psrc=OWN, pdst="10.0.2.77")), bytes(ethernet / Raw(bytes(60))), bytes(ethernet) * 2]
    return [frame.ljust(60, b"\0") for frame in made]


def written(path: Path, all_of_them: list[bytes]) -> Path:
    path.write_bytes(b"".join(len(frame).to_bytes(2, "big") + frame for frame in all_of_them))
    return path


def said(vm: Guest, line: str) -> str:
    """What came of one of its verbs."""
    vm.send(f"{line}\n".encode())
    vm.expect(r"<(.*)>\r?\n", timeout=60)
    return f"<{vm.expecter.match[1]}>"


@pytest.fixture
def frames_file(tmp_path: Path, outside: Outside) -> Path:
    return written(tmp_path / "frames", frames(outside.tcp, outside.udp))


def query(name: str, kind: str) -> str:
    return dns.message.make_query(name, kind).to_wire().hex()


def test_a_hostile_guest(
    boot: Boot, outside: Outside, site: int, frames_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of its own reaches anybody; what is allowed works before and after."""
    told: list[str] = []
    real = socket.getaddrinfo
    known = {"site.example": HERE, "two.example": "192.0.2.3"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **by: real(known.get(host, host), *more, **by))
    allow = [f"{GATEWAY}:{site}", f"site.example:{site}", "two.example:1/udp"]
    vm = boot(GUEST, allow=allow, secrets={"frames": frames_file})
    vm.say = told.append
    vm.expect("<READY>", timeout=60)
    assert said(vm, f"get {GATEWAY} {site}") == f"<('302', '{GATEWAY}:{outside.tcp}')>"
    assert said(vm, f"get Site.Example {site}").startswith("<('302'")
    assert [said(vm, f"names {name}.example") for name in ("site", "two")] == [f"<['{GATEWAY}']>", "<['192.0.2.3']>"]
    assert said(vm, f"get site.example {outside.tcp}") == REFUSED
    # An allowed server may say where to go; the guest is not let there.
    vm.send(f"follow {GATEWAY} {site}\n".encode())
    vm.expect_exact(f"sent to {GATEWAY}:{outside.tcp}", timeout=60)
    vm.expect_exact(REFUSED, timeout=60)
    sent = len(frames(outside.tcp, outside.udp))
    assert said(vm, "frames") == f"<{sent}>"
    for host in (GATEWAY, HERE, "10.0.2.50"):
        assert said(vm, f"udp {host} {outside.udp}").startswith("<OSError")
    for name in ("evil.example", f"{'a' * 63}.{'b' * 63}.evil.example"):
        assert said(vm, f"names {name}").startswith("<OSError")
        for kind in ("TXT", "A"):
            assert said(vm, f"ask {RESOLVER} {query(name, kind)}") == f"<(5, ('{RESOLVER}', 53))>"
    assert said(vm, f"ask 8.8.8.8 {query('evil.example', 'A')}").startswith("<OSError")
    assert said(vm, f"get {GATEWAY} {site}").startswith("<('302'")
    assert outside.heard() == 0
    vm.send(b"end\n")
    assert vm.wait() == 0
    assert len(told) == len(set(told)), "once for each target"
    for target in (f"{HERE}:{outside.tcp}", f"{HERE}:{outside.udp}/udp", "8.8.8.8:53/udp", "the name evil.example"):
        assert f"--allow: refused {target}" in told
    assert "--allow: refused ICMP: the guest's ping" in told


FORKS = """
import os, socket, sys

def reached(port):
    s = socket.socket()
    s.settimeout(10)
    try:
        s.connect(("10.0.2.2", port))
        return True
    except OSError:
        return False

open_, closed = map(int, sys.argv[1:])
if os.fork() == 0:
    print("<child %s %s>" % (reached(open_), reached(closed)))
    sys.exit(0)
os.wait()
print("<parent %s>" % reached(open_))
"""


def test_a_child_s_way_out_is_its_parent_s(boot: Boot, outside: Outside, site: int, tmp_path: Path) -> None:
    """And what it was refused is told with its name."""
    app = tmp_path / "forks.py"
    app.write_text(FORKS)
    told: list[str] = []
    vm = boot(app, allow=[f"localhost:{site}"], args=(str(site), str(outside.tcp)))
    vm.say = told.append
    vm.expect_exact("<child True False>", timeout=60)
    vm.expect_exact("<parent True>", timeout=60)
    assert vm.wait() == 0
    assert told == [f"{vm.spec.name}.1: --allow: refused {HERE}:{outside.tcp}"]
    assert outside.heard() == 0


SERVES = """
import socket, sys

s = socket.socket()
s.bind(("0.0.0.0", 80))
s.listen(1)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("0.0.0.0", 53))
print("<READY>")
c, _ = s.accept()
c.send(c.recv(10))
c.close()
for _ in range(2):
    data, place = u.recvfrom(10)
    u.sendto(data, place)
u.sendto(b"leak", ("10.0.2.2", int(sys.argv[1])))
"""


def test_forwarded_ports_answer_whoever_asks(boot: Boot, outside: Outside, tmp_path: Path) -> None:
    """By TCP and UDP, and nobody else: not from the same port either."""
    app = tmp_path / "serves.py"
    app.write_text(SERVES)
    vm = boot(app, allow=["none"], ports=[80, "53/udp"], args=(str(outside.udp),))
    vm.expect_exact("<READY>", timeout=60)
    with socket.create_connection((HERE, vm.ports[80]), timeout=20) as stream:
        stream.sendall(b"question")
        vm.loop.run_until_complete(asyncio.to_thread(select.select, [stream], [], [], 20))
        assert stream.recv(10) == b"question"
    for _ in range(2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(20)
            client.sendto(b"question", (HERE, vm.ports["53/udp"]))
            assert client.recv(10) == b"question"
    assert vm.wait() == 0
    assert outside.heard() == 0


def test_without_it_they_get_out(boot: Boot, outside: Outside, site: int, tmp_path: Path) -> None:
    """The tries are worth something. Only those that stay on this host."""
    ethernet = Ether(src="52:54:00:12:34:56", dst="52:55:0a:00:02:02")
    near = [IP(src=OWN, dst=GATEWAY) / UDP(sport=4000, dport=outside.udp) / b"leak"]
    near.append(IP(src=OWN, dst=GATEWAY) / TCP(sport=4001, dport=outside.tcp))
    vm = boot(GUEST, secrets={"frames": written(tmp_path / "near", [bytes(ethernet / packet) for packet in near])})
    vm.expect("<READY>", timeout=60)
    said(vm, "frames")
    assert said(vm, f"get {GATEWAY} {site}").startswith("<('302'")
    assert outside.heard() == 2


TRIES = """
import socket, sys
for port in sys.argv[1:]:
    s = socket.socket()
    try:
        s.connect(("10.0.2.2", int(port)))
        print(port, "reached")
    except OSError as e:
        print(port, "refused", e.errno)
    s.close()
"""


def test_a_file_says_what_may_be_reached(tmp_path: Path, floe_accel: str) -> None:
    """The image's own holds, a stack's takes its place, and one in a network of which nobody can hold to it is refused."""
    with socket.create_server((HERE, 0)) as one, socket.create_server((HERE, 0)) as other:
        ports = [str(server.getsockname()[1]) for server in (one, other)]
        (tmp_path / "main.py").write_text(TRIES)
        (tmp_path / "image.toml").write_text(f'allow = ["{GATEWAY}:{ports[0]}"]\nmemory = "8M"\n')
        done = floe("run", "--accel", floe_accel, tmp_path, "--", *ports)
        said = [f"{ports[0]} reached", f"{ports[1]} refused 111"]
        assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr

        table = f'[vm.a]\napp = "."\naccel = "{floe_accel}"\nargs = {json.dumps(ports)}\nready = {{ exit = 0 }}\n'
        file = tmp_path / "compose.toml"
        file.write_text(f'{table}allow = ["{GATEWAY}:{ports[1]}"]\n')
        done = floe("compose", "up", tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"{ports[0]} refused 111" in done.stdout and f"{ports[1]} reached" in done.stdout
        file.write_text(f'{table}networks = ["n"]\n[network.n]\n')
        done = floe("compose", "plan", tmp_path)
        assert (done.returncode, done.stdout) == (125, "")
        assert "compose.toml: vm.a: allow of image.toml: not with --net connect:" in done.stderr
