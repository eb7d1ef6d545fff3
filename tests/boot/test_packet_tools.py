# SPDX-License-Identifier: MIT
"""A firewall (guest_packet_tools.py) between network namespaces, under the tools that people try firewalls with: nmap,
hping3, tcpdump; floods, fragments that lie, replies that go another way, cards without a link."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import rdpcap

from floe.testing import Boot
from tests.boot import packetpeer
from tests.boot.packetrouter import MACS, Router, routing, until_there
from tests.support.spaces import Space

HERE = Path(__file__).resolve().parent
LEFT, RIGHT, LEFT6, RIGHT6 = "10.1.0.2", "10.2.0.2", "2001:db8:1::2", "2001:db8:2::2"
HALF_OPEN = 20_000
STEP_S = 20.0
NMAP = ("nmap", "-n", "-Pn", "--max-retries", "2", "--reason")


@pytest.fixture
def firewall(boot: Boot) -> Iterator[Router]:
    with routing(boot, HERE / "guest_packet_tools.py", behind=True) as router:
        yield router


# ---- what hosts do ------------------------------------------------------------------------------------


class Echo:
    """A server in a namespace that says back what it is told, on a port of TCP and UDP; a context manager."""

    def __init__(self, space: Space, port: int = 8000) -> None:
        self._sockets: set[socket.socket] = set()
        self.told: list[bytes] = []  # by UDP
        self._listener = space.call(self._bound, socket.SOCK_STREAM, port)
        self._datagrams = space.call(self._bound, socket.SOCK_DGRAM, port)
        self._listener.listen(128)

    @staticmethod
    def _bound(kind: int, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET6, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::", port))
        return sock

    def __enter__(self) -> Echo:
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._hear, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, self._datagrams, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._sockets.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := sock.recv(1 << 16):
                sock.sendall(data)

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, who = self._datagrams.recvfrom(1 << 16)
                if not data and not who:
                    return
                self.told.append(data)
                self._datagrams.sendto(data, who)


def connect(space: Space, address: str, port: int = 8000, timeout_s: float = STEP_S) -> socket.socket:
    return space.call(socket.create_connection, (address, port), timeout_s)


def goes_on(sock: socket.socket, word: bytes = b"x" * 3000) -> bool:
    """Whether the connection still carries."""
    sock.sendall(word)
    said = b""
    while len(said) < len(word) and (data := sock.recv(1 << 16)):
        said += data
    return said == word


def datagram(space: Space, address: str, data: bytes, timeout_s: float = STEP_S) -> bytes:
    """What is said back to it by UDP; b"" for nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with space.call(socket.socket, family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.sendto(data, (address, 8000))
        try:
            return sock.recv(1 << 16)
        except TimeoutError:
            return b""


def syns(count: int, port: int) -> list[bytes]:
    """Frames with as many SYNs, each of another client of the left network that does not exist."""
    sample = bytes(Ether(src="02:00:00:00:00:09", dst=MACS[0]) / IP(src="10.1.0.9", dst=RIGHT) / TCP(dport=port))
    frames = []
    for number in range(count):
        client = struct.pack(">BBBB", 10, 1, 0, 10 + number % 200)
        ip = bytearray(sample[14:34])
        ip[12:16], ip[10:12] = client, b"\0\0"
        ip[10:12] = checksum(bytes(ip))
        tcp = bytearray(sample[34:54])
        tcp[0:2], tcp[16:18] = struct.pack(">H", 1024 + number // 200), b"\0\0"
        tcp[16:18] = checksum(client + bytes(ip[16:20]) + struct.pack(">HH", 6, 20) + bytes(tcp))
        frames.append(sample[:14] + bytes(ip) + bytes(tcp))
    return frames


def checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def pour(space: Space, frames: list[bytes], per_s: int = 5000) -> None:
    """Send frames out of a namespace's tap, at a rate that even a slow VM takes whole."""

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((space.tap, 0))
            begin = time.monotonic()
            for number, frame in enumerate(frames):
                while number > (time.monotonic() - begin) * per_s:
                    time.sleep(0.001)
                sock.send(frame)

    space.call(work)


def send(space: Space, *packets: Packet) -> None:
    """From the left host by the VM."""
    own = packetpeer.hardware
    mac = space.call(own, space.tap)
    pour(space, [bytes(Ether(src=mac, dst=MACS[0]) / packet) for packet in packets])


@contextlib.contextmanager
def captured(space: Space, path: Path, *words: str) -> Iterator[Callable[[], list[Packet]]]:
    """tcpdump on a namespace's tap: what came in there until the function is called."""
    argv = space.argv("tcpdump", "-i", space.tap, "-n", "-U", "-Z", "root", "-Q", "in", "-w", path, *words)
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("listening on" in line for line in iter(process.stderr.readline, "")), "tcpdump has ended"

    def end() -> list[Packet]:
        time.sleep(0.3)  # for what is under way
        process.terminate()
        process.communicate(timeout=STEP_S)
        return list(rdpcap(str(path)))

    try:
        yield end
    finally:
        process.kill()
        process.wait(STEP_S)


def flood(space: Space, *words: str, seconds: float = 3.0) -> None:
    """hping3 as fast as it goes, for a while."""
    argv = space.argv("timeout", "-s", "INT", str(seconds), "hping3", "-q", "--flood", *words)
    subprocess.run(argv, capture_output=True, timeout=seconds + STEP_S, check=False)


# ---- nmap ---------------------------------------------------------------------------------------------


def scan(space: Space, *words: str) -> dict[str, str]:
    """What nmap finds, and why: "80/tcp": "open syn-ack"."""
    said = space.run(*NMAP, *words, timeout_s=150)
    return {
        port: f"{state} {why}" for port, state, why in re.findall(r"^(\d+/\w+) +(\S+) +\S+ +(\S+)", said, re.MULTILINE)
    }


@pytest.mark.any_accel
def test_nmap_finds_what_the_rules_say(firewall: Router, tmp_path: Path) -> None:
    left, right = firewall.left, firewall.right
    with Echo(right), captured(right, tmp_path / "right.pcap", "tcp") as came:
        for address, more, why in ((RIGHT, (), "admin-prohibited"), (RIGHT6, ("-6",), "admin-prohibited")):
            assert scan(left, *more, "-sS", "-p", "25-27,8000,8001", address) == {
                "25/tcp": "closed reset",  # the firewall says so
                "26/tcp": f"filtered {why}",
                "27/tcp": "filtered no-response",
                "8000/tcp": "open syn-ack",
                "8001/tcp": "closed reset",
            }
        for kind in ("-sA", "-sF", "-sN", "-sX", "-sM"):  # no segment gets in without a connection
            found = scan(left, kind, "-p", "8000,8001", RIGHT)
            assert {answer.partition("|")[2] or answer for answer in found.values()} == {"filtered no-response"}
        tiny = scan(left, "-f", "-sS", "-p", "8000", RIGHT)  # a TCP header in three fragments
        assert tiny == {"8000/tcp": "filtered no-response"}
        packets = came()
    assert {p[TCP].dport for p in packets if IP in p} <= {8000, 8001}
    first: set[tuple[str, int]] = set()
    for p in (p for p in packets if IP in p):  # to each port of the server nothing before a SYN
        end = (p[IP].src, p[TCP].sport)
        assert end in first or p[TCP].flags == "S", p.summary()
        first.add(end)
    said = firewall.ask("rules")
    assert said["invalid"][0] >= 10
    assert said["refused"][0] >= 2


@pytest.mark.any_accel
def test_nmap_of_udp(firewall: Router) -> None:
    with Echo(firewall.right):
        found = scan(firewall.left, "-sU", "-p", "26,27,8000,8001", "--data-string", "hello", RIGHT)
    assert found == {
        "26/udp": "filtered admin-prohibited",
        "27/udp": "open|filtered no-response",
        "8000/udp": "open udp-response",
        "8001/udp": "closed port-unreach",
    }


# ---- floods -------------------------------------------------------------------------------------------


def test_half_open_connections(firewall: Router) -> None:
    """20,000 of them: those that are established go on, and new ones come to be."""
    left, right = firewall.left, firewall.right
    with Echo(right):
        before = [connect(left, RIGHT) for _ in range(20)]
        assert all(goes_on(sock) for sock in before)
        pour(left, syns(HALF_OPEN, 8000))
        assert all(goes_on(sock) for sock in before)
        assert HALF_OPEN * 0.98 < firewall.ask("flows") <= HALF_OPEN + 40
        with connect(left, RIGHT) as sock:
            assert goes_on(sock)
        for sock in before:
            assert goes_on(sock)
            sock.close()
    assert firewall.ask("counters")["no_flow"] == 0


def test_a_full_table(boot: Boot) -> None:
    """As many flows as there may be: new ones are refused while those that wait for an answer are young, established
    ones go on."""
    with routing(boot, HERE / "guest_packet_tools.py", behind=True, args=["2000"]) as firewall:
        left, right = firewall.left, firewall.right
        with Echo(right):
            before = [connect(left, RIGHT) for _ in range(20)]
            frames = syns(HALF_OPEN, 8000)
            stream = threading.Thread(target=pour, args=(left, frames, 4000))
            stream.start()
            time.sleep(1.5)
            assert all(goes_on(sock) for sock in before)
            assert firewall.ask("counters")["no_flow"] > 100
            stream.join()
            assert all(goes_on(sock) for sock in before)
            assert firewall.ask("flows") <= 2000
            time.sleep(2.5)
            with connect(left, RIGHT) as sock:  # an unanswered one gives way
                assert goes_on(sock)
            for sock in before:
                assert goes_on(sock)
                sock.close()


def test_a_flood_of_echo_requests(firewall: Router, tmp_path: Path) -> None:
    """As many pass as the rule says; a connection goes on meanwhile."""
    left, right = firewall.left, firewall.right
    with Echo(right), connect(left, RIGHT) as sock, captured(right, tmp_path / "icmp.pcap", "icmp") as came:
        begin = time.monotonic()
        stream = threading.Thread(target=flood, args=(left, "--icmp", RIGHT))
        stream.start()
        time.sleep(1)
        assert goes_on(sock)
        stream.join()
        passed, seconds = len(came()), time.monotonic() - begin
        assert 50 <= passed <= 50 + 50 * seconds
        assert firewall.ask("rules")["echo"][0] > 1000
        assert goes_on(sock)
    time.sleep(1)
    assert left.call(packetpeer.ping, RIGHT)


def test_a_flood_that_is_answered_by_errors(firewall: Router, tmp_path: Path) -> None:
    """The errors of the VM are bounded, however many packets ask for one."""
    left, right = firewall.left, firewall.right
    with Echo(right), connect(left, RIGHT) as sock, captured(left, tmp_path / "icmp.pcap", "icmp") as came:
        begin = time.monotonic()
        flood(left, "--udp", "-p", "26", RIGHT)
        errors, seconds = came(), time.monotonic() - begin
        assert goes_on(sock)
    said = firewall.ask("counters")
    assert said["icmp"] >= len(errors) >= 50
    assert said["icmp"] <= 50 + 1000 * seconds
    assert said["rejected"] == said["icmp"] + said["icmp_limited"]
    assert {(p[ICMP].type, p[ICMP].code) for p in errors} == {(3, 13)}


# ---- fragments ----------------------------------------------------------------------------------------


def pieces(dport: int, ident: int) -> tuple[Packet, Packet]:
    """A datagram of 1,500 bytes in two fragments, the second one with other letters."""
    head = IP(src=LEFT, dst=RIGHT, id=ident, flags="MF") / UDP(sport=7, dport=dport, len=1508, chksum=0)
    tail = IP(src=LEFT, dst=RIGHT, id=ident, frag=174, proto=17) / Raw(b"b" * 116)
    return head / Raw(b"a" * 1384), tail


def test_fragments(firewall: Router, tmp_path: Path) -> None:
    left, right = firewall.left, firewall.right
    with Echo(right) as echo, captured(right, tmp_path / "udp.pcap", "ip or ip6") as came:
        for address in (RIGHT, RIGHT6):
            for size in (2000, 9000, 60000):
                data = bytes(n % 251 for n in range(size))
                assert datagram(left, address, data) == data, (address, size)
        echo.told.clear()

        # What overlaps does not get through, whichever way the receiver would put it together.
        head, tail = pieces(8000, 1)
        over = IP(src=LEFT, dst=RIGHT, id=1, flags="MF", frag=100, proto=17) / Raw(b"X" * 160)
        longer = IP(src=LEFT, dst=RIGHT, id=1, frag=172, proto=17) / Raw(b"X" * 200)
        header = IP(src=LEFT, dst=RIGHT, id=1, flags="MF", frag=0, proto=17) / UDP(dport=27, len=24) / Raw(b"X" * 16)
        send(left, head, over, longer, header, tail)
        # A TCP header that a later fragment writes over: RFC 1858.
        tcp = bytes(TCP(sport=7, dport=8000, flags="S")) + b"X" * 12
        send(left, IP(src=LEFT, dst=RIGHT, id=2, flags="MF", proto=6) / Raw(tcp[:24]))
        send(left, IP(src=LEFT, dst=RIGHT, id=2, frag=1, proto=6) / Raw(b"X" * 24))
        # Later ones of what may not pass, in either order; later ones of nothing.
        for ident, order in ((3, 1), (4, -1)):
            send(left, *pieces(27, ident)[::order])
        send(left, pieces(8000, 5)[1])
        # One that claims to be longer than a packet can be.
        send(left, pieces(8000, 6)[0], IP(src=LEFT, dst=RIGHT, id=6, frag=8189, proto=17) / Raw(b"X" * 100))
        assert left.call(packetpeer.ping, RIGHT)
        packets = came()
    assert all(b"X" not in bytes(p[IP].payload) for p in packets if IP in p and p[IP].id in (1, 6))
    through = [(p[IP].id, p[IP].frag) for p in packets if IP in p and p[IP].id < 7 and p[IP].proto in (6, 17)]
    assert not [what for what in through if what[0] in (3, 4, 5) or what in ((1, 100), (1, 172), (2, 1), (6, 8189))]
    assert all(b"X" not in data for data in echo.told)


# ---- other ways ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def short_cut(router: Router) -> Iterator[None]:
    """What the right host says to the left one does not go by the VM."""
    left, right = router.left, router.right
    left.ip("link", "add", "short", "type", "veth", "peer", "name", "short", "netns", right.name)
    for space, address in ((left, "10.9.0.1/30"), (right, "10.9.0.2/30")):
        space.ip("addr", "add", address, "dev", "short")
        space.ip("link", "set", "short", "up")
    right.ip("route", "add", f"{LEFT}/32", "via", "10.9.0.1")
    yield
    right.ip("route", "del", f"{LEFT}/32")


def test_replies_that_go_another_way(firewall: Router) -> None:
    """A connection of which one half is seen is none by its state; what no rule asks the state of passes."""
    left, right = firewall.left, firewall.right
    with short_cut(firewall), Echo(right), Echo(right, 8002):
        assert datagram(left, RIGHT, b"there and back") == b"there and back"
        with connect(left, RIGHT, 8002) as sock:
            assert goes_on(sock)
        with connect(left, RIGHT, 8000) as sock:  # its SYN passed, and nothing behind it
            sock.settimeout(2.0)
            with pytest.raises(TimeoutError):
                goes_on(sock)
        assert firewall.ask("rules")["invalid"][0] > 0
    with Echo(right), connect(left, RIGHT) as sock:
        assert goes_on(sock)


# ---- links --------------------------------------------------------------------------------------------


def set_link(router: Router, card: int, *, up: bool) -> None:
    """Pull or plug a cable of the VM's, by QMP."""
    commands = router.vm._hypervisor._copying.commands
    router.vm.loop.run_until_complete(commands.ask("set_link", {"name": f"net{card}", "up": up}))


def unreachable(router: Router) -> bool:
    """Whether the left host is told that the right one cannot be reached, as soon as the VM has looked at its link, as it
    does once a second."""
    udp = IP(src=LEFT, dst=RIGHT) / UDP(sport=7, dport=8000) / Raw(b"x")
    for _ in range(4):
        back = router.from_left(udp, expect=ICMP, timeout_s=2.0)
        if back is not None:
            return (back[ICMP].type, back[ICMP].code) == (3, 1)
    return False


def test_cards_without_a_link(firewall: Router) -> None:
    left, right = firewall.left, firewall.right
    with Echo(right), connect(left, RIGHT) as sock:
        assert goes_on(sock)

        # The VM's cable.
        set_link(firewall, 1, up=False)
        assert unreachable(firewall)
        set_link(firewall, 1, up=True)
        assert goes_on(sock)
        set_link(firewall, 0, up=False)
        set_link(firewall, 0, up=True)
        assert goes_on(sock)

        # The neighbour's card, while much is sent to it.
        right.ip("link", "set", right.tap, "down")
        flood(left, "--udp", "-p", "8001", RIGHT, seconds=2.0)
        right.ip("link", "set", right.tap, "up")
        right.ip("route", "add", "default", "via", "10.2.0.1")
        until_there(left, RIGHT)
        assert goes_on(sock)
        with connect(left, RIGHT) as another:
            assert goes_on(another)
