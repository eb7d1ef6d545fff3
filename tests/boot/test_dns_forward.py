# SPDX-License-Identifier: MIT
"""images/dns forwards what it has no zone for, remembers what it is told, and believes only answers to its question."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from floe.testing import Boot
from tests.boot.dnsguest import BootDns, serve
from tests.boot.dnspeer import NSD, ask_raw, nsd
from tests.boot.dnsupstream import Upstream
from tests.boot.dnszones import APEX, Made

HERE = "10.0.2.2"  # this machine, as the guest sees it
WAIT_S = 30.0


@pytest.fixture
def boot_dns(boot: Boot) -> Iterator[BootDns]:
    yield from serve(boot)


def ask(port: int, name: str, kind: str = "A", **options: int) -> dns.message.Message:
    wire = dns.message.make_query(name, kind, **options).to_wire()
    return dns.message.from_wire(ask_raw(port, wire, timeout_s=12))


def test_forward(boot_dns: BootDns) -> None:
    with Upstream() as up:
        server = boot_dns(FORWARD=f"{HERE}@{up.port}")
        port = server.udp
        first = ask(port, "One.up.test.")
        assert str(first.answer[0]) == "One.up.test. 300 IN A 192.0.2.77"
        assert dns.flags.to_text(first.flags) == "QR RD RA"
        time.sleep(2.1)
        again = ask(port, "oNE.up.test.", use_edns=0)
        assert (
            again.answer[0].ttl in range(290, 299) and again.edns == 0 and str(again.question[0].name) == "oNE.up.test."
        )
        assert up.count("one.up.test.") == 1
        for name, code in (("nx1.up.test.", dns.rcode.NXDOMAIN), ("nothing.up.test.", dns.rcode.NOERROR)):
            for _ in range(3):
                reply = ask(port, name)
                assert (reply.rcode(), len(reply.answer), len(reply.authority)) == (code, 0, 1)
            assert up.count(name) == 1
        for _ in range(2):
            assert ask(port, "zero.up.test.").answer
        assert up.count("zero.up.test.") == 2  # a time to live of 0 is not kept
        for name in ("cut.up.test.", "letters.up.test."):
            assert str(ask(port, name).answer[0][0]) == "192.0.2.77"
            assert [seen[4] for seen in up.seen if seen[0] == name] == [True, False]  # by UDP, then by TCP
        assert str(ask(port, "forged.up.test.").answer[0][0]) == "192.0.2.77"
        for name in ("broken.up.test.", "fails.up.test.", "silent.up.test."):
            assert ask(port, name).rcode() == dns.rcode.SERVFAIL
        assert ask(port, "large.up.test.").flags & dns.flags.TC
        by_tcp = dns.query.tcp(
            dns.message.make_query("large.up.test.", "TXT"), "127.0.0.1", port=server.tcp, timeout=WAIT_S
        )
        assert len(by_tcp.answer) == 2

        local = ask(port, "web.example.org.")
        assert local.flags & dns.flags.AA and not local.flags & dns.flags.RA
        for query in (
            dns.message.make_query("one.up.test.", "A", flags=0),
            dns.message.make_query("one.up.test.", "A", "CH"),
        ):
            assert dns.message.from_wire(ask_raw(port, query.to_wire())).rcode() == dns.rcode.REFUSED

        asked = [seen for seen in up.seen if seen[4]]
        assert len({seen[2] for seen in asked}) > len(asked) * 0.9  # ids
        assert len({seen[3] for seen in asked}) > len(asked) * 0.9  # ports
        assert sum(seen[1] != seen[0] for seen in asked) > len(asked) * 0.9  # letters
        server.vm.send(b"status\n")
        server.vm.expect(r"dns: forwarded \d+, from the cache (\d+), (\d+) kept", timeout=WAIT_S)
        hits, kept = int(server.vm.match[1]), int(server.vm.match[2])
        assert hits >= 5 and kept >= 5
        assert (server.metric("dns_cache_hits_total"), server.metric("dns_cache_entries")) == (hits, kept)
        assert server.metric('dns_queries_total{transport="udp",type="A",rcode="SERVFAIL"}') >= 3
        assert server.metric('dns_queries_total{transport="tcp",type="TXT",rcode="NOERROR"}') == 1


def test_one_question_for_all_that_ask_the_same(boot_dns: BootDns) -> None:
    with Upstream() as up, socket.socket(type=socket.SOCK_DGRAM) as quiet:
        quiet.bind(("127.0.0.1", 0))
        server = boot_dns(FORWARD=f"{HERE}@{quiet.getsockname()[1]} {HERE}@{up.port}")
        queries = [dns.message.make_query("slow.up.test.", "A") for _ in range(20)]
        with socket.create_connection(("127.0.0.1", server.tcp), WAIT_S) as sock:
            sock.sendall(b"".join(struct.pack(">H", len(q.to_wire())) + q.to_wire() for q in queries))
            sock.shutdown(socket.SHUT_WR)  # which ends nothing that is under way
            replies = [dns.query.receive_tcp(sock, time.time() + WAIT_S)[0] for _ in queries]
            assert sock.recv(1) == b""
        assert sorted(r.id for r in replies) == sorted(q.id for q in queries)
        assert all(str(r.answer[0][0]) == "192.0.2.77" for r in replies)
        assert up.count("slow.up.test.") == 1
        quiet.settimeout(WAIT_S)
        quiet.recv(512)  # the first server was asked, and did not answer
        quiet.setblocking(False)
        with pytest.raises(BlockingIOError):
            quiet.recv(512)
        assert ask(server.udp, "quick.up.test.").answer
        with pytest.raises(BlockingIOError):
            quiet.recv(512)  # now the other one is asked first


def test_strangers_are_refused(boot_dns: BootDns) -> None:
    with Upstream() as up:
        server = boot_dns(FORWARD=f"{HERE}@{up.port}", CLIENTS="192.0.2.0/24")
        assert ask(server.udp, "one.up.test.").rcode() == dns.rcode.REFUSED
        assert up.seen == []


@pytest.mark.skipif(NSD is None, reason="SKIP: nsd is not installed")
def test_answers_of_nsd_through_it(boot_dns: BootDns, tmp_path: Path) -> None:
    """Whatever nsd says of a zone at random comes through, the first time and out of the cache."""
    made = Made(21, 200)
    with nsd(tmp_path / "nsd", {APEX: made.for_nsd}) as peer:
        server = boot_dns(FORWARD=f"{HERE}@{peer.port}", CACHE="256")
        for _ in range(400):
            name, kind = made.query()
            if not name.lower().endswith(APEX):
                continue
            theirs = dns.message.from_wire(ask_raw(peer.port, dns.message.make_query(name, kind, use_edns=0).to_wire()))
            for _ in range(2):
                ours = ask(server.udp, name, kind, use_edns=0)
                assert (ours.rcode(), ours.answer, ours.authority) == (theirs.rcode(), theirs.answer, theirs.authority)
