# SPDX-License-Identifier: MIT
"""The native reader of DNS queries under sanitizers, beside images/dns's own in Python: what it takes is well formed, and
both read the same. FLOE_DNSMSG_FUZZ sets how many messages are made at random."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from pathlib import Path

import dns.flags
import dns.message
import pytest

from tests.boot import dnsguest

assert dnsguest.IMAGE  # puts the image's folder into sys.path

import message as own  # noqa: E402 - the path first

ROOT = Path(__file__).resolve().parents[3]
MESSAGES = int(os.environ.get("FLOE_DNSMSG_FUZZ", "30000"))
DEADLINE_S = 120 + MESSAGES / 1000
OPT = b"\0\0\x29\x10\0\0\0\x80\0\0\0"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dnsmsg") / "dnsmsg"
    flags = ["-g", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    sources = [str(ROOT / "modules/dns/dnsmsg.c"), str(Path(__file__).with_name("dnsmsg_user.c"))]
    argv = ["gcc", *flags, "-fno-sanitize-recover=all", f"-I{ROOT / 'modules/dns'}", *sources, "-o", str(out)]
    subprocess.run(argv, check=True, timeout=120)
    return out


def read_all(program: Path, messages: list[bytes]) -> list[tuple[bytes, bytes, bytes] | None]:
    """For each message: facts, key and answer; None if it was not taken."""
    stream = b"".join(struct.pack(">H", len(m)) + m for m in messages)
    done = subprocess.run([program], input=stream, capture_output=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    at = 0

    def counted() -> bytes:
        nonlocal at
        (size,) = struct.unpack_from(">H", done.stdout, at)
        at += 2 + size
        return done.stdout[at - size : at]

    out: list[tuple[bytes, bytes, bytes] | None] = []
    for _ in messages:
        facts = counted()
        out.append((facts, counted(), counted()) if facts else None)
    assert at == len(done.stdout)
    return out


def check(message: bytes, taken: tuple[bytes, bytes, bytes] | None) -> None:
    try:
        query = own.parse(message) if len(message) >= own.HEADER and not message[2] & 0x80 else None
    except (own.FormatError, struct.error):  # a ValueError in MicroPython
        query = None
    plain = query is not None and query.opcode() == 0 and not query.tsig_at and not query.records
    if query is None or not plain or query.edns > 0 or query.rclass != 1:
        assert taken is None, message.hex()
        return
    assert taken is not None, message.hex()
    facts, key, answer = taken
    assert facts == struct.pack(">HBB", query.size, query.edns == 0, query.dnssec_ok)
    assert key == query.name + message[query.end - 4 : query.end]
    body = b"\xc0\x0c" + message[query.end - 4 : query.end] + b"\1\2\3\4\0\4\xc0\0\2\1"
    head = message[:2] + bytes([0x84 | message[2] & 1, 0, 0, 1, 0, 1, 0, 0, 0, query.edns == 0])
    if query.end + len(body) + 11 < 600:
        assert answer == head + message[12 : query.end] + body + query.opt(1232)


def seeds() -> list[bytes]:
    """Good queries of every shape."""
    made = [dns.message.make_query("WwW.Example.ORG", "A"), dns.message.make_query(".", "TYPE65535")]
    made += [dns.message.make_query("x" * 63 + ".a.b", "ANY", use_edns=0, payload=100, want_dnssec=True)]
    made += [dns.message.make_query("a.b", "MX", use_edns=0, payload=4096)]
    long = dns.message.make_query(".".join(["y" * 63] * 3 + ["z" * 61]), "TXT", use_edns=0)
    out = [m.to_wire() for m in (*made, long)]
    option = b"\0\x0a\0\x08abcdefgh\0\x03\0\0"
    out.append(out[0][:11] + b"\1" + out[0][12:] + OPT[:-2] + struct.pack(">H", len(option)) + option)
    return out


def test_every_cut_and_each_changed_byte(program: Path) -> None:
    messages = []
    for seed in seeds():
        messages += [seed[:size] for size in range(len(seed) + 1)] + [seed + b"\0", seed + OPT]
        for at in range(2, len(seed)):
            for byte in (0, 1, 0x3F, 0x40, 0x80, 0xC0, 0xFF, seed[at] ^ 0x20):
                messages.append(seed[:at] + bytes([byte]) + seed[at + 1 :])
    for message, taken in zip(messages, read_all(program, messages), strict=True):
        check(message, taken)


def test_messages_at_random(program: Path) -> None:
    r = random.Random(5)
    good = seeds()
    messages = []
    for _ in range(MESSAGES):
        message = bytearray(r.choice(good))
        for _ in range(r.choice((0, 1, 2, 5))):
            message[r.randrange(len(message))] = r.choice((0, 1, 0xC0, r.randrange(256)))
        at = r.choice((len(message), len(message), r.randrange(len(message))))
        messages.append(bytes(message[:at]) + r.randbytes(r.choice((0, 0, 0, 1, 11, 30))))
    taken = read_all(program, messages)
    for message, one in zip(messages, taken, strict=True):
        check(message, one)
    assert MESSAGES // 20 < sum(one is not None for one in taken) < MESSAGES
