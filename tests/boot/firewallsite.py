# SPDX-License-Identifier: MIT
"""images/firewall between three hosts that are network namespaces: outside, inside and a DMZ; what they try."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from floe.testing import Boot, Guest
from tests.boot import packetpeer
from tests.support.fixtures import REPO
from tests.support.spaces import Space, spaces

K = TypeVar("K", bound="tuple[str | int, ...]")
R = TypeVar("R")
IMAGE = REPO / "images" / "firewall"
DEADLINE_S = 180
WAIT_S = 20.0
SILENT_S = 1.5
ADMIN = 9100
MACS = {"wan": "02:00:00:00:09:01", "lan": "02:00:00:00:01:01", "dmz": "02:00:00:00:02:01"}
NETS = {"wan": ("192.0.2", "2001:db8:9:"), "lan": ("10.1.0", "2001:db8:1:"), "dmz": ("10.2.0", "2001:db8:2:")}
FILE = """
flows = 2000
[cards]
wan = 0
lan = 1
dmz = "02:00:00:00:02:01"
[zones]
outside = ["wan"]
inside = ["lan"]
dmz = ["dmz"]
[sources]
inside = ["10.1.0.0/24", "2001:db8:1::/64"]
dmz = ["10.2.0.0/24", "2001:db8:2::/64"]
[policy]
inside.outside = "accept"
inside.dmz = "reject"
[[allow]]
name = "web"
from = ["outside", "inside"]
to = "dmz"
proto = "tcp"
port = 80
destination = ["10.2.0.2", "2001:db8:2::2"]
[[allow]]
name = "metrics"
from = "inside"
to = "this"
proto = "tcp"
port = 9100
[nat]
masquerade = ["wan"]
"""


@dataclass
class Site:
    """The firewall, and a host at each of its cards."""

    vm: Guest
    hosts: dict[str, Space]

    def tcp(self, where: str, address: str, port: int, wanted: str = "open") -> str:
        """A connection: "open", "refused" (also by ICMP), or "silent"; that takes less patience where it is wanted."""
        return self.hosts[where].call(_connect, address, port, SILENT_S if wanted == "silent" else WAIT_S)

    def ping(self, where: str, address: str, wanted: bool = True) -> bool:
        return self.hosts[where].call(packetpeer.ping, address, 56, WAIT_S if wanted else SILENT_S)

    def tcps(self, wanted: dict[tuple[str, str, int], str]) -> dict[tuple[str, str, int], str]:
        """As tcp(), what is wanted of each of them, all at once: for silence is waited once."""
        return _at_once(self.tcp, wanted)

    def pings(self, wanted: dict[tuple[str, str], bool]) -> dict[tuple[str, str], bool]:
        """As ping(), all at once."""
        return _at_once(self.ping, wanted)

    def until_there(self, where: str, address: str) -> None:
        end = time.monotonic() + WAIT_S
        while not self.hosts[where].call(packetpeer.ping, address, 56, 1.0):
            assert time.monotonic() < end, f"{address} does not answer"

    def send(self, where: str, *packets: Packet) -> None:
        """Frames from a host to the firewall."""
        device = self.hosts[where].tap

        def work() -> None:
            own = packetpeer.hardware(device)
            frames = [Ether(dst=MACS[where], src=own) / packet for packet in packets]
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
                sock.bind((device, packetpeer.ALL))
                for frame in frames:
                    sock.send(bytes(frame))

        self.hosts[where].call(work)

    def page(self, name: str = "metrics") -> tuple[int, str]:
        """A page of the admin port, asked for from inside by curl."""
        said = self.hosts["lan"].run(
            "curl", "-s", "-m", "10", "-w", "\n%{http_code}", f"http://10.1.0.1:{ADMIN}/{name}"
        )
        body, _, status = said.rpartition("\n")
        return int(status), body

    def count(self, rule: str) -> int:
        """Packets that a rule counted."""
        wanted = f'packet_rule_packets_total{{rule="{rule}"}} '
        return int(next(line for line in self.page()[1].splitlines() if line.startswith(wanted)).rsplit(" ", 1)[1])


def _at_once(ask: Callable[..., R], wanted: dict[K, R]) -> dict[K, R]:
    with ThreadPoolExecutor(len(wanted)) as pool:
        asked = {key: pool.submit(ask, *key, result) for key, result in wanted.items()}
        return {key: answer.result() for key, answer in asked.items()}


def _connect(address: str, port: int, patience_s: float) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(patience_s)
        try:
            sock.connect((address, port))
        except TimeoutError:
            return "silent"
        except ConnectionRefusedError:
            return "refused"
        except OSError as e:
            return f"error {e.errno}"
        return "open"


def folder(at: Path, text: str, more: str = "") -> Path:
    """An image that is built on images/firewall, with this file."""
    at.mkdir(exist_ok=True)
    (at / "image.toml").write_text(f'name = "edge"\nbase = "{IMAGE}"\n{more}')
    (at / "data").mkdir(exist_ok=True)
    (at / "data" / "firewall.toml").write_text(text)
    return at


def net(host: Space, name: str, *, fixed6: bool = True) -> str:
    v4, v6 = NETS[name]
    return f"tap:{host.tap},mac={MACS[name]},ip={v4}.1/24" + (f",ip6={v6}:1/64" if fixed6 else "")


@contextlib.contextmanager
def site(boot: Boot, image: Path, *, fixed6: bool = True, **options: Any) -> Iterator[Site]:
    """All of it; the VM must be alive and silent at the end. fixed6: its cards are given IPv6 addresses."""
    with spaces("w", "l", "d") as made:
        hosts = dict(zip(MACS, made, strict=True))
        cards = [net(host, name, fixed6=fixed6) for name, host in hosts.items()]
        options = {"memory": "16M", **options}
        vm = boot(image, deadline_s=DEADLINE_S, net=cards, **options)
        vm.expect_exact("zones in force")
        for name, host in hosts.items():
            v4, v6 = NETS[name]
            host.join(f"{v4}.2/24", f"{v6}:2/64", gateways=(f"{v4}.1", f"{v6}:1"))
        found = Site(vm, hosts)
        if "drop_echo = true" not in (image / "data" / "firewall.toml").read_text():
            for name in hosts:
                found.until_there(name, f"{NETS[name][0]}.1")
        else:
            time.sleep(1)
        yield found
        vm.stop()
        assert vm.wait() == 0
        assert "Traceback" not in vm.console_text and "PANIC" not in vm.console_text


@contextlib.contextmanager
def web(host: Space, address: str, port: int = 80) -> Iterator[None]:
    """A web server in a host's namespace."""
    server = host.call(_server, address, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.client_address[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(socketserver.ThreadingTCPServer):  # HTTPServer asks name servers for its own name
    allow_reuse_address = True
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server(address: str, port: int) -> _Server:
    return (_Server6 if ":" in address else _Server)((address, port), _Pages)


def client_address(url: str) -> str:
    """Whom a server of web() sees."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
