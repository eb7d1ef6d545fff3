# SPDX-License-Identifier: MIT
"""What images/dns is compared with: Debian's nsd with the same zones, and what two answers have in common."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query

NSD = shutil.which("nsd", path="/usr/sbin:/usr/bin:/sbin:/bin")
_START_S = 20.0
_CONF = """server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  server-count: 1
  minimal-responses: yes
  refuse-any: no
  round-robin: no
  rrl-ratelimit: 0
  do-ip6: no
remote-control:
  control-enable: no
{more}
"""


def free_port() -> int:
    """One that nobody has, by UDP nor by TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Nsd:
    """A running nsd; its zones are files `NAMEzone` in its folder."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self.folder = folder

    def replace(self, zone: str, text: str) -> None:
        """Give it a new file of a zone, which it reads."""
        (self.folder / f"{zone}zone").write_text(text)
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def nsd(folder: Path, zones: dict[str, str | None], more: str = "", options: str = "", port: int = 0) -> Iterator[Nsd]:
    """An nsd with these zones, by name: text, or None if it is to fetch them. more: of its settings, options: of each zone."""
    assert NSD is not None
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    for name, text in zones.items():
        if text is not None:
            (folder / f"{name}zone").write_text(text)
        more += f'zone:\n  name: "{name}"\n  zonefile: "{name}zone"\n{options}'
    conf = folder / "nsd.conf"
    conf.write_text(_CONF.format(port=port, folder=folder, more=more))
    with (folder / "nsd.log").open("wb") as log:
        process = subprocess.Popen([NSD, "-d", "-c", str(conf)], stdout=log, stderr=log)
    try:
        _wait_until_it_answers(port, *next(iter(zones.items())), folder / "nsd.log")
        yield Nsd(process, port, folder)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait_until_it_answers(port: int, zone: str, text: str | None, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            reply = dns.query.udp(dns.message.make_query(zone, "SOA"), "127.0.0.1", timeout=0.5, port=port)
        except (OSError, dns.exception.DNSException):
            time.sleep(0.05)
            continue
        if reply.answer or text is None:
            return
        time.sleep(0.05)
    raise AssertionError(f"nsd does not answer for {zone}: {log.read_text()[-2000:]}")


def shown(wire: bytes) -> list[str]:
    """What an answer says, in an order of its own: code, flags, and each section's records."""
    reply = dns.message.from_wire(wire)
    out = [f"{dns.message.Message.rcode(reply)} {dns.flags.to_text(reply.flags)}"]
    out.append(str([str(q).lower() for q in reply.question]))
    if reply.flags & dns.flags.TC:
        return out
    for section in (reply.answer, reply.authority, reply.additional):
        lines = [f"{rrset.name} {rrset.ttl} {rrset.rdtype} {data}".lower() for rrset in section for data in rrset]
        out += ["--", *sorted(lines)]
    return out


def ask_by_tcp(port: int, query: bytes, timeout_s: float = 10.0) -> bytes:
    """The answer by TCP to a message."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as sock:
        sock.sendall(len(query).to_bytes(2, "big") + query)
        answer = b""
        while len(answer) < 2 or len(answer) < 2 + int.from_bytes(answer[:2], "big"):
            piece = sock.recv(65535)
            assert piece, f"no answer to {query.hex()}"
            answer += piece
        return answer[2:]


def ask_raw(port: int, query: bytes, timeout_s: float = 3.0, tries: int = 3) -> bytes:
    """The answer by UDP to a message, which is sent again if there is none."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(("127.0.0.1", port))
        for _ in range(tries):
            sock.send(query)
            try:
                while True:
                    answer = sock.recv(65535)
                    if answer[:2] == query[:2]:
                        return answer
            except TimeoutError:
                continue
    raise AssertionError(f"no answer to {query.hex()}")
