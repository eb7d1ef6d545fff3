# SPDX-License-Identifier: MIT
"""images/dns says what Debian's nsd says of the same zone: code, flags and each section, over queries at random.
FLOE_DNS_QUERIES sets how many, FLOE_SEED where they begin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest

from floe.testing import Boot
from tests.boot.dnsguest import BootDns, disk_of, serve
from tests.boot.dnspeer import NSD, ask_raw, nsd, shown
from tests.boot.dnszones import APEX, Made

QUERIES = int(os.environ.get("FLOE_DNS_QUERIES", "2000"))
SEED = int(os.environ.get("FLOE_SEED", "11"))


@pytest.fixture
def boot_dns(boot: Boot) -> Iterator[BootDns]:
    yield from serve(boot)


@pytest.mark.skipif(NSD is None, reason="SKIP: nsd is not installed")
def test_answers_equal_nsd(boot_dns: BootDns, tmp_path: Path) -> None:
    made = Made(SEED, 400)
    server = boot_dns(disk_of(tmp_path, {"zones/gen.test.zone": made.text}))
    differ = []
    with nsd(tmp_path / "nsd", {APEX: made.for_nsd}) as peer:
        for number in range(QUERIES):
            name, kind = made.query()
            query = dns.message.make_query(name, kind)
            if number % 2:
                query.use_edns(0, payload=1232)
            wire = query.to_wire()
            ours, theirs = shown(ask_raw(server.udp, wire)), shown(ask_raw(peer.port, wire))
            if ours != theirs:
                differ.append(f"{name} {kind}: {ours} instead of {theirs}")
    assert differ == []
