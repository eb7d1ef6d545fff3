# SPDX-License-Identifier: MIT
"""images/firewall and images/router as domains with two vifs: outside the lab's network, where QEMU takes TCP and UDP
apart and believes no checksum; inside a host that is a network namespace of dom0."""

from __future__ import annotations

import contextlib
import http.server
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.testing import Boot, Guest
from floe.xenlab import lab as the_lab
from tests.boot.dnsupstream import Upstream
from tests.support.fixtures import REPO
from tests.xen.traffic import SLOW, becomes, dom0, get, number, pattern

LAN, SERVER = "lan", "10.1.0.2"
INSIDE = f"bridge:{LAN},mac=00:16:3e:00:02:01,ip=10.1.0.1/24"
OUTSIDE = "10.0.2.24"
OUTSIDE6 = "2001:db8:9::"
WAN = f"bridge:xenbr0,mac=00:16:3e:00:02:00,ip={OUTSIDE}/24"
WWW = "/tmp/gateways"
WHO = b"#!/bin/sh\necho\necho $REMOTE_ADDR\n"
DATA = pattern(1 << 18)
FIREWALL = f"""
[cards]
wan = 0
lan = 1
[zones]
outside = "wan"
inside = "lan"
[sources]
inside = "10.1.0.0/24"
[policy]
inside.outside = "accept"
[[forward]]
in = "wan"
port = 8080
to = "{SERVER}"
to-port = 80
[nat]
masquerade = "wan"
"""
ROUTER = """
domain = "home.example"
leases = ""
upstream = ["10.0.2.2@{port}"]
[cards]
wan = 0
lan = 1
[[lan]]
card = "lan"
dhcp = "10.1.0.100-10.1.0.199"
[[lan.reservation]]
mac = "fe:ff:ff:ff:ff:ff"
address = "10.1.0.2"
name = "client"
[[forward]]
in = "wan"
port = 8080
to = "10.1.0.2"
to-port = 80
[hosts]
nas = "10.1.0.8"
[nat]
masquerade = "wan"
"""
# What udhcpc calls.
BOUND = b"""#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip route add default via $router
echo "$ip $router $dns $domain"
"""


class Inside:
    """A network namespace of dom0, to which the inner vif of a domain goes."""

    def __init__(self) -> None:
        self.device = self._undo = ""
        self.pid = dom0(
            f"brctl addbr {LAN} && echo 1 > /proc/sys/net/ipv6/conf/{LAN}/disable_ipv6 && ip link set {LAN} up; unshare -n sleep 1000 >/dev/null 2>&1 </dev/null & n=0;"
            " until [ $(readlink /proc/$!/ns/net) != $(readlink /proc/self/ns/net) ]; do usleep 50000; done; echo $!"
        ).strip()
        assert self.pid.isdecimal(), self.pid
        self.run("ip link set lo up")

    def run(self, script: str) -> str:
        return dom0(f"nsenter -t {self.pid} -n sh -c {shlex.quote(script)}")

    def take_vif(self, *addresses: str) -> None:
        """The domain's second card is on a bridge by now; from there it comes to this namespace."""
        self.device = f"vif{number()}.1"
        dom0(f"ip link set {self.device} netns {self.pid}")
        self.run(f"ip link set {self.device} up")
        for address in addresses:
            self.run(f"ip addr add {address} dev {self.device}")

    def outside_has(self, kind: str, what: str) -> None:
        """An address or a route of dom0 itself, as long as this host is there."""
        dom0(f"ip {kind} add {what}")
        self._undo += f"; ip {kind} del {what}"

    def close(self) -> None:
        dom0(f"kill {self.pid}; killall httpd; rm -rf {WWW}; ip link set {LAN} down; brctl delbr {LAN}{self._undo}")


@pytest.fixture
def inside(lab: None) -> Iterator[Inside]:
    host = Inside()
    with contextlib.closing(host):
        yield host


@pytest.fixture
def outside() -> Iterator[str]:
    """A web server of this machine's, as the lab's guests reach it: its address and port."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(DATA)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"10.0.2.2:{server.server_port}"
        server.shutdown()


def image(at: Path, base: str, text: str) -> Path:
    """An image with this file in it, on images/BASE: a disk would cost dom0 seconds, and is tests/xen/test_disk.py's."""
    (at / "data").mkdir(parents=True)
    (at / "image.toml").write_text(f'name = "{at.name}"\nbase = "{REPO / "images" / base}"\n')
    (at / "data" / f"{base}.toml").write_text(text)
    return at


def put_pages() -> None:
    """What httpd in dom0 has: the data, and who asks."""
    the_lab.call(f"mkdir -p {WWW}/cgi-bin; cat > {WWW}/data", stdin=DATA)
    the_lab.call(f"cat > {WWW}/cgi-bin/who; chmod 755 {WWW}/cgi-bin/who", stdin=WHO)


def same(url: str) -> str:
    """A script: "same" if there is the data at url."""
    return f"timeout 50 wget -q -O - http://{url} | cmp - {WWW}/data && echo same"


def leased(inside: Inside) -> list[str]:
    """What DHCP tells: an address, which it has then, router, name server, domain."""
    the_lab.call(f"cat > {WWW}/bound; chmod 755 {WWW}/bound", stdin=BOUND)
    return inside.run(
        f"udhcpc -f -q -n -t 5 -T 2 -i {inside.device} -s {WWW}/bound -x hostname:client 2>/dev/null"
    ).split()


@contextlib.contextmanager
def large_frames(inside: Inside, direction: int) -> Iterator[None]:
    """The data goes from vif to vif, 1: inwards, in fewer frames than there are segments of TCP."""

    def count() -> list[int]:
        script = "awk '/vif/ {print $11, $3}' /proc/net/dev"
        return list(map(int, (dom0(script) + inside.run(script)).split()))

    before = count()
    yield
    got_outside, sent_outside, got_inside, sent_inside = (b - a for a, b in zip(before, count(), strict=True))
    got, sent = (got_outside, sent_inside) if direction > 0 else (got_inside, sent_outside)
    assert 0 < got < len(DATA) / 1460 and sent < len(DATA) / 1460, (got, sent)


def says(vm: Guest, command: str, pattern: str) -> int:
    vm.send(command.encode() + b"\n")
    vm.expect(pattern, timeout=SLOW)
    return int(vm.match[1])


def ends_well(vm: Guest) -> None:
    vm.stop()
    assert vm.wait() == 0
    said = [line for line in vm.console_text.splitlines() if "no link yet" not in line]  # a dom0 that was slow
    assert not any("Traceback" in line or "xen vif" in line for line in said), vm.console_text


def test_firewall(boot: Boot, inside: Inside, outside: str, tmp_path: Path) -> None:
    """TCP through NAT and through a forwarded port, checksums left open on one vif and on the other; what must not pass.
    So little memory has no large frames."""
    edge = image(tmp_path / "edge", "firewall", FIREWALL)
    vm = boot(edge, deadline_s=240, net=[WAN, INSIDE], ports=[8080], memory="16M")
    vm.expect_exact("zones in force", timeout=SLOW)
    inside.take_vif(f"{SERVER}/24")
    inside.run("ip route add default via 10.1.0.1")
    put_pages()
    dom0(f"httpd -p 8000 -h {WWW}")
    inside.run(f"httpd -p 80 -h {WWW}")
    assert becomes(lambda: " 0% packet loss" in inside.run("ping -q -c 1 10.1.0.1"))
    assert OUTSIDE in inside.run("wget -q -O - http://10.0.2.14:8000/cgi-bin/who")
    assert "10.0.2.14" in dom0(f"wget -q -O - http://{OUTSIDE}:8080/cgi-bin/who")
    assert inside.run(same(f"{outside}/")) == "same\n"
    assert get(f"http://127.0.0.1:{vm.ports[8080]}/data") == DATA
    inside.outside_has("route", f"10.1.0.0/24 via {OUTSIDE}")
    for silent in (f"{OUTSIDE}/data", f"{SERVER}/data"):
        assert dom0(f"timeout 2 wget -q -O - http://{silent} >/dev/null 2>&1; echo $?") == "143\n"
    assert says(vm, "rules", r"denied outside to inside +(\d+)") > 0
    assert says(vm, "rules", r"denied outside to this +(\d+)") > 0
    assert says(vm, "counters", r"forwarded +(\d+)") > 100
    ends_well(vm)


def test_router(boot: Boot, inside: Inside, outside: str, tmp_path: Path) -> None:
    """An address by DHCP, names, advertisements; large frames of both families from vif to vif; a vif that is pulled."""
    with Upstream() as upstream:
        gate = image(tmp_path / "gate", "router", ROUTER.format(port=upstream.port))
        nets = [f"{WAN},ip6={OUTSIDE6}1/64", f"{INSIDE},ip6=2001:db8:1::1/64"]
        vm = boot(gate, deadline_s=240, net=nets, ports=[8080], memory="32M")
        vm.expect_exact("routing between 2 cards", timeout=SLOW)
        inside.outside_has("addr", f"{OUTSIDE6}14/64 dev xenbr0")
        inside.outside_has("route", f"2001:db8:1::/64 via {OUTSIDE6}1")
        inside.take_vif()
        put_pages()
        assert leased(inside) == [SERVER, "10.1.0.1", "10.1.0.1", "home.example"]
        for name, wanted in {
            "client.home.example": SERVER,
            "nas.home.example": "10.1.0.8",
            "a.up.test": "192.0.2.77",
        }.items():
            assert wanted in inside.run(f"nslookup -type=a {name} 10.1.0.1"), name
        assert upstream.seen
    inside.run(f"httpd -p 80 -h {WWW}")
    dom0(f"httpd -p 8000 -h {WWW}")
    assert inside.run(same(f"{outside}/")) == "same\n"
    with large_frames(inside, -1):
        assert get(f"http://127.0.0.1:{vm.ports[8080]}/data") == DATA
    assert "2001:db8:1:" in inside.run("ip -6 addr")  # and its router is this one:
    with large_frames(inside, 1):
        assert inside.run(same(f"[{OUTSIDE6}14]:8000/data")) == "same\n"

    n = number()
    inside.run(f"wget -q -O /dev/null http://{outside}/ >/dev/null 2>&1 &")
    dom0(f"xl network-detach {n} 1; xl network-attach {n} mac=00:16:3e:00:02:01,bridge={LAN}")
    assert becomes(lambda: dom0(f"xenstore-read /local/domain/0/backend/vif/{n}/1/state").strip() == "4")
    inside.take_vif()
    assert leased(inside)[0] == SERVER
    assert inside.run(same(f"{outside}/")) == "same\n"
    ends_well(vm)
