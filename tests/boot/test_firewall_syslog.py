# SPDX-License-Identifier: MIT
"""Syslog of images/firewall: what a collector gets, line by line, and what rsyslogd makes of it."""

from __future__ import annotations

import datetime
import re
import socket
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from floe.testing import Boot
from tests.boot import firewallsite as fw

SYSLOG = """
[[allow]]
name = "a few"
from = "inside"
to = "dmz"
proto = "udp"
port = 7
limit = "1/h"
burst = 3
log = true
[[deny]]
name = "the rest"
from = "inside"
to = "outside"
proto = "udp"
port = "1-1023"
source = "10.1.0.2-10.1.0.3"
[syslog]
server = "10.1.0.2"
port = 5514
proto = "%s"
facility = "local4"
"""
LINE = re.compile(r"<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S+) firewall - - - (.*)")


def received(sock: socket.socket, count: int) -> list[str]:
    """Lines of syslog, by datagrams or by octets counted."""
    sock.settimeout(fw.WAIT_S)
    if sock.type == socket.SOCK_DGRAM:
        return [sock.recv(4096).decode() for _ in range(count)]
    conn, _ = sock.accept()
    conn.settimeout(fw.WAIT_S)
    with conn, conn.makefile("rb") as file:
        found = []
        for _ in range(count):
            digits = b""
            while not digits.endswith(b" "):
                digits += file.read(1)
            found.append(file.read(int(digits)).decode())
        return found


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_syslog(boot: Boot, tmp_path: Path, proto: str) -> None:
    def server() -> socket.socket:
        kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
        sock = socket.socket(socket.AF_INET, kind)
        sock.bind(("10.1.0.2", 5514))
        if proto == "tcp":
            sock.listen()
        return sock

    image = fw.folder(tmp_path / "edge", fw.FILE + SYSLOG % proto)
    with fw.site(boot, image) as edge, edge.hosts["lan"].call(server) as sock:
        edge.send("lan", *[IP(src="10.1.0.2", dst="10.2.0.2") / UDP(sport=1000 + n, dport=7) for n in range(5)])
        edge.send("lan", *[IP(src="10.1.0.2", dst="192.0.2.2") / UDP(sport=1000 + n, dport=7) for n in range(2)])
        edge.send("wan", IP(src="10.1.0.9", dst="10.2.0.2") / UDP(sport=4, dport=5) / Raw(b"x"))
        lines = [LINE.fullmatch(line) for line in received(sock, 6)]
        told = {each[4]: (int(each[1]), each[2]) for each in lines if each}
        ends = "proto=17 src=10.1.0.2 dst=10.2.0.2 sport=%d dport=7 length=28"
        assert sorted(told) == [
            *[f"a few: in=lan out=dmz {ends}" % n for n in (1000, 1001, 1002)],
            *[f"denied inside to dmz: in=lan out=dmz {ends}" % n for n in (1003, 1004)],
            "spoofed outside: in=wan out=this proto=17 src=10.1.0.9 dst=10.2.0.2 sport=4 dport=5 length=29",
        ]
        assert {priority for priority, _ in told.values()} == {20 * 8 + 4, 20 * 8 + 5}
        now = datetime.datetime.now(datetime.UTC)
        assert all(abs((datetime.datetime.fromisoformat(at) - now).total_seconds()) < 60 for _, at in told.values())
        assert edge.count("a few") == 3 and edge.count("the rest") == 2
        page = edge.page()[1]
        assert "firewall_syslog_sent_total 6" in page and "firewall_syslog_lost_total 0" in page


RSYSLOG = """
global(workDirectory="%(folder)s" net.enableDNS="off")
module(load="imudp")
module(load="imtcp")
input(type="imudp" port="5514")
input(type="imtcp" port="5514")
template(name="fields" type="list") {
    property(name="syslogfacility-text") constant(value="|")
    property(name="syslogseverity-text") constant(value="|")
    property(name="protocol-version") constant(value="|")
    property(name="timereported" dateFormat="rfc3339") constant(value="|")
    property(name="hostname") constant(value="|")
    property(name="app-name") constant(value="|")
    property(name="procid") property(name="msgid") property(name="structured-data") constant(value="|")
    property(name="msg") constant(value="\\n")
}
action(type="omfile" file="%(folder)s/lines" template="fields")
"""


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_what_rsyslogd_reads(boot: Boot, tmp_path: Path, proto: str) -> None:
    """Debian's server takes the lines as RFC 5424 apart into their fields, and none is lost."""
    if not Path("/usr/sbin/rsyslogd").exists():
        pytest.skip("SKIP: rsyslogd is not installed; try: apt-get install rsyslog")
    (tmp_path / "rsyslog.conf").write_text(RSYSLOG % {"folder": tmp_path})
    lines = tmp_path / "lines"
    image = fw.folder(tmp_path / "edge", fw.FILE + SYSLOG % proto)
    with fw.site(boot, image) as edge:
        lan = edge.hosts["lan"]
        argv = ["/usr/sbin/rsyslogd", "-n", "-f", tmp_path / "rsyslog.conf", "-i", tmp_path / "pid"]
        with lan.running(*argv):
            end = time.monotonic() + fw.WAIT_S
            while ":5514" not in lan.run("ss", "-Hlnu") or ":5514" not in lan.run("ss", "-Hlnt"):
                assert time.monotonic() < end, "rsyslogd does not listen"
                time.sleep(0.1)
            edge.send("lan", *[IP(src="10.1.0.2", dst="10.2.0.2") / UDP(sport=1000 + n, dport=7) for n in range(5)])
            edge.send("wan", IP(src="10.1.0.9", dst="10.2.0.2") / UDP(sport=4, dport=5) / Raw(b"x"))
            while not lines.exists() or lines.read_text().count("\n") < 6:
                assert time.monotonic() < end + fw.WAIT_S, lines.read_text() if lines.exists() else edge.vm.console_text
                time.sleep(0.1)
        found = [line.split("|") for line in lines.read_text().splitlines()]
        ends = "proto=17 src=10.1.0.2 dst=10.2.0.2 sport=%d dport=7 length=28"
        assert sorted((severity, text) for _, severity, _, _, _, _, _, text in found) == [
            *[("notice", f"a few: in=lan out=dmz {ends}" % n) for n in (1000, 1001, 1002)],
            *[("warning", f"denied inside to dmz: in=lan out=dmz {ends}" % n) for n in (1003, 1004)],
            (
                "warning",
                "spoofed outside: in=wan out=this proto=17 src=10.1.0.9 dst=10.2.0.2 sport=4 dport=5 length=29",
            ),
        ]
        names = {(facility, version, name, rest) for facility, _, version, _, _, name, rest, _ in found}
        assert names == {("local4", "1", "firewall", "---")} and "" not in {each[4] for each in found}
        now = datetime.datetime.now(datetime.UTC)
        assert all(abs((datetime.datetime.fromisoformat(each[3]) - now).total_seconds()) < 60 for each in found)
        assert "firewall_syslog_lost_total 0" in edge.page()[1]
