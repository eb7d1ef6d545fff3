# SPDX-License-Identifier: MIT
"""images/dns as primary and as secondary of Debian's nsd, with signatures; notifications both ways; zones read again
while it serves; its limit of answers a second."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update
import dns.zone
import pytest

from floe.testing import TIMEOUT, Boot
from tests.boot.dnsguest import BootDns, disk_of, serve
from tests.boot.dnspeer import NSD, ask_raw, free_port, nsd
from tests.boot.dnszones import APEX, Made

SECRET = base64.b64encode(b"a secret of sixteen bytes or more").decode()
KEYRING = dns.tsigkeyring.from_text({"xfer": SECRET})
ALGORITHM = "hmac-sha256"
NSD_KEY = f'key:\n  name: "xfer"\n  algorithm: {ALGORITHM}\n  secret: "{SECRET}"\n'
HERE = "10.0.2.2"  # this machine, as the guest sees it
WAIT_S = 40.0
needs_nsd = pytest.mark.skipif(NSD is None, reason="SKIP: nsd is not installed")


@pytest.fixture
def boot_dns(boot: Boot) -> Iterator[BootDns]:
    yield from serve(boot)


@pytest.fixture
def key(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "key").write_text(f"{ALGORITHM}:{SECRET}\n")
    return {"xfer": tmp_path / "key"}


def zone_text(serial: int, names: int = 0) -> str:
    lines = ["$TTL 1h", f"@ SOA ns host {serial} 3600 2 1209600 60", " NS ns", "ns A 192.0.2.1", f"serial TXT {serial}"]
    lines += [f"host{i} A 10.1.{i >> 8}.{i & 255}\n MX 10 host{i // 2}" for i in range(names)]
    return "\n".join(lines) + "\n"


def transfer(port: int, zone: str, signed: bool = True, secret: str = SECRET) -> dns.zone.Zone:
    ring = dns.tsigkeyring.from_text({"xfer": secret}) if signed else None
    name = "xfer" if signed else None
    messages = dns.query.xfr(
        "127.0.0.1", zone, port=port, keyring=ring, keyname=name, keyalgorithm=ALGORITHM, lifetime=30, relativize=False
    )
    return dns.zone.from_xfr(messages, relativize=False)


def serial_of(port: int, zone: str) -> int:
    """0: the server has no such zone."""
    reply = dns.message.from_wire(ask_raw(port, dns.message.make_query(zone, "SOA").to_wire()))
    return int(reply.answer[0][0].serial) if reply.answer else 0


def wait_for_serial(port: int, zone: str, serial: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while (found := serial_of(port, zone)) != serial:
        assert time.monotonic() < deadline, f"serial {found} instead of {serial}"
        time.sleep(0.1)


def test_transfer_out(boot_dns: BootDns, tmp_path: Path, key: dict[str, Path]) -> None:
    made = Made(5, 150)
    files = {"gen.test.zone": made.text, "large.test.zone": zone_text(3, 2000)}
    disk = disk_of(tmp_path, {f"zones/{name}": text for name, text in files.items()})
    server = boot_dns(disk, key, KEYS="xfer", TRANSFER="key:xfer 192.0.2.0/24")
    large = transfer(server.tcp, "large.test.")
    assert len(large.nodes) == 2003
    assert large == dns.zone.from_text(files["large.test.zone"], "large.test.", relativize=False)
    assert len(transfer(server.tcp, APEX).nodes) > 100
    with pytest.raises(dns.exception.DNSException, match="REFUSED"):
        transfer(server.tcp, APEX, signed=False)
    with pytest.raises(dns.exception.DNSException, match="NOTAUTH"):
        transfer(server.tcp, "other.test.")
    with pytest.raises((dns.tsig.PeerBadSignature, dns.exception.DNSException)):
        transfer(server.tcp, APEX, secret=base64.b64encode(b"another").decode())
    server.vm.expect_exact("dns: zone gen.test. refused to 10.0.2.2", timeout=WAIT_S)

    query = dns.message.make_query(f"ns1.{APEX}", "A")
    query.use_tsig(KEYRING, "xfer", algorithm=ALGORITHM)
    reply = dns.query.udp(query, "127.0.0.1", port=server.udp, timeout=10)  # checks the answer's signature
    assert reply.had_tsig and reply.answer
    for change, code in (
        (lambda q: q.replace(b"\x03ns1", b"\x03nsX"), 16),
        (lambda q: q.replace(b"\x04xfer", b"\x04yfer"), 17),
    ):
        answer = ask_raw(server.udp, change(query.to_wire()))
        assert answer[3] & 15 == dns.rcode.NOTAUTH and answer[-4:-2] == bytes([0, code])
    updated = dns.update.Update("gen.test.", keyring=KEYRING, keyname="xfer", keyalgorithm=ALGORITHM)
    assert dns.query.udp(updated, "127.0.0.1", port=server.udp, timeout=10).rcode() == dns.rcode.NOTIMP

    for serial, records in ((3, 1), (4, 1), (2, 4005)):  # of what changed: nothing, or all
        query = dns.message.make_query("large.test.", "IXFR")
        query.authority = [
            dns.zone.from_text(zone_text(serial), "large.test.", relativize=False).get_rrset("large.test.", "SOA")
        ]
        query.use_tsig(KEYRING, "xfer", algorithm=ALGORITHM)
        with socket.create_connection(("127.0.0.1", server.tcp), 20) as sock:
            dns.query.send_tcp(sock, query)
            count = 0
            while count < records:
                message, _ = dns.query.receive_tcp(
                    sock, time.time() + 20, one_rr_per_rrset=True, ignore_trailing=True, keyring=False
                )
                count += len(message.answer)
            assert count == records


@needs_nsd
def test_between_two_nsds(boot_dns: BootDns, tmp_path: Path, key: dict[str, Path]) -> None:
    """Fetched from one nsd and fetched by another, all signed; a change goes through by notifications at once."""
    zone = "chain.test."
    last_port = free_port()
    with nsd(tmp_path / "origin", {zone: zone_text(1)}, NSD_KEY, "  provide-xfr: 127.0.0.1 xfer\n") as origin:
        env = {"KEYS": "xfer", "KEY": "xfer", "ZONES": "chain.test", "PRIMARIES": f"{HERE}@{origin.port}"}
        server = boot_dns(None, key, **env, TRANSFER="key:xfer", NOTIFY=f"{HERE}@{last_port}")
        wait_for_serial(server.udp, zone, 1)
        options = f"  request-xfr: AXFR 127.0.0.1@{server.tcp} xfer\n  allow-notify: 127.0.0.1 xfer\n"
        with nsd(tmp_path / "last", {zone: None}, NSD_KEY, options, last_port) as last:
            wait_for_serial(last.port, zone, 1)
            text = zone_text(2, 300)
            origin.replace(zone, text)
            wait_for_serial(origin.port, zone, 2)
            notification = dns.message.make_query(zone, "SOA")
            notification.set_opcode(dns.opcode.NOTIFY)
            reply = dns.query.udp(notification, "127.0.0.1", port=server.udp, timeout=10)
            assert reply.rcode() == dns.rcode.REFUSED  # not signed
            notification.use_tsig(KEYRING, "xfer", algorithm=ALGORITHM)
            reply = dns.query.udp(notification, "127.0.0.1", port=server.udp, timeout=10)
            assert reply.rcode() == dns.rcode.NOERROR and reply.opcode() == dns.opcode.NOTIFY
            wait_for_serial(server.udp, zone, 2)
            wait_for_serial(last.port, zone, 2)
        assert transfer(server.tcp, zone) == dns.zone.from_text(text, zone, relativize=False)
        notification = dns.message.make_query("other.test.", "SOA")
        notification.set_opcode(dns.opcode.NOTIFY)
        reply = dns.query.udp(notification, "127.0.0.1", port=server.udp, timeout=10)
        assert reply.rcode() == dns.rcode.NOTAUTH
    server.vm.expect_exact("dns: zone chain.test. serial 2, 604 records fetched", timeout=WAIT_S)


@needs_nsd
def test_secondary_keeps_time(boot_dns: BootDns, tmp_path: Path) -> None:
    """Its primary is away at first, then there, then away for too long; what it saved serves the next start."""
    zone = "timed.test."
    port = free_port()
    text = zone_text(7).replace("3600 2 1209600", "1 1 4")
    disk = disk_of(tmp_path, {"zones/readme": "zones"})
    env = {"ZONES": "timed.test=/zones/timed.saved", "PRIMARIES": f"{HERE}@{port}"}
    server = boot_dns(disk, **env)
    assert serial_of(server.udp, zone) == 0
    server.vm.expect(rf"dns: zone timed.test. from {HERE}@{port}: (error|no|the) ", timeout=WAIT_S)
    with nsd(tmp_path / "origin", {zone: text}, "", "  provide-xfr: 127.0.0.1 NOKEY\n", port) as origin:
        wait_for_serial(server.udp, zone, 7)
        origin.replace(zone, text.replace("host 7", "host 8"))
        wait_for_serial(server.udp, zone, 8)  # by the refresh timer
    wait_for_serial(server.udp, zone, 0)
    server.vm.expect_exact("error dns: zone timed.test. has expired", timeout=WAIT_S)
    assert server.page("health") == (503, "zones: none has data\n")
    server.stop()
    again = boot_dns(disk, **env)
    assert serial_of(again.udp, zone) == 8


def test_reload(boot_dns: BootDns, tmp_path: Path) -> None:
    """Read again on demand: answers go on meanwhile; a broken file would leave the zone as it was."""
    server = boot_dns(disk_of(tmp_path, {"zones/a.test.zone": zone_text(1, 1000)}))
    query = dns.message.make_query("host999.a.test.", "A").to_wire()
    server.vm.send(b"reload\n")
    while (
        server.vm.expect_exact(["dns: zone a.test. serial 1, 2004 records", "never said", TIMEOUT], timeout=0.01) == 2
    ):
        assert dns.message.from_wire(ask_raw(server.udp, query)).answer
    server.vm.send(b"status\nwhat\n")
    server.vm.expect(r"dns: zone a.test. serial 1\s+dns: \d+ queries by UDP, 0 by TCP, 0 connections", timeout=WAIT_S)
    server.vm.expect_exact("dns: what is no command; there are: reload, status", timeout=WAIT_S)


def test_rate_limit(boot_dns: BootDns) -> None:
    server = boot_dns(RATE="50", SLIP="2")
    query = dns.message.make_query("web.example.org.", "A").to_wire()
    kinds = []
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", server.udp))
        sock.settimeout(1.0)
        start = time.monotonic()
        for _ in range(300):
            sock.send(query)
            time.sleep(0.001)  # QEMU's network drops what comes faster
        seconds = int(time.monotonic() - start) + 2  # that may have begun meanwhile
        try:
            while True:
                kinds.append("cut" if sock.recv(512)[2] & 2 else "whole")
        except TimeoutError:
            pass
    assert 10 <= kinds.count("whole") <= 50 * seconds
    server.vm.send(b"status\n")
    server.vm.expect(r"dns: over the rate: (\d+) dropped, (\d+) cut off", timeout=WAIT_S)
    dropped, cut = int(server.vm.match[1]), int(server.vm.match[2])
    assert cut >= kinds.count("cut") > 0
    assert 0 <= dropped - cut <= seconds
    assert server.metric("dns_rate_dropped_total") == dropped and server.metric("dns_rate_cut_total") == cut
    time.sleep(1.2)
    assert not ask_raw(server.udp, query)[2] & 2
