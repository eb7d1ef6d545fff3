# SPDX-License-Identifier: MIT
"""images/firewall between hosts that are network namespaces: who reaches whom, and what is told of the others."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from floe.testing import Boot, Guest
from tests.boot import firewallsite as fw
from tests.boot import iperfpath, packetpeer
from tests.support.command import floe
from tests.support.spaces import spaces

OPEN, SILENT, REFUSED = "open", "silent", "refused"


@pytest.fixture
def edge(boot: Boot, tmp_path: Path) -> Iterator[fw.Site]:
    with fw.site(boot, fw.folder(tmp_path / "edge", fw.FILE)) as site:
        yield site


def test_who_reaches_whom(edge: fw.Site) -> None:
    """Each way between zones, by TCP of both families and ping."""
    dmz, wan, lan = edge.hosts["dmz"], edge.hosts["wan"], edge.hosts["lan"]
    with (
        fw.web(dmz, "10.2.0.2"), fw.web(dmz, "2001:db8:2::2"), fw.web(dmz, "10.2.0.2", 81), fw.web(wan, "192.0.2.2"),
        fw.web(wan, "2001:db8:9::2"), fw.web(lan, "10.1.0.2"), fw.web(lan, "2001:db8:1::2"),
    ):  # fmt: skip
        wanted = {
            ("wan", "10.2.0.2", 80): OPEN,
            ("wan", "2001:db8:2::2", 80): OPEN,
            ("wan", "10.2.0.2", 81): SILENT,
            ("wan", "10.1.0.2", 80): SILENT,
            ("wan", "2001:db8:1::2", 80): SILENT,
            ("wan", "192.0.2.1", fw.ADMIN): SILENT,
            ("lan", "10.2.0.2", 80): OPEN,
            ("lan", "2001:db8:2::2", 80): OPEN,
            ("lan", "10.2.0.2", 81): REFUSED,
            ("lan", "192.0.2.2", 80): OPEN,
            ("lan", "2001:db8:9::2", 80): OPEN,
            ("lan", "10.1.0.1", fw.ADMIN): OPEN,
            ("lan", "10.1.0.1", 22): SILENT,
            ("dmz", "10.1.0.2", 80): SILENT,
            ("dmz", "192.0.2.2", 80): SILENT,
            ("dmz", "2001:db8:9::2", 80): SILENT,
            ("dmz", "10.2.0.1", fw.ADMIN): SILENT,
        }
        assert edge.tcps(wanted) == wanted
        assert lan.call(fw.client_address, "http://192.0.2.2/") == "192.0.2.1"  # behind the firewall's address
        assert wan.call(fw.client_address, "http://10.2.0.2/") == "192.0.2.2"
        assert lan.call(fw.client_address, "http://[2001:db8:9::2]/") == "2001:db8:1::2"
    pings = {("lan", "192.0.2.2"): True, ("lan", "2001:db8:9::2"): True, ("wan", "10.2.0.2"): False,
             ("wan", "192.0.2.1"): True, ("dmz", "2001:db8:2::1"): True, ("wan", "2001:db8:1::2"): False}  # fmt: skip
    assert edge.pings(pings) == pings
    assert (
        edge.count("web") >= 4 and edge.count("denied dmz to inside") >= 1 and edge.count("denied inside to this") >= 1
    )


def test_whose_packets_come_from_where(edge: fw.Site) -> None:
    udp = UDP(sport=4, dport=5) / Raw(b"x")
    edge.send("wan", IP(src="10.1.0.9", dst="10.2.0.2") / udp, IPv6(src="2001:db8:2::9", dst="2001:db8:1::2") / udp)
    edge.send("lan", IP(src="10.2.0.9", dst="192.0.2.2") / udp, IPv6(src="2001:db8:9::9", dst="2001:db8:9::2") / udp)
    edge.send("dmz", IP(src="192.0.2.9", dst="10.1.0.2") / udp, IP(src="10.2.0.9", dst="10.1.0.2") / udp)
    assert [edge.count(f"spoofed {zone}") for zone in ("outside", "inside", "dmz")] == [2, 2, 1]
    assert edge.count("denied dmz to inside") == 1


def test_a_forwarded_port(boot: Boot, tmp_path: Path) -> None:
    """From outside, from inside by the same address, and from beside the server; no echo of anybody's."""
    text = "drop_echo = true\n" + fw.FILE + FORWARD
    with fw.site(boot, fw.folder(tmp_path / "edge", text)) as edge, fw.web(edge.hosts["dmz"], "10.2.0.2", 8000):
        seen = {where: edge.hosts[where].call(fw.client_address, "http://192.0.2.1:8080/") for where in fw.MACS}
        assert seen == {"wan": "192.0.2.2", "lan": "10.1.0.2", "dmz": "10.2.0.1"}
        silent = dict.fromkeys(
            [("wan", "192.0.2.1", 8000), ("wan", "10.2.0.2", 8000), ("lan", "192.0.2.1", 9000)],  # no hairpin there
            SILENT,
        )
        assert edge.tcps(silent) == silent
        pings = [("lan", "192.0.2.2"), ("wan", "192.0.2.1"), ("lan", "2001:db8:1::1"), ("lan", "2001:db8:9::2")]
        assert not any(edge.pings(dict.fromkeys(pings, False)).values())
        assert edge.count("echo") == 4
        flows = edge.vm
        flows.send(b"flows\n")
        flows.expect(
            r"tcp +192\.0\.2\.2:\d+ +192\.0\.2\.1:8080 +192\.0\.2\.2:\d+ -> 10\.2\.0\.2:8000 ", timeout=fw.WAIT_S
        )
        flows.expect(r"\d+ of \d+ flows", timeout=fw.WAIT_S)
        for command, said in (
            (b"routes", "2001:db8:2::/64 "),
            (b"rules", "spoofed|web|echo +4"),
            (b"counters", "forwarded +"),
        ):
            flows.send(command + b"\n")
            flows.expect(said, timeout=fw.WAIT_S)


FORWARD = """
[[forward]]
in = "wan"
port = 8080
to = "10.2.0.2"
to-port = 8000
[[forward]]
in = "wan"
port = 9000
to = "10.2.0.2"
to-port = 8000
hairpin = false
"""


@pytest.mark.any_accel  # tests/boot/test_router_network.py has both, of the same engine
def test_iperf3_behind_one_address(edge: fw.Site) -> None:
    """And by IPv6, whose addresses stay as they are."""
    iperfpath.checked(edge.hosts["lan"], edge.hosts["wan"], ("192.0.2.2", "2001:db8:9::2"))


def test_pages_by_curl(edge: fw.Site) -> None:
    assert edge.page("health") == (200, "ok\n") and edge.page("ready") == (200, "ok\n")
    status, page = edge.page()
    assert status == 200
    for name in ("packet_flows ", 'packet_card_bytes_total{card="dmz",what="sent"} ', 'floe_info{name="edge"',
                 'packet_packets_total{result="local"} ', 'packet_rule_bytes_total{rule="metrics"} '):  # fmt: skip
        assert name in page, name


def test_many_flows_in_little_memory(boot: Boot, tmp_path: Path) -> None:
    """10,000 flows in 8 MiB: when more begin, those that nobody answered give way, and a connection goes on."""
    text = fw.FILE.replace("flows = 2000", "flows = 10000")
    with (
        fw.site(boot, fw.folder(tmp_path / "edge", text), memory="8M") as edge,
        fw.web(edge.hosts["wan"], "2001:db8:9::2"),
    ):
        talk = Talk("2001:db8:1::2")
        thread = threading.Thread(target=edge.hosts["lan"].call, args=(talk.run, "2001:db8:9::2"))
        thread.start()
        try:
            for first in range(0, 11000, 500):
                edge.hosts["lan"].call(flood, edge.hosts["lan"].tap, range(first, first + 500))
                time.sleep(0.05)
            found = number(edge.page()[1], "packet_flows")
            assert 9990 <= found <= 10000
            before = talk.answers
            time.sleep(1)
        finally:
            talk.ends = True
            thread.join()
        assert talk.wrong is None and talk.answers > before
        page = edge.page()[1]
        assert 9990 <= number(page, "packet_flows") <= 10000
        print("free RAM", number(page, "floe_ram_free_bytes"), "Python", number(page, "floe_gc_total_bytes"))


def test_a_thousand_rules(boot: Boot, tmp_path: Path) -> None:
    """A file of 110 KB is read, and again, and its rules hold."""
    rule = (
        '[[allow]]\nname = "r%d"\nfrom = "outside"\nto = "dmz"\nproto = "tcp"\nport = %d\ndestination = "10.2.0.%d"\n'
    )
    text = fw.FILE + "".join(rule % (n, 1000 + n, n % 200 + 2) for n in range(1000))
    with (
        fw.site(boot, fw.folder(tmp_path / "edge", text), memory="32M") as edge,
        fw.web(edge.hosts["dmz"], "10.2.0.2", 1800),
    ):
        assert edge.tcp("wan", "10.2.0.2", 1800) == OPEN
        assert edge.tcp("wan", "10.2.0.2", 1801, SILENT) == SILENT
        edge.vm.send(b"reload\n")
        edge.vm.expect(r"info firewall: read again \((\d+) ms\)", timeout=fw.DEADLINE_S)
        print("read again in", edge.vm.match[1], "ms")
        assert edge.count("r800") == 1


def flood(device: str, numbers: range) -> None:
    """UDP from inside to outside, another flow each."""
    whole = Ether(dst=fw.MACS["lan"], src=packetpeer.hardware(device)) / IPv6(src="2001:db8:1::2", dst="2001:db8:9::2")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, packetpeer.ALL))
        frame = bytearray(bytes(whole / UDP(sport=1, dport=9, chksum=1) / Raw(b"x")))
        for n in numbers:
            frame[54:56] = (20000 + n).to_bytes(2, "big")
            sock.send(frame)


def number(page: str, metric: str) -> int:
    return int(next(line for line in page.splitlines() if line.startswith(metric + " ")).rsplit(" ", 1)[1])


def test_an_address_by_dhcp(boot: Boot, tmp_path: Path) -> None:
    """A card that has none when rules are in force gets one, by answers to that address; forwarded ports follow."""
    ends = threading.Event()
    with spaces("w", "l", "d") as made:
        hosts = dict(zip(fw.MACS, made, strict=True))
        cards = [fw.net(host, name) for name, host in hosts.items()]
        cards[0] = f"tap:{hosts['wan'].tap},mac={fw.MACS['wan']}"
        vm = boot(fw.folder(tmp_path / "edge", fw.FILE + FORWARD), deadline_s=fw.DEADLINE_S, net=cards, memory="16M")
        vm.expect_exact("zones in force")
        for name, host in hosts.items():
            host.join(f"{fw.NETS[name][0]}.2/24", gateways=(f"{fw.NETS[name][0]}.1",))
        edge = fw.Site(vm, hosts)
        server = threading.Thread(target=hosts["wan"].call, args=(answer_dhcp, hosts["wan"].tap, ends))
        server.start()
        try:
            edge.until_there("wan", "192.0.2.50")
        finally:
            ends.set()
            server.join()
        with fw.web(hosts["dmz"], "10.2.0.2", 8000):
            end = time.monotonic() + fw.WAIT_S
            while edge.tcp("wan", "192.0.2.50", 8080, SILENT) != OPEN:
                assert time.monotonic() < end, vm.console_text
        assert edge.tcp("wan", "192.0.2.50", fw.ADMIN, SILENT) == SILENT
        vm.stop()
        assert vm.wait() == 0 and "Traceback" not in vm.console_text


@pytest.mark.parametrize(
    ("more", "fixed6", "believed"),
    [("", False, {"wan"}), ("", True, set()), ('autoconf6 = ["dmz", "wan"]\n', True, {"wan", "dmz"})],
)
def test_whose_advertisements_are_believed(
    boot: Boot, tmp_path: Path, more: str, fixed6: bool, believed: set[str]
) -> None:
    """Who says at the link of some card to be a router is the way out from there alone where the file has it so."""
    with fw.site(boot, fw.folder(tmp_path / "edge", more + fw.FILE), fixed6=fixed6) as edge:
        wanted = {f"2001:db8:bad{n}::/64" for n, name in enumerate(fw.MACS) if name in believed}
        for n, (name, host) in enumerate(edge.hosts.items()):
            said = IPv6(src=f"fe80::6{n}", dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=1800)
            frame = Ether(src=f"02:bb:00:00:00:0{n}", dst="33:33:00:00:00:01") / said
            frame /= ICMPv6NDOptPrefixInfo(prefix=f"2001:db8:bad{n}::", prefixlen=64)
            host.call(packetpeer.exchange, host.tap, [frame], lambda found: False, 0.1)
            assert edge.ping(name, f"{fw.NETS[name][0]}.1")
        end = time.monotonic() + fw.WAIT_S
        time.sleep(3)  # what is not to be there takes no longer than what is
        while not wanted <= set(re.findall(r"2001:db8:bad\d::/64", routes := table(edge))):
            assert time.monotonic() < end, routes
            time.sleep(0.2)
        assert set(re.findall(r"2001:db8:bad\d::/64", routes)) == wanted
        assert ("fe80::6" in routes) == bool(believed) and "fe80::61" not in routes


def table(edge: fw.Site) -> str:
    """The routes, as the console prints them."""
    edge.vm.send(b"routes\nflows\n")
    edge.vm.expect(r"\d+ of \d+ flows", timeout=fw.WAIT_S)
    return edge.vm.before


def answer_dhcp(device: str, ends: threading.Event) -> None:
    """A server that has 192.0.2.50 for everybody, and sends its answers there."""
    own = packetpeer.hardware(device)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(packetpeer.ALL)) as sock:
        sock.bind((device, packetpeer.ALL))
        sock.settimeout(0.2)
        while not ends.is_set():
            with contextlib.suppress(TimeoutError):
                asked = Ether(sock.recv(2048))
                if DHCP not in asked or asked[UDP].dport != 67:
                    continue
                kind = {1: "offer", 3: "ack"}[asked[DHCP].options[0][1]]
                options = [("message-type", kind), ("server_id", "192.0.2.2"), ("lease_time", 600),
                           ("subnet_mask", "255.255.255.0"), ("router", "192.0.2.2"), "end"]  # fmt: skip
                said = BOOTP(op=2, xid=asked[BOOTP].xid, yiaddr="192.0.2.50", chaddr=asked[BOOTP].chaddr)
                ends_ = IP(src="192.0.2.2", dst="192.0.2.50") / UDP(sport=67, dport=68)
                sock.send(bytes(Ether(src=own, dst=asked.src) / ends_ / said / DHCP(options=options)))


# ---- rules that change ----------------------------------------------------------------------------------

PYTHON = """
from packet import Set, accept, count, drop, reject, rule

friends = Set("friends", ["192.0.2.2"])
forward = [
    rule(src=friends, proto="tcp", dport=81) >> count("friends") >> accept,
    rule(in_="lan", proto="tcp", dport=80, dst="192.0.2.2") >> reject("tcp-reset"),
]
"""


def test_rules_change_while_packets_flow(boot: Boot, tmp_path: Path) -> None:
    """A file of rules on a disk, and the settings: read again when they change; a wrong one changes nothing; connections
    and flows go on."""
    image = fw.folder(tmp_path / "edge", fw.FILE)
    disk = tmp_path / "rules.img"
    assert floe("disk", "create", disk, "--size", "4M").returncode == 0
    for name, text in (("firewall.toml", 'rules = "/rules.py"\nreload_s = 1\n' + fw.FILE), ("rules.py", PYTHON)):
        (tmp_path / name).write_text(text)
        assert floe("disk", "cp", disk, tmp_path / name, ":/").returncode == 0
    toml = '[variant.disk]\nmain = "disk.py"\ndisks = true\n'
    fw.folder(image, fw.FILE, toml)
    with (
        fw.site(boot, image, variant="disk", dev=True, disks=[str(disk)], memory="32M") as edge,
        fw.web(edge.hosts["dmz"], "10.2.0.2"), fw.web(edge.hosts["dmz"], "10.2.0.2", 81),
        fw.web(edge.hosts["wan"], "192.0.2.2"),
    ):  # fmt: skip
        vm, talk = edge.vm, Talk("192.0.2.2")
        assert (edge.tcp("wan", "10.2.0.2", 81), edge.tcp("lan", "192.0.2.2", 80)) == (OPEN, REFUSED)
        thread = threading.Thread(target=edge.hosts["wan"].call, args=(talk.run, "10.2.0.2"))
        thread.start()
        try:
            for text, said in (
                (
                    PYTHON + "rule(\n",
                    "error firewall: the configuration stays as it was: /rules.py: line 10: SyntaxError: ",
                ),
                (PYTHON + "forward[0] >> undefined\n", "/rules.py: line 9: NameError: name 'undefined' isn't defined"),
                (
                    PYTHON.replace("dport=81", "dport=0x10000"),
                    "/rules.py: chain 'forward', rule 3: rule(src=Set('friends'), ",
                ),
            ):
                put(vm, "/rules.py", text)
                vm.expect_exact(said, timeout=fw.WAIT_S)
                assert (edge.tcp("wan", "10.2.0.2", 81), edge.tcp("lan", "192.0.2.2", 80)) == (OPEN, REFUSED)
            put(vm, "/firewall.toml", 'rules = "/rules.py"\nreload_s = 1\n' + fw.FILE.replace("2001:db8:2::2", "::x"))
            vm.expect_exact("/firewall.toml: allow 1: destination: '::x' is no address", timeout=fw.WAIT_S)
            put(vm, "/firewall.toml", "reload_s = 1\n" + fw.FILE.replace('["outside", "inside"]', '"inside"'))
            vm.expect_exact("info firewall: read again (", timeout=fw.WAIT_S)
            assert (edge.tcp("wan", "10.2.0.2", 81, SILENT), edge.tcp("lan", "192.0.2.2", 80)) == (SILENT, OPEN)
            assert edge.tcp("wan", "10.2.0.2", 80, SILENT) == SILENT
            before = talk.answers
            time.sleep(1)
        finally:
            talk.ends = True
            thread.join()
        assert talk.wrong is None and talk.answers > before + 1 > 20  # on the connection that was there
        assert "Traceback" not in vm.console_text


def put(vm: Guest, path: str, text: str) -> None:
    vm.exec(f"with open({path!r}, 'w') as f: f.write({text!r})")


class Talk:
    """One connection that asks again and again."""

    def __init__(self, seen: str) -> None:
        """seen: the client's address as the server sees it."""
        self.seen = seen.encode()
        self.answers, self.ends = 0, False
        self.wrong: Exception | None = None

    def run(self, address: str) -> None:
        try:
            connection = http.client.HTTPConnection(address, 80, timeout=fw.WAIT_S)
            while not self.ends:
                connection.request("GET", "/")
                assert connection.getresponse().read() == self.seen
                connection.auto_open = 0
                self.answers += 1
                time.sleep(0.02)
            connection.close()
        except Exception as e:
            self.wrong = e


def test_floe_swap(boot: Boot, tmp_path: Path) -> None:
    """The module ruleset of a dev image is another: its rules are in force a second later; a wrong one's are not."""
    with (
        fw.site(boot, fw.folder(tmp_path / "edge", fw.FILE), dev=True, memory="32M") as edge,
        fw.web(edge.hosts["wan"], "192.0.2.2"),
    ):
        assert edge.tcp("lan", "192.0.2.2", 80) == OPEN
        swap(edge.vm, "from packet import rule, drop\nforward = [rule(proto='tcp', dport=80) >> drop]\n" + REST)
        edge.vm.expect_exact("info firewall: read again (", timeout=fw.WAIT_S)
        assert edge.tcp("lan", "192.0.2.2", 80, SILENT) == SILENT
        swap(edge.vm, "from packet import rule, drop\nforward = [rule(dport=80) >> drop]\n" + REST)
        edge.vm.expect_exact(
            "the configuration stays as it was: /rom/firewall.toml, ruleset.py: chain 'forward', rule 3: "
        )
        edge.vm.expect_exact("dport needs proto='tcp', proto='udp' or both in its rule", timeout=fw.WAIT_S)
        assert edge.tcp("lan", "192.0.2.2", 80, SILENT) == SILENT
        assert "10.1.0.0/24" in edge.vm.exec("routes()") and "flows" in edge.vm.exec("flows()")
        assert "forwarded" in edge.vm.exec("rules(); counters()")
        swap(edge.vm, "forward = []\n" + REST)
        edge.vm.expect_exact("info firewall: read again (", timeout=fw.WAIT_S)
        assert edge.tcp("lan", "192.0.2.2", 80) == OPEN


REST = "rules = None\nprerouting = []\ninput = []\npostrouting = []\nchains = {}\n"


def swap(vm: Guest, code: str) -> None:
    vm.exec(f"import floe; floe.swap('ruleset', {code!r})")
