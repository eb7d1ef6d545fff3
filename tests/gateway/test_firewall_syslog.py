# SPDX-License-Identifier: MIT
"""images/firewall/syslog.py: lines as RFC 5424 has them, a server that is not there, one that does not read."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.gateway.frozen import Engine, frozen
from tests.support.fixtures import REPO
from tests.support.imagecode import imported

NS = 1_700_000_000_123_456_789
LINE = b"<132>1 2023-11-14T22:13:20.123456Z host firewall - - - "


class Clock:
    """time of a VM that passes when it is told to."""

    now = 0

    def ticks_ms(self) -> int:
        return self.now

    @staticmethod
    def ticks_add(a: int, b: int) -> int:
        return a + b

    @staticmethod
    def ticks_diff(a: int, b: int) -> int:
        return a - b

    @staticmethod
    def gmtime(seconds: int) -> Any:
        import time

        return time.gmtime(seconds)


@pytest.fixture
def lib() -> Iterator[SimpleNamespace]:
    with frozen(Engine()) as lib, imported(REPO / "images" / "firewall", "syslog") as syslog:
        syslog.time = lib.clock = Clock()
        lib.syslog = syslog
        yield lib


def to(lib: SimpleNamespace, **table: Any) -> Any:
    return lib.syslog.Syslog("firewall.toml: syslog", table, "host", "firewall")


def test_datagrams(lib: SimpleNamespace) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        log = to(lib, server="127.0.0.1", port=server.getsockname()[1])
        for n in range(3):
            log.put(lib.syslog.WARNING, NS, f"line {n}")
        log.send()
        assert [server.recv(999) for _ in range(3)] == [LINE + b"line %d" % n for n in range(3)]
        assert (log.sent, log.lost) == (3, 0)
        log.close()


def test_a_bounded_queue(lib: SimpleNamespace) -> None:
    log = to(lib, server="127.0.0.1", proto="tcp", port=1)
    for _ in range(1500):
        log.put(5, NS, "x")
    assert log.lost == 500
    log.send()
    log.send()
    assert (log.sent, log.lost) == (0, 500)
    assert lib.clock.now == 0


def test_a_server_that_comes_later_and_goes(lib: SimpleNamespace) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        log = to(lib, server="127.0.0.1", proto="tcp", port=server.getsockname()[1], facility="local0")
        log.put(4, NS, "first")
        for _ in range(5):
            log.send()
        server.listen()
        log.send()  # not yet: it was asked a moment ago
        assert log.sent == 0
        lib.clock.now += 5000
        for _ in range(50):
            log.send()
            if log.sent:
                break
        conn, _ = server.accept()
        with conn:
            line = LINE + b"first"
            assert conn.recv(999) == b"%d %s" % (len(line), line)
            for _ in range(900):  # more than it has read
                log.put(4, NS, "y" * 900)
            for _ in range(20):
                log.send()
        for _ in range(20):
            log.send()
        assert log.lost <= 1 < log.sent
        log.close()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "server is missing"),
        ({"server": "log.example"}, "server: 'log.example' is no address; right are '192.0.2.1' and '2001:db8::1'"),
        ({"server": "::1", "proto": "tls"}, "proto: there is no tls; there are: tcp, udp"),
        ({"server": "::1", "port": 0}, "port: 0: expected 1 to 65535"),
        ({"server": "::1", "facility": "local9"}, "facility: there is no local9; there are: alert, audit, auth, "),
        ({"server": "::1", "tag": "x"}, "tag is no key of it; there are: server, port, proto, facility"),
    ],
)
def test_what_cannot_be(lib: SimpleNamespace, table: dict[str, Any], said: str) -> None:
    with pytest.raises(lib.appliance.SettingsError, match="^" + re.escape(f"firewall.toml: syslog: {said}")):
        to(lib, **table)


def test_a_record(lib: SimpleNamespace) -> None:
    record = SimpleNamespace(
        text="denied", in_=1, out=None, proto=6, src="10.1.0.2", sport=7, dst="10.1.0.1", dport=80, length=60
    )
    assert lib.syslog.told(record, {1: "lan"}) == (
        "denied: in=lan out=this proto=6 src=10.1.0.2 dst=10.1.0.1 sport=7 dport=80 length=60"
    )
    record.in_, record.sport, record.dport = 9, 0, 0
    assert lib.syslog.told(record, {}).startswith("denied: in=9 out=this proto=6 src=10.1.0.2 dst=10.1.0.1 length")
