# SPDX-License-Identifier: MIT
"""images/dns says what Debian's nsd says of the same zone: code, flags and each section, over queries at random.
FLOE_DNS_QUERIES sets how many, FLOE_SEED where they begin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from floe.testing import Boot
from tests.boot import dnsfamily
from tests.boot.dnsguest import BootDns, disk_of, serve
from tests.boot.dnspeer import NSD, ask_by_tcp, ask_raw, nsd, shown
from tests.boot.dnszones import APEX, Made

QUERIES = int(os.environ.get("FLOE_DNS_QUERIES", "1500"))
SEED = int(os.environ.get("FLOE_SEED", "11"))


@pytest.fixture
def boot_dns(boot: Boot) -> Iterator[BootDns]:
    yield from serve(boot)


def comparable(ours: bytes, theirs: bytes, query: bytes) -> tuple[list[str], list[str]]:
    """What both have to say. Not compared, for RFCs let a server choose:

    - question and header of an answer that has nothing but the code NOTIMP, REFUSED or BADVERS (RFC 1035, 4.1.1): nsd
      sends back the bits of the query that mean nothing there;
    - what is answered to ANY: all records, or one HINFO, or the alias (RFC 8482, section 4);
    - a referral whose glue has no room: cut off (RFC 9471), or some of the glue (before it)."""
    said = (shown(ours), shown(theirs))
    if dns.message.from_wire(theirs).rcode() in (dns.rcode.NOTIMP, dns.rcode.REFUSED, dns.rcode.BADVERS):
        return said[0][0].split()[:1], said[1][0].split()[:1]
    if dns.message.from_wire(query).question[0].rdtype == dns.rdatatype.ANY:
        return [], []
    if ours[2] & 2 and not theirs[2] & 6 and theirs[9] and len(theirs) > 450:
        return [], []
    return said


@pytest.mark.skipif(NSD is None, reason="SKIP: nsd is not installed")
def test_answers_equal_nsd(boot_dns: BootDns, tmp_path: Path) -> None:
    made = Made(SEED, 400)
    including, text = dnsfamily.INCLUDING
    files = {f"zones/{name}zone": text for name, text in dnsfamily.ZONES.items()}
    files |= {"zones/gen.test.zone": made.text, "zones/included": dnsfamily.INCLUDED}
    files[f"zones/{including}zone"] = text.format(file="included")
    server = boot_dns(disk_of(tmp_path, files))
    (tmp_path / "nsd").mkdir()
    (tmp_path / "nsd" / "included").write_text(dnsfamily.INCLUDED)
    zones: dict[str, str | None] = {APEX: made.for_nsd, including: text.format(file="included"), **dnsfamily.ZONES}
    names = dnsfamily.names()
    differ = []
    with nsd(tmp_path / "nsd", zones) as peer:
        for _ in range(QUERIES):
            wire, by_udp = made.message(names)
            if by_udp:
                ours, theirs = ask_raw(server.udp, wire), ask_raw(peer.port, wire)
            else:
                ours, theirs = ask_by_tcp(server.tcp, wire), ask_by_tcp(peer.port, wire)
            said, expected = comparable(ours, theirs, wire)
            if said != expected:
                differ.append(f"{dns.message.from_wire(wire).to_text()}: {said} instead of {expected}")
    assert differ == [], f"{len(differ)} differ"
