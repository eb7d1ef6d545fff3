# SPDX-License-Identifier: MIT
"""images/redis takes bytes as Debian's redis-server does: streams at random, most of them right but for a few bytes, cut
anywhere, get the same answers. FLOE_REDIS_STREAMS sets how many, FLOE_SEED where they begin."""

from __future__ import annotations

import os
import random
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.boot.redisguest import SERVER, BootRedis, Peer, reference, serve

STREAMS = int(os.environ.get("FLOE_REDIS_STREAMS", "300"))
SEED = int(os.environ.get("FLOE_SEED", "11"))
_ANSWER_S = 30.0
_WORDS = (b"PING", b"ECHO", b"a", b"GET", b"", b"b\r\n*1", b"\xff\1", b"x" * 70, b"$3")
# Ways to write a number that are not the usual one; then what stands for one.
_FORMS = (b"0%d", b"+%d", b"-%d", b" %d", b"%d ", b"%dx", b"%d000000000000", b"-00%d")
_INSTEAD = (b"", b"-", b"0", b"00", b"-0", b"-1", b"-01", b"x", b"2147483648", b"99999999999999999999", b"\xff")
_INLINE = (
    b"PING",
    b"  ping  ",
    b"ECHO 'a b'",
    b'echo "\\x41\\n\\q\\x4 \\x+1"',
    b"",
    b"\t",
    b"ECHO 'a'b",
    b'ECHO "a',
    b"ECHO a'b'",
    b"*",
)
_SHOWN = re.compile(rb"(-ERR unknown command |-ERR Protocol error: expected '\$', got ).*?\r\n", re.DOTALL)
_MUTATIONS = (b"", b"*", b"$", b":", b"\n", b"0", b"1", b"-", b" ", b"\xff")


@pytest.fixture
def boot_redis(boot: Boot) -> Iterator[BootRedis]:
    yield from serve(boot)


def _number(r: random.Random, number: int) -> bytes:
    what = r.randrange(60)
    if what == 0:
        return r.choice(_FORMS) % number
    return r.choice(_INSTEAD) if what == 1 else b"%d" % number


def _stream(r: random.Random) -> bytes:
    out = []
    for _ in range(r.randint(1, 6)):
        if r.randrange(5) == 0:
            out.append(r.choice(_INLINE) + r.choice((b"\r\n", b"\n")))
            continue
        words = [r.choice(_WORDS) for _ in range(r.choice((1, 1, 2, 2, 3, 0)))]
        out.append(b"*" + _number(r, len(words)) + b"\r\n")
        out += [b"$" + _number(r, len(word)) + b"\r\n" + word + b"\r\n" for word in words]
    stream = b"".join(out)
    for _ in range(r.choice((0, 0, 1, 2))):
        at = r.randrange(len(stream))
        if stream[at] not in b"\r\n":
            stream = stream[:at] + r.choice(_MUTATIONS) + stream[at + r.randrange(2) :]
    return stream


def _answers(port: int, stream: bytes, cuts: list[int]) -> bytes:
    """All that is said until the server closes. What a client is shown of its own bytes, images/redis shows as text."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            for first, last in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                sock.sendall(stream[first:last])
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while data := sock.recv(65536):
                said += data
    return _SHOWN.sub(rb"\1...\r\n", said)


@pytest.mark.skipif(SERVER is None, reason="SKIP: redis-server is not installed")
def test_bytes_mean_what_they_mean_to_redis_server(boot_redis: BootRedis, tmp_path: Path) -> None:
    guest = boot_redis()
    r = random.Random(SEED)
    refused = 0
    with reference(tmp_path / "redis") as port:
        for number in range(STREAMS):
            stream = _stream(r)
            cuts = sorted(r.randrange(len(stream) + 1) for _ in range(r.choice((0, 0, 1, 3))))
            theirs = _answers(port, stream, cuts)
            assert _answers(guest.port, stream, cuts) == theirs, f"stream {number} of seed {SEED}: {stream!r} at {cuts}"
            refused += b"-ERR Protocol error" in theirs
    assert STREAMS // 20 < refused < STREAMS - STREAMS // 20
    with Peer(guest.port) as peer:
        assert peer.ask("PING") == "PONG"
