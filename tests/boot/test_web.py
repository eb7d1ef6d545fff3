# SPDX-License-Identifier: MIT
"""images/web: every status, keep-alive, bodies, hostile clients, limits, many connections, graceful stop."""

from __future__ import annotations

import concurrent.futures
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Boot, Guest
from floe.console import INTERRUPT, Matched, TimedOut
from rawhttp import Answer, RawHttp, exchange

DEADLINE_S = 120.0  # for one test
CALM_S = 0.005  # between connections: the accept queue of QEMU's port forwarding holds one
SETTLE_S = 5.0  # for the guest's first line, and for its end


class Web:
    """A running images/web."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self.port = vm.ports[80]
        assert vm.expect("serving on port 80 (IPv6, IPv4)", deadline_s=SETTLE_S) is Matched

    def ends_with(self, code: int) -> str:
        """Press Ctrl-C, wait for the end, and return all that the guest said."""
        self.vm.send(INTERRUPT)
        assert self.vm.wait() == code
        text = self.vm.console_text
        assert "PANIC" not in text and "Traceback" not in text
        return text


@pytest.fixture
def boot_web(boot: Boot) -> Iterator[Callable[[dict[str, str]], Web]]:
    """boot_web(env) -> Web. Whatever the test did, the guest must still be alive and silent after it."""
    running: list[Web] = []

    def start(env: dict[str, str]) -> Web:
        running.append(Web(boot("web", deadline_s=DEADLINE_S, ports=[80], env=env)))
        return running[-1]

    yield start
    for web in running:
        if web.vm.outcome is None:
            assert web.vm.expect("PANIC", deadline_s=0.0) is TimedOut
            assert "Traceback" not in web.vm.console_text


@pytest.fixture
def web(boot_web: Callable[[dict[str, str]], Web]) -> Web:
    return boot_web({})


DATA = Path(__file__).resolve().parents[2] / "images" / "web" / "data"
HOST = b"Host: test\r\n"
POST = b"POST / HTTP/1.1\r\nHost: test\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
POST_NOTE = b"POST /api/notes HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"


def get(port: int, path: str, *fields: str) -> Answer:
    with RawHttp(port) as client:
        return client.get(path, *fields)


def request(port: int, method: str, path: str, value: object = None, kind: str = "application/json") -> Answer:
    body = b"" if value is None else json.dumps(value).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return exchange(port, head.encode() + body)[0]


def status_of(port: int) -> dict[str, object]:
    value = json.loads(get(port, "/api/status").body)
    assert isinstance(value, dict)
    return value


# ---- the site ---------------------------------------------------------------------------------------

KINDS = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "logo.svg": "image/svg+xml",
    "icon.png": "image/png",
    "routes.json": "application/json",
    "robots.txt": "text/plain; charset=utf-8",
    "about/index.html": "text/html; charset=utf-8",
}


def test_every_file_has_a_kind_here() -> None:
    assert {str(p.relative_to(DATA)) for p in DATA.rglob("*") if p.is_file()} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_file(web: Web, name: str) -> None:
    answer = get(web.port, "/" + name)
    content = (DATA / name).read_bytes()
    assert (answer.status, answer.fields["content-type"], answer.body) == (200, KINDS[name], content)
    assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]{8}"', answer.fields["etag"])
    assert abs(time.time() - _seconds(answer.fields["date"])) < 5


def _seconds(date: str) -> float:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(date).timestamp()


def test_folder_means_its_index(web: Web) -> None:
    assert get(web.port, "/").body == (DATA / "index.html").read_bytes()
    assert get(web.port, "/about/").body == (DATA / "about" / "index.html").read_bytes()


def test_head_is_get_without_a_body(web: Web) -> None:
    with RawHttp(web.port) as client:
        whole = client.get("/logo.svg")
        for _ in range(2):  # the second time from memory
            client.send(b"HEAD /logo.svg HTTP/1.1\r\n" + HOST + b"\r\n")
            head = client.answer(head_only=True)
            assert head.status == 200
            assert {**head.fields, "date": ""} == {**whole.fields, "date": ""}
        assert client.get("/robots.txt").body == (DATA / "robots.txt").read_bytes()  # nothing was left over


def test_etag(web: Web) -> None:
    with RawHttp(web.port) as client:
        etag = client.get("/style.css").fields["etag"]
        for field in (etag, f'"other", W/{etag}', "*"):
            answer = client.get("/style.css", f"If-None-Match: {field}")
            assert (answer.status, answer.body, answer.fields["etag"]) == (304, b"", etag)
            assert "content-length" not in answer.fields
        assert client.get("/style.css", 'If-None-Match: "other"').status == 200


def test_ranges(web: Web) -> None:
    content = (DATA / "app.js").read_bytes()
    size = len(content)
    with RawHttp(web.port) as client:
        for field, first, last in (
            ("0-0", 0, 0),
            ("10-19", 10, 19),
            (f"{size - 5}-", size - 5, size - 1),
            ("-7", size - 7, size - 1),
            ("5-999999", 5, size - 1),
        ):
            answer = client.get("/app.js", f"Range: bytes={field}")
            assert (answer.status, answer.body) == (206, content[first : last + 1])
            assert answer.fields["content-range"] == f"bytes {first}-{last}/{size}"
        for field in (f"{size}-", "-0"):
            answer = client.get("/app.js", f"Range: bytes={field}")
            assert (answer.status, answer.fields["content-range"]) == (416, f"bytes */{size}")
        for field in ("bytes=9-5", "bytes=", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4"):
            assert client.get("/app.js", f"Range: {field}").body == content
        assert client.get("/app.js", "Range: bytes=0-1", 'If-Range: "old"').body == content


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/about",
        "/..",
        "/../main.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/about/../../rom",
        "/rom/index.html",
        "//",
        "/index.html/",
        "/INDEX.HTML",
        "/api",
        "/api/notes/x",
        "/api/notes/1/2",
    ],
)
def test_404(web: Web, path: str) -> None:
    with RawHttp(web.port) as client:
        assert client.get(path).status == 404
        assert client.get("/").status == 200  # the connection goes on


def test_percent_and_absolute_form(web: Web) -> None:
    assert get(web.port, "/%61bout/%69ndex.html").status == 200
    assert get(web.port, "/robots.txt?x=%zz").status == 200
    assert get(web.port, "http://test/robots.txt").body == (DATA / "robots.txt").read_bytes()
    assert get(web.port, "HTTP://test").body == (DATA / "index.html").read_bytes()


# ---- the API ----------------------------------------------------------------------------------------


def test_notes(web: Web) -> None:
    port = web.port
    assert json.loads(get(port, "/api/notes").body) == []
    made = request(port, "POST", "/api/notes", {"text": "snø ❄"})
    assert made.status == 201
    note = json.loads(made.body)
    where = made.fields["location"]
    assert (where, note["text"]) == (f"/api/notes/{note['id']}", "snø ❄")
    assert json.loads(get(port, where).body) == note
    assert json.loads(request(port, "PUT", where, {"text": "new"}).body) == {"id": note["id"], "text": "new"}
    assert json.loads(get(port, "/api/notes").body) == [{"id": note["id"], "text": "new"}]
    gone = request(port, "DELETE", where)
    assert (gone.status, gone.body, "content-length" in gone.fields) == (204, b"", False)
    assert [request(port, method, where, {"text": "x"}).status for method in ("GET", "PUT", "DELETE")] == [404] * 3


def test_notes_refuse(web: Web) -> None:
    port = web.port
    assert request(port, "POST", "/api/notes", {"text": "x"}, kind="text/plain").status == 415
    assert request(port, "POST", "/api/notes", ["x"]).status == 422
    assert request(port, "POST", "/api/notes", {"text": 5}).status == 422
    assert request(port, "POST", "/api/notes", {"text": "x" * 5000}).status == 413
    for body in (b"{", b"", b"\xff\xfe", b'{"text": "\xff"}'):
        head = POST_NOTE + b"Content-Length: %d\r\n\r\n"
        answer, closed = exchange(port, head % len(body) + body)
        assert (answer.status, closed) == (400, False)
    assert json.loads(get(port, "/api/notes").body) == []


def test_status(web: Web) -> None:
    first = status_of(web.port)
    time.sleep(0.2)
    second = status_of(web.port)
    assert 150 <= second["uptime_ms"] - first["uptime_ms"] < 5000
    assert second["requests"] == first["requests"] + 1
    assert second["heap_used"] > 0 and second["heap_free"] > 0


def test_405_and_options(web: Web) -> None:
    for method, path, allow in (
        ("POST", "/index.html", "GET, HEAD, OPTIONS"),
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
        ("PUT", "/api/notes", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "/api/notes/1", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ):
        answer = request(web.port, method, path)
        assert (answer.status, answer.fields["allow"]) == (405, allow)
        options = request(web.port, "OPTIONS", path)
        assert (options.status, options.fields["allow"]) == (204, allow)
    assert request(web.port, "OPTIONS", "*").status == 204


# ---- connections ------------------------------------------------------------------------------------


def test_keep_alive(web: Web) -> None:
    with RawHttp(web.port) as client:
        for path in ("/", "/style.css", "/nothing", "/api/notes", "/") * 20:
            assert client.get(path).status == (404 if path == "/nothing" else 200)
        answer = client.get("/", "Connection: close")
        assert (answer.status, answer.fields["connection"]) == (200, "close")
        assert client.at_end()


def test_http_1_0(web: Web) -> None:
    with RawHttp(web.port) as client:
        client.send(b"GET /robots.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.fields["connection"]) == (200, "keep-alive")
        client.send(b"GET /robots.txt HTTP/1.0\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.fields["connection"]) == (200, "close")
        assert client.at_end()


def test_pipelining(web: Web) -> None:
    paths = ["/", "/style.css", "/nothing", "/api/notes", "/logo.svg", "/robots.txt"] * 20
    stream = b"".join(b"GET %s HTTP/1.1\r\n%s\r\n" % (p.encode(), HOST) for p in paths)
    stream += POST_NOTE + b"Content-Length: 14\r\n\r\n" + b'{"text": "abc"}'[:14]
    for step in (len(stream), 1000, 37):
        with RawHttp(web.port) as client:
            client.send(*[stream[i : i + step] for i in range(0, len(stream), step)])
            for path in paths:
                answer = client.answer()
                name = {"/": "index.html"}.get(path, path[1:])
                if (DATA / name).is_file():
                    assert answer.body == (DATA / name).read_bytes()
                else:
                    assert answer.status == (404 if path == "/nothing" else 200)
            assert client.answer().status == 400  # the cut JSON


def test_client_that_pipelines_and_does_not_read(web: Web) -> None:
    one = b"GET /app.js HTTP/1.1\r\n" + HOST + b"\r\n"
    count = 1000
    with RawHttp(web.port, timeout_s=60) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sock.settimeout(1.0)
        sent = 0
        stream = one * count
        try:
            while sent < len(stream):
                sent += client.sock.send(stream[sent : sent + 65536])
        except TimeoutError:
            pass
        assert get(web.port, "/").status == 200  # others are served meanwhile
        client.sock.settimeout(30)
        content = (DATA / "app.js").read_bytes()
        for _ in range(sent // len(one)):
            assert client.answer().body == content


def test_one_byte_at_a_time(web: Web) -> None:
    stream = b"GET /robots.txt HTTP/1.1\r\nHost: test\r\nX-A: b\r\n\r\n"
    answer, _ = exchange(web.port, *[stream[i : i + 1] for i in range(len(stream))], pause_s=0.002)
    assert answer.body == (DATA / "robots.txt").read_bytes()


def test_chunked(web: Web) -> None:
    head = POST_NOTE + b"Transfer-Encoding: chunked\r\n\r\n"
    body = b'5;name="v"\r\n{"tex\r\n1\r\nt\r\n0C\r\n": "chunky"}\r\n0\r\nTrailer: x\r\n\r\n'
    for step in (len(body), 1, 7):
        pieces = [body[i : i + step] for i in range(0, len(body), step)]
        with RawHttp(web.port) as client:
            client.send(head, *pieces, pause_s=0.001)
            answer = client.answer()
            assert (answer.status, json.loads(answer.body)["text"]) == (201, "chunky")
            assert request(web.port, "DELETE", answer.fields["location"]).status == 204
            assert client.get("/").status == 200


def test_expect_continue(web: Web) -> None:
    head = POST_NOTE + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    body = b'{"text": "late"}'
    with RawHttp(web.port) as client:
        client.send(head % len(body))
        assert client.answer().status == 100
        client.send(body)
        made = client.answer()
        assert made.status == 201
    assert request(web.port, "DELETE", made.fields["location"]).status == 204
    answer, closed = exchange(web.port, head % 100_000)
    assert (answer.status, closed) == (413, True)
    answer, closed = exchange(web.port, (head % 3).replace(b"100-continue", b"magic"))
    assert (answer.status, closed) == (417, True)


# ---- hostile clients --------------------------------------------------------------------------------

MALFORMED = {
    "no version": (400, b"GET /\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "blank in the target": (400, b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "control character in the target": (400, b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "not ASCII in the target": (400, b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "fragment": (400, b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n"),
    "bad escape": (400, b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n"),
    "cut escape": (400, b"GET /%4 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "escaped NUL": (400, b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "escaped non-UTF-8": (400, b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n"),
    "relative target": (400, b"GET index.html HTTP/1.1\r\n" + HOST + b"\r\n"),
    "asterisk": (400, b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "bad method": (400, b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "lower-case version": (400, b"GET / http/1.1\r\n" + HOST + b"\r\n"),
    "version without minor": (400, b"GET / HTTP/1 \r\n" + HOST + b"\r\n"),
    "bare line feeds": (400, b"GET / HTTP/1.1\nHost: test\n\n"),
    "one bare line feed": (400, b"GET / HTTP/1.1\r\nHost: test\nX: y\r\n\r\n"),
    "bare carriage return": (400, b"GET / HTTP/1.1\r\nHost: te\rst\r\n\r\n"),
    "NUL in a field": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: \0\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "blank before the colon": (400, b"GET / HTTP/1.1\r\nHost : test\r\n\r\n"),
    "folded line": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n"),
    "empty name": (400, b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n"),
    "negative length": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "signed length": (400, POST + b"Content-Length: +1\r\n\r\nx"),
    "length list": (400, POST + b"Content-Length: 1, 1\r\n\r\nx"),
    "two lengths": (400, POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    "length and chunked": (400, POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "bad chunk size": (400, CHUNKED + b"x\r\n"),
    "negative chunk size": (400, CHUNKED + b"-1\r\n"),
    "huge chunk size": (400, CHUNKED + b"f" * 20 + b"\r\n"),
    "chunk data too long": (400, CHUNKED + b"1\r\nxxxx"),
    "endless chunk line": (400, CHUNKED + b"1;" + b"x" * 600),
    "chunked body too large": (413, CHUNKED + b"fffff\r\n"),
    "body too large": (413, POST + b"Content-Length: 99999999\r\n\r\n"),
    "target too long": (414, b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "endless target": (414, b"GET /" + b"a" * 5000),
    "header too large": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n"),
    "endless header": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 2000),
    "too many fields": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 100 + b"\r\n"),
    "trailers too long": (431, CHUNKED + b"0\r\n" + b"X: y\r\n" * 2000),
    "unknown method": (501, b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "CONNECT": (501, b"CONNECT test:80 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "unknown coding": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, bytes.fromhex("16030100eb010000e70303") + b"\n" * 40 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(web: Web, case: str) -> None:
    status, stream = MALFORMED[case]
    answer, closed = exchange(web.port, stream, b"GET /robots.txt HTTP/1.1\r\nHost: smuggled\r\n\r\n")
    assert (answer.status, closed) == (status, True)
    assert answer.fields["connection"] == "close"
    assert get(web.port, "/robots.txt").status == 200


def test_slow_and_idle_clients(boot_web: Callable[[dict[str, str]], Web]) -> None:
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


def test_slowloris_does_not_lock_others_out(boot_web: Callable[[dict[str, str]], Web]) -> None:
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


def settled(port: int) -> dict[str, int]:
    """The status' memory figures once all connections but our own are gone."""
    deadline = time.monotonic() + 20
    while (status := status_of(port))["connections"] != 1:
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
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


def test_graceful_stop(boot_web: Callable[[dict[str, str]], Web]) -> None:
    web = boot_web({})
    idle = RawHttp(web.port)
    idle.get("/")
    busy = RawHttp(web.port)
    busy.send(POST_NOTE + b"Content-Length: 15\r\n\r\n", b'{"text"')
    time.sleep(0.3)
    web.vm.send(INTERRUPT)
    assert web.vm.expect("stopping", deadline_s=SETTLE_S) is Matched
    assert idle.at_end()
    with pytest.raises((OSError, EOFError)):  # QEMU's forwarding accepts, the guest refuses
        RawHttp(web.port, timeout_s=2).get("/")
    busy.send(b': "end"}')
    answer = busy.answer()
    assert (answer.status, answer.fields["connection"]) == (201, "close")
    assert busy.at_end()
    assert web.vm.wait() == 0
    assert "0 connections cut" in web.vm.console_text


def test_stop_is_bounded(boot_web: Callable[[dict[str, str]], Web]) -> None:
    web = boot_web({})
    with RawHttp(web.port) as stuck:
        stuck.send(b"GET / HTTP/1.1\r\n")
        time.sleep(0.3)
        start = time.monotonic()
        text = web.ends_with(0)
        assert 4 < time.monotonic() - start < 12
    assert "1 connections cut" in text
