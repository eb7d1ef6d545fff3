# SPDX-License-Identifier: MIT
"""What images/dns keeps of one answer for others: bytes that fit several names point to none of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.boot import dnsguest

assert dnsguest.IMAGE  # puts the image's folder into sys.path

import dnsname  # noqa: E402 - the path first
import loader  # noqa: E402 - the path first
from authority import Authority  # noqa: E402 - the path first

ZONE = """$TTL 60
@ SOA abc abd 1 2 3 4 5
 NS abc
abc TXT none
cut NS ns1.cut
ns1.cut A 192.0.2.1
*.wild MX 1 aa1.wild
*.wild NS aa2.wild
*.cname CNAME aa3.cname
"""


class Udp:
    udp = True


def ask(authority: Authority, name: str, kind: str) -> dns.message.Message:
    return dns.message.from_wire(
        authority.respond(dns.message.make_query(name, kind).to_wire(), Udp(), ("192.0.2.9", 1))
    )


@pytest.mark.parametrize("kind", ["A", "MX", "NS", "TXT"])
def test_names_of_one_length_have_their_own_answers(tmp_path: Path, kind: str) -> None:
    (tmp_path / "z").write_text(ZONE)
    zone = loader.load(dnsname.from_text(b"z.test."), str(tmp_path / "z"))
    for group in (
        ("abc", "abd", "xyz"),
        ("ns1.cut", "xx1.cut"),
        ("aa1.wild", "aa2.wild", "bbb.wild"),
        ("aa3.cname", "bbb.cname"),
    ):
        said = []
        for order in itertools.permutations(group):
            authority = Authority()
            authority.put(zone.apex, zone)
            for _ in range(3):  # composed, asked again, remembered
                replies = {name: ask(authority, f"{name}.z.test.", kind) for name in order}
            said.append(
                {n: (r.rcode(), str(r.answer), str(r.authority), str(r.additional)) for n, r in replies.items()}
            )
        assert all(each == said[0] for each in said)
    deny = ask(authority, "xyz.z.test.", "A")
    assert deny.rcode() == dns.rcode.NXDOMAIN and str(deny.authority[0]).endswith(
        "SOA abc.z.test. abd.z.test. 1 2 3 4 5"
    )


def test_memory_that_is_full_takes_no_more(tmp_path: Path) -> None:
    (tmp_path / "z").write_text(ZONE + "".join(f"h{i} MX 1 m\n" for i in range(300)))
    zone = loader.load(dnsname.from_text(b"z.test."), str(tmp_path / "z"))
    authority = Authority()
    authority.put(zone.apex, zone)
    authority.use_memory(8 * 20000)
    for _ in range(3):
        for i in range(300):
            assert ask(authority, f"h{i}.z.test.", "MX").answer
    assert 10 < len(authority._asked) < 80
    authority.make_room()
    assert len(authority._asked) == 0
    assert ask(authority, "h1.z.test.", "MX").answer
    authority.make_room()
    assert len(authority._asked) == 1
