# SPDX-License-Identifier: MIT
"""The switch between VMs: who gets a frame, what happens to those that are slow, and what its own station answers."""

from __future__ import annotations

import os
import random
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from floe.hostnet import names
from floe.hostnet.station import Gateway
from floe.hostnet.switch import Loop, Network
from tests.support.sockets import exactly
from tests.support.vms import until

ALL = "ff:ff:ff:ff:ff:ff"
A, B, C = (f"02:00:00:00:00:0{n}" for n in range(1, 4))
WAIT_S = 20


class Wired:
    """A network in a thread of its own."""

    def __init__(self, stall_s: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="floe-switch-"))
        self.loop = Loop()
        self.network = Network(self.loop, self.folder / "s", stall_s=stall_s)
        self.gateway = Gateway(self.network, "10.9.0.1")
        self.gateway.set_names({"db": [["10.9.0.2", A]], "web": [["10.9.0.3", B], ["10.9.0.4", C]]})
        self._wake, woken = socket.socketpair()
        self.loop.selector.register(woken, 1, lambda events: self._run(woken))
        self._todo: list[Callable[[], object]] = []
        self._woken = woken
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._thread.start()

    def _run(self, woken: socket.socket) -> None:
        woken.recv(100)
        while self._todo:
            self._todo.pop(0)()

    def do(self, what: Callable[[], object]) -> None:
        """In the loop's thread; returns when it is done."""
        done = threading.Event()
        self._todo += [what, done.set]
        self._wake.send(b"x")
        assert done.wait(WAIT_S)

    def join(self) -> socket.socket:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(WAIT_S)
        s.connect(str(self.folder / "s"))
        return s

    def close(self) -> None:
        self.do(lambda: (self.gateway.close(), self.network.close(), setattr(self.loop, "stopping", True)))
        self._thread.join(WAIT_S)
        self._wake.close()
        self._woken.close()
        assert list(self.folder.iterdir()) == []
        shutil.rmtree(self.folder)


@pytest.fixture
def wired(request: pytest.FixtureRequest) -> Iterator[Wired]:
    found = Wired(getattr(request, "param", 60.0))
    yield found
    found.close()


def sent(card: socket.socket, frame: Any) -> bytes:
    data = bytes(frame)
    card.sendall(len(data).to_bytes(4, "big") + data)
    return data


def got(card: socket.socket) -> bytes:
    return exactly(card, int.from_bytes(exactly(card, 4), "big"))


def frame(target: str, source: str, text: bytes) -> Any:
    return Ether(dst=target, src=source, type=0x88B5) / text


def hello(wired: Wired, *cards: tuple[socket.socket, str]) -> None:
    """Each is known to the switch, which has answered it alone."""
    for card, mac in cards:
        sent(card, Ether(dst=wired.gateway.mac.hex(":"), src=mac) / ARP(pdst="10.9.0.1", psrc="10.9.0.9", hwsrc=mac))
        assert Ether(got(card))[ARP].op == 2


def is_joined(wired: Wired, mac: str) -> bool:
    found: list[bool] = []
    wired.do(lambda: found.append(wired.network.is_joined(bytes.fromhex(mac.replace(":", "")))))
    return found[0]


def test_who_gets_a_frame(wired: Wired) -> None:
    with wired.join() as a, wired.join() as b, wired.join() as c:
        hello(wired, (a, A), (b, B), (c, C))
        one = sent(a, frame(B, A, b"for b"))
        for_all = sent(a, frame(ALL, A, b"for all"))
        unknown = sent(a, frame("02:00:00:00:00:77", A, b"for whom"))
        assert [got(b) for _ in range(3)] == [one, for_all, unknown]
        assert [got(c) for _ in range(2)] == [for_all, unknown]
        back = sent(c, frame(A, C, b"back"))
        assert got(a) == back
        sent(a, frame(B, "01:00:5e:00:00:01", b"from many"))  # no source
        sent(a, frame(B, wired.gateway.mac.hex(":"), b"as the gateway"))
        sent(a, b"short")
        last = sent(a, frame(B, A, b"last"))
        assert got(b) == last
        sent(c, frame(ALL, A, b"moved"))  # A's address has gone over to c
        assert got(a)[14:19] == got(b)[14:19] == b"moved"
        to_a = sent(b, frame(A, B, b"to a"))
        assert got(c) == to_a


def test_one_that_leaves_is_forgotten(wired: Wired) -> None:
    with wired.join() as a, wired.join() as b:
        hello(wired, (a, A), (b, B))
        assert is_joined(wired, B)
        b.close()
        until(lambda: not is_joined(wired, B), "the end of b")
        assert is_joined(wired, A)


def test_nothing_is_lost_between_those_that_take(wired: Wired) -> None:
    """Ten times what is queued, to one that takes it slowly: the sender waits."""
    with wired.join() as a, wired.join() as b:
        hello(wired, (a, A), (b, B))
        data = bytes(frame(B, A, bytes(1486)))
        count = (10 << 20) // len(data)
        wire = b"".join(
            (len(data)).to_bytes(4, "big") + data[:14] + n.to_bytes(4, "big") + data[18:] for n in range(count)
        )
        sender = threading.Thread(target=a.sendall, args=(wire,))
        sender.start()
        assert [int.from_bytes(got(b)[14:18], "big") for n in range(count)] == list(range(count))
        sender.join(WAIT_S)


@pytest.mark.parametrize("wired", [0.1], indirect=True)
def test_a_sleeper_holds_nobody_up(wired: Wired) -> None:
    with wired.join() as a, wired.join() as b, wired.join() as c:
        hello(wired, (a, A), (b, B), (c, C))
        for _ in range(100):
            sent(a, frame(C, A, bytes(60000)))
        last = sent(a, frame(B, A, b"past it"))
        assert got(b) == last
        # It wakes up, and hears again.
        c.setblocking(False)
        with suppress(BlockingIOError):
            while c.recv(1 << 20):
                pass
        c.settimeout(WAIT_S)
        end = threading.Event()

        def call() -> None:
            while not end.wait(0.05):
                sent(b, frame(C, B, b"awake?"))

        caller = threading.Thread(target=call)
        caller.start()
        try:
            said = b""
            while b"awake?" not in said:
                said = said[-100:] + c.recv(1 << 16)
        finally:
            end.set()
            caller.join(WAIT_S)


def test_a_liar_is_put_out(wired: Wired) -> None:
    with wired.join() as a, wired.join() as b, wired.join() as liar:
        hello(wired, (a, A), (b, B), (liar, C))
        liar.sendall(b"\xff\xff\xff\xffrubbish")
        with suppress(ConnectionResetError):
            assert liar.recv(100) == b""
        data = sent(a, frame(B, A, b"still there"))
        assert got(b) == data


def asked(card: socket.socket, packet: Any) -> Any:
    """The station's answer."""
    sent(card, packet)
    return Ether(got(card))


def test_the_station_answers(wired: Wired) -> None:
    own = wired.gateway.mac.hex(":")
    with wired.join() as a, wired.join() as b:
        hello(wired, (a, A), (b, B))
        base = Ether(dst=own, src=A) / IP(src="10.9.0.2", dst="10.9.0.1")
        reply = asked(a, Ether(dst=ALL, src=A) / ARP(pdst="10.9.0.1", psrc="10.9.0.2", hwsrc=A))
        assert (reply[ARP].op, reply[ARP].hwsrc, reply[ARP].psrc) == (2, own, "10.9.0.1")
        assert Ether(got(b))[ARP].op == 1  # all heard the question
        reply = asked(a, base / ICMP(id=7, seq=9) / b"ping")
        assert (reply[ICMP].type, reply[ICMP].id, reply[ICMP].seq, bytes(reply[ICMP].payload)) == (0, 7, 9, b"ping")

        def resolved(name: str, kind: str = "A") -> tuple[int, list[str]]:
            found = asked(a, base / UDP(sport=4000, dport=53) / DNS(id=5, rd=1, qd=DNSQR(qname=name, qtype=kind)))
            for layer in (IP, UDP, ICMP):
                if layer in found:  # what scapy computes is what was there
                    before = found[layer].chksum
                    del found[layer].chksum
                    assert Ether(bytes(found))[layer].chksum == before
            dns = found[DNS]
            assert (dns.id, dns.qr, dns.qd[0].qname.decode()) == (5, 1, f"{name}.")
            return dns.rcode, [record.rdata for record in dns.an] if dns.ancount else []

        assert resolved("db") == (0, ["10.9.0.2"])
        assert resolved("DB") == (0, ["10.9.0.2"])
        assert resolved("db", "AAAA") == (0, [])
        assert resolved("example.org") == (5, [])
        assert resolved("web") == (0, ["10.9.0.3"])  # the other one is not there
        with wired.join() as c:
            hello(wired, (a, A), (b, B), (c, C))
            found = [resolved("web") for _ in range(2)]
            assert sorted(found[0][1]) == ["10.9.0.3", "10.9.0.4"]
            assert found[1][1] == found[0][1][::-1]


def test_whether_a_port_answers(wired: Wired) -> None:
    with wired.join() as a:
        hello(wired, (a, A))
        said: list[bool] = []
        for flags, expected in (("SA", True), ("RA", False)):
            wired.do(lambda: wired.gateway.probe("10.9.0.2", 80, said.append))
            syn = Ether(got(a))
            assert (syn.dst, syn[IP].dst, syn[TCP].dport, syn[TCP].flags) == (A, "10.9.0.2", 80, "S")
            back = IP(src="10.9.0.2", dst="10.9.0.1") / TCP(sport=80, dport=syn[TCP].sport, flags=flags, seq=1)
            back[TCP].ack = syn[TCP].seq + 7  # of another connection
            sent(a, Ether(dst=syn.src, src=A) / back)
            back[TCP].ack = (syn[TCP].seq + 1) & 0xFFFFFFFF
            sent(a, Ether(dst=syn.src, src=A) / back)
            if expected:
                assert Ether(got(a))[TCP].flags == "R"
            asked(a, Ether(dst=ALL, src=A) / ARP(pdst="10.9.0.1", psrc="10.9.0.2", hwsrc=A))
            assert said.pop() is expected
            assert said == []
        sent(
            a,
            Ether(dst=syn.src, src=A) / IP(src="10.9.0.2", dst="10.9.0.1") / TCP(sport=80, dport=5, flags="SA", ack=9),
        )
        unasked = Ether(got(a))[TCP]
        assert (unasked.flags, unasked.sport, unasked.seq) == ("R", 5, 9)
        told = threading.Event()
        wired.do(lambda: wired.gateway.probe("10.9.0.2", 81, lambda open_: (said.append(open_), told.set())))
        syns = [Ether(got(a))[TCP] for _ in range(3)]  # which may come before who is to answer them
        assert [(syn.flags, syn.dport, syn.sport, syn.seq) for syn in syns] == [
            ("S", 81, syns[0].sport, syns[0].seq)
        ] * 3
        assert told.wait(WAIT_S)  # nobody answers
        assert said == [False]


class Silent:
    """A network without cards."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.said = 0

    def inject(self, frame: bytes) -> None:
        self.said += 1

    def is_joined(self, mac: bytes) -> bool:
        return False


def test_the_station_survives_what_makes_no_sense() -> None:
    network: Any = Silent()
    gateway = Gateway(network, "10.9.0.1")
    gateway.set_names({"db": [["10.9.0.2", A]]})
    chance = random.Random(7)
    own = gateway.mac.hex(":")
    base = Ether(dst=own, src=A) / IP(src="10.9.0.2", dst="10.9.0.1")
    good = [
        bytes(base / UDP(sport=4000, dport=53) / DNS(rd=1, qd=DNSQR(qname="db"))),
        bytes(base / ICMP() / b"ping"),
        bytes(base / TCP(sport=80, dport=50000, flags="SA")),
        bytes(Ether(dst=ALL, src=A) / ARP(pdst="10.9.0.1")),
    ]
    for packet in good:
        gateway.receive(packet)
        for size in range(14, len(packet)):
            gateway.receive(packet[:size])
        for _ in range(500):
            bad = bytearray(packet)
            for _ in range(chance.randint(1, 6)):
                bad[chance.randrange(12, len(bad))] = chance.randrange(256)
            gateway.receive(bytes(bad))
    assert network.said > 3
    for _ in range(2000):
        names.answer(os.urandom(chance.randrange(60)), lambda name: [b"\x0a\x09\x00\x02"])
    long = b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\x3f" * 1000
    assert names.answer(long, lambda name: None) is not None
    assert names.answer(good[0][42:], lambda name: [b"\x0a\x09\x00\x02"] * 64) is not None
    assert len(names.answer(good[0][42:], lambda name: [b"\x0a\x09\x00\x02"] * 64) or b"") <= 512
