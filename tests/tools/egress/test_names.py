# SPDX-License-Identifier: MIT
"""The answers for a guest that knows few names, read by dnspython."""

from __future__ import annotations

import random
import socket
import struct

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from floe.egress import names

KNOWN = {
    "api.example.com": [
        (socket.AF_INET, socket.inet_aton("192.0.2.7")),
        (socket.AF_INET, socket.inet_aton("192.0.2.8")),
        (socket.AF_INET6, socket.inet_pton(socket.AF_INET6, "2001:db8::7")),
    ]
}


def asked(name: str, kind: str = "A", **more: object) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **more)  # type: ignore[arg-type]  # dnspython's own keywords
    raw = names.answer(query.to_wire(), KNOWN.get)
    assert raw is not None and len(raw) <= 512
    told = dns.message.from_wire(raw)
    assert query.is_response(told)
    return told


def addresses(told: dns.message.Message) -> list[str]:
    return [record.to_text() for rrset in told.answer for record in rrset]


@pytest.mark.parametrize("name", ["api.example.com", "API.Example.COM", "api.example.com."])
def test_a_known_name(name: str) -> None:
    told = asked(name)
    assert (told.rcode(), addresses(told)) == (dns.rcode.NOERROR, ["192.0.2.7", "192.0.2.8"])
    assert told.answer[0].ttl == names.TTL_S
    assert addresses(asked(name, "AAAA")) == ["2001:db8::7"]


@pytest.mark.parametrize("kind", ["TXT", "MX", "SRV", "NULL", "ANY"])
def test_a_known_name_has_addresses_alone(kind: str) -> None:
    told = asked("api.example.com", kind)
    assert (told.rcode(), told.answer) == (dns.rcode.NOERROR, [])


@pytest.mark.parametrize("name", ["example.com", "x.api.example.com", "com", ".", "a" * 63 + ".evil.example"])
@pytest.mark.parametrize("kind", ["A", "TXT"])
def test_another_name_is_refused(name: str, kind: str) -> None:
    assert asked(name, kind).rcode() == dns.rcode.REFUSED


def test_an_extended_query_is_answered_as_a_plain_one() -> None:
    assert addresses(asked("api.example.com", use_edns=0, payload=4096)) == ["192.0.2.7", "192.0.2.8"]


def test_many_addresses_fit() -> None:
    """The longest name, and more addresses than a datagram of 512 bytes holds."""
    name = ".".join(["a" * 61, "b" * 61, "c" * 61, "d" * 61])
    many = [(socket.AF_INET6, struct.pack(">QQ", 1, number)) for number in range(200)]
    raw = names.answer(dns.message.make_query(name, "AAAA").to_wire(), lambda name: many)
    assert raw is not None
    assert 0 < len(addresses(dns.message.from_wire(raw))) < 200


def test_what_is_no_question() -> None:
    query = dns.message.make_query("api.example.com", "A")
    raw = query.to_wire()
    assert names.answer(raw[:11], KNOWN.get) is None
    query.flags |= dns.flags.QR
    assert names.answer(query.to_wire(), KNOWN.get) is None  # or two would answer each other for ever
    query = dns.message.make_query("api.example.com", "A")
    query.set_opcode(dns.opcode.UPDATE)
    told = names.answer(query.to_wire(), KNOWN.get)
    assert told is not None and dns.message.from_wire(told).rcode() == dns.rcode.NOTIMP
    for bad in (
        raw[:-1],
        raw[:20],
        raw[:12],
        raw[:12] + b"\xc0\x0c\0\1\0\1",
        raw[:4] + b"\0\2" + raw[6:],
        raw[:-1] + b"\3",
    ):
        told = names.answer(bad, KNOWN.get)
        assert told is not None and told[3] & 15 == 1 and len(told) == 12, bad


def test_noise() -> None:
    """No bytes of a guest's are more than an answer's reason."""
    chance = random.Random(15)
    raw = dns.message.make_query("api.example.com", "A").to_wire()
    for _ in range(3000):
        noisy = bytearray(raw)
        for _ in range(chance.randrange(1, 6)):
            noisy[chance.randrange(len(noisy))] = chance.randrange(256)
        told = names.answer(bytes(noisy[: chance.randrange(len(noisy) + 1)]), KNOWN.get)
        assert told is None or len(told) >= 12
