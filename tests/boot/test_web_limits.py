# SPDX-License-Identifier: MIT
"""images/web endures: hostile clients, slow ones, many of them; and it stops in order."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import re
import shutil
import subprocess
import time

import pytest

from floe.stream.keys import INTERRUPT
from floe.testing import Boot
from tests.boot.rawhttp import RawHttp
from tests.boot.webguest import (
    CALM_S,
    DATA,
    DEADLINE_S,
    HOST,
    POST,
    POST_NOTE,
    SETTLE_S,
    BootWeb,
    Web,
    get,
    status_of,
)

# ---- hostile clients --------------------------------------------------------------------------------


def test_slow_and_idle_clients(boot_web: BootWeb) -> None:
    web = boot_web({"IDLE_S": "2", "HEAD_S": "3"})
    clients = [RawHttp(web.port) for _ in range(3)]
    idle, slow, used = clients
    start = time.monotonic()
    used.get("/")
    slow.send(b"GET / HTTP/1.1\r\nHost: te")
    assert idle.at_end()
    assert used.at_end()
    assert 1.5 < time.monotonic() - start < 6
    slow.send(b"st\r\nX: ")  # more bytes do not buy more time
    assert slow.answer().status == 408
    assert time.monotonic() - start < 8
    for client in clients:
        client.sock.close()


def test_slowloris_does_not_lock_others_out(boot_web: BootWeb) -> None:
    web = boot_web({"MAX_CONNECTIONS": "40", "HEAD_S": "3"})
    clients = [RawHttp(web.port, timeout_s=20) for _ in range(10)]
    for _ in range(50):
        time.sleep(CALM_S)
        clients.append(RawHttp(web.port, timeout_s=20))
        clients[-1].send(b"GET / HTTP/1.1\r\nX: ")
    start = time.monotonic()
    assert get(web.port, "/").status == 200
    assert time.monotonic() - start < 10
    for client in clients:
        client.sock.close()


def test_the_address_that_holds_most_gives_way(boot_web: BootWeb) -> None:
    """Heads and bodies that never end fill the server again and again; who asks in between is answered at once."""
    web = boot_web({"MAX_CONNECTIONS": "40", "HEAD_S": "60"})
    clients = []
    for turn in range(120):
        time.sleep(CALM_S)
        clients.append(RawHttp(web.port, timeout_s=20))
        clients[-1].send(POST + b"Content-Length: 9\r\n\r\n" if turn % 2 else b"GET / HTTP/1.1\r\nX: ")
        if turn % 10 == 9:
            start = time.monotonic()
            assert get(web.port, "/").status == 200
            assert time.monotonic() - start < 8  # and not the minute that a head may take
    assert status_of(web.port)["connections"] <= 30  # of one address: three quarters
    for client in clients:
        client.sock.close()


def test_memory_for_what_clients_say_is_bounded(boot: Boot) -> None:
    """Long names of hosts are not remembered; bodies without room end their connections, and a line says it."""
    web = Web(boot("web", deadline_s=DEADLINE_S, ports=[80], memory="4M"))
    before = settled(web.port)["gc_used"]
    with RawHttp(web.port) as client:
        for number in range(250):
            client.send(b"GET /robots.txt HTTP/1.1\r\nHost: %04d%s\r\n\r\n" % (number, b"x" * 4000))
            assert client.answer().status == 200
    assert settled(web.port)["gc_used"] - before < 65536
    clients = []
    start = time.monotonic()
    for _ in range(50):
        time.sleep(CALM_S)
        clients.append(RawHttp(web.port, timeout_s=20))
        clients[-1].send(POST + b"Content-Length: 65000\r\n\r\n")
    for client in clients:
        with contextlib.suppress(OSError):  # as others have taken the room
            client.send(b"x" * 60000)
    web.vm.expect("error httpd: no memory, [0-9]+ times\n", timeout=20)
    for client in clients:
        client.sock.close()
    assert get(web.port, "/").status == 200
    lines = web.ends_with(0).count("error httpd")
    assert 1 <= lines <= 1 + (time.monotonic() - start) / 10


# ---- many connections -------------------------------------------------------------------------------


def test_200_parallel_connections(web: Web) -> None:
    clients = []
    for _ in range(200):
        clients.append(RawHttp(web.port, timeout_s=30))
        assert clients[-1].get("/").status == 200
    for _ in range(3):
        for client in clients:
            client.send(b"GET /style.css HTTP/1.1\r\n" + HOST + b"\r\n")
        for client in clients:
            assert client.answer().body == (DATA / "style.css").read_bytes()
    assert status_of(web.port)["connections"] >= 200
    for client in clients:
        client.sock.close()


def test_2000_connections_one_after_the_other(web: Web) -> None:
    def run(count: int) -> None:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: get(web.port, "/robots.txt").status, range(count))) == {200}

    run(1000)  # tables grow to their size
    before = settled(web.port)
    run(2000)
    after = settled(web.port)
    assert after["accepted"] - before["accepted"] >= 2000
    assert after["ram_free"] == before["ram_free"]
    for key in ("gc_used", "c_used"):  # tables may grow; 2000 times the smallest object would be 64 KB
        assert after[key] - before[key] <= 4096, (before, after)


def until_connections(port: int, count: int) -> dict[str, object]:
    """The status once there are so many connections, the one that asks among them."""
    deadline = time.monotonic() + 20
    while (status := status_of(port))["connections"] != count:
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    return status


def settled(port: int) -> dict[str, int]:
    """The status' memory figures once all connections but our own are gone."""
    status = until_connections(port, 1)
    memory = status["memory"]
    assert isinstance(memory, dict)
    return {**memory, "accepted": status["accepted"]}


def test_wrk(web: Web) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("SKIP: wrk is not installed")
    for path in ("/", "/api/notes"):
        argv = ["wrk", "-t1", "-c32", "-d3", f"http://127.0.0.1:{web.port}{path}"]
        text = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
        count = re.search(r"(\d+) requests in", text)
        assert count is not None and int(count[1]) > 100, text
        assert "Socket errors" not in text and "Non-2xx" not in text, text


def test_curl(web: Web) -> None:
    if shutil.which("curl") is None:
        pytest.skip("SKIP: curl is not installed")
    base = f"http://127.0.0.1:{web.port}"
    argv = ["curl", "-sS", "-m", "20", "-w", "%{http_code}", "-o", "/dev/null"]
    large = ["-H", "Content-Type: application/json", "-d", json.dumps({"text": "y" * 3000})]
    for options, status in (
        (["/"], 200),
        (["-I", "/logo.svg"], 200),
        (["-X", "BREW", "/"], 501),
        ([*large, "/api/notes"], 201),
        (["-X", "DELETE", "/"], 405),
    ):
        done = subprocess.run(
            [*argv, *options[:-1], base + options[-1]], capture_output=True, text=True, timeout=30, check=True
        )
        assert done.stdout == str(status)


# ---- the end ----------------------------------------------------------------------------------------


def test_graceful_stop(boot_web: BootWeb) -> None:
    web = boot_web({})
    idle = RawHttp(web.port)
    idle.get("/")
    busy = RawHttp(web.port)
    busy.send(POST_NOTE + b"Content-Length: 15\r\n\r\n", b'{"text"')
    until_connections(web.port, 3)
    time.sleep(0.3)
    web.vm.send(INTERRUPT)
    web.vm.expect_exact("stopping", timeout=SETTLE_S)
    assert idle.at_end()
    with pytest.raises((OSError, EOFError)):  # QEMU's forwarding accepts, the guest refuses
        RawHttp(web.port, timeout_s=2).get("/")
    busy.send(b': "end"}')
    answer = busy.answer()
    assert (answer.status, answer.fields["connection"]) == (201, "close")
    assert busy.at_end()
    assert web.vm.wait() == 0
    assert "0 connections cut" in web.vm.console_text


def test_stop_is_bounded(boot_web: BootWeb) -> None:
    web = boot_web({})
    with RawHttp(web.port) as stuck:
        stuck.send(b"GET / HTTP/1.1\r\n")
        until_connections(web.port, 2)
        time.sleep(0.3)
        start = time.monotonic()
        text = web.ends_with(0)
        assert 4 < time.monotonic() - start < 12
    assert "1 connections cut" in text
