# SPDX-License-Identifier: MIT
"""images/web serves: every kind of file, the API, keep-alive, pipelining, bodies in every form."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from floe.bench import unixport
from tests.boot.rawhttp import RawHttp, exchange
from tests.boot.webguest import DATA, HOST, POST_NOTE, Web, get, request, status_of

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


def test_files(web: Web) -> None:
    for name, kind in KINDS.items():
        answer = get(web.port, "/" + name)
        content = (DATA / name).read_bytes()
        assert (answer.status, answer.fields["content-type"], answer.body) == (200, kind, content), name
        assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]{8}"', answer.fields["etag"]), name
        assert abs(time.time() - _seconds(answer.fields["date"])) < 5


def _seconds(date: str) -> float:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(date).timestamp()


@pytest.mark.any_accel
def test_folder_means_its_index(web: Web) -> None:
    answer = get(web.port, "/about?x=%20y")
    assert (answer.status, answer.fields["location"]) == (301, "/about/?x=%20y")
    assert get(web.port, "/").body == (DATA / "index.html").read_bytes()
    assert get(web.port, "/about/").body == (DATA / "about" / "index.html").read_bytes()


@pytest.mark.any_accel
def test_head_is_get_without_a_body(web: Web) -> None:
    with RawHttp(web.port) as client:
        whole = client.get("/logo.svg")
        for _ in range(2):  # the second time from memory
            client.send(b"HEAD /logo.svg HTTP/1.1\r\n" + HOST + b"\r\n")
            head = client.answer(head_only=True)
            assert head.status == 200
            assert {**head.fields, "date": ""} == {**whole.fields, "date": ""}
        assert client.get("/robots.txt").body == (DATA / "robots.txt").read_bytes()  # nothing was left over


@pytest.mark.any_accel
def test_etag(web: Web) -> None:
    with RawHttp(web.port) as client:
        etag = client.get("/style.css").fields["etag"]
        for field in (etag, f'"other", W/{etag}', "*"):
            answer = client.get("/style.css", f"If-None-Match: {field}")
            assert (answer.status, answer.body, answer.fields["etag"]) == (304, b"", etag)
            assert "content-length" not in answer.fields
        assert client.get("/style.css", 'If-None-Match: "other"').status == 200


@pytest.mark.any_accel
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
        for field in ("bytes=9-5", "bytes=", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,x"):
            assert client.get("/app.js", f"Range: {field}").body == content
        assert client.get("/app.js", "Range: bytes=0-1", 'If-Range: "old"').body == content


@pytest.mark.any_accel
def test_404(web: Web) -> None:
    for path in (
        "/nothing",
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
    ):
        with RawHttp(web.port) as client:
            assert client.get(path).status == 404, path
            assert client.get("/").status == 200, path  # the connection goes on


@pytest.mark.any_accel
def test_percent_and_absolute_form(web: Web) -> None:
    assert get(web.port, "/%61bout/%69ndex.html").status == 200
    assert get(web.port, "/robots.txt?x=%zz").status == 200
    assert get(web.port, "http://test/robots.txt").body == (DATA / "robots.txt").read_bytes()
    assert get(web.port, "HTTP://test").body == (DATA / "index.html").read_bytes()


# ---- the API ----------------------------------------------------------------------------------------


@pytest.mark.any_accel
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


@pytest.mark.any_accel
def test_notes_refuse(web: Web) -> None:
    port = web.port
    assert request(port, "POST", "/api/notes", {"text": "x"}, kind="text/plain").status == 415
    assert request(port, "POST", "/api/notes", ["x"]).status == 422
    assert request(port, "POST", "/api/notes", {"text": 5}).status == 422
    assert request(port, "POST", "/api/notes", {"text": "x" * 5000}).status == 413
    assert request(port, "POST", "/api/notes", {"text": "half \ud800 of a pair"}).status == 422  # spoils the whole list
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


def test_long_poll(web: Web) -> None:
    with RawHttp(web.port) as waiting, RawHttp(web.port) as leaving:
        line = b"GET /api/changes?since=0 HTTP/1.1\r\n" + HOST + b"\r\n"
        waiting.send(line + b"GET /robots.txt HTTP/1.1\r\n" + HOST + b"\r\n")  # the second has to wait for the first
        leaving.send(line)
        time.sleep(0.2)
        leaving.sock.close()
        assert get(web.port, "/").status == 200  # others are served meanwhile
        assert request(web.port, "POST", "/api/notes", {"text": "news"}).status == 201
        assert json.loads(waiting.answer().body) == {"changes": 1}
        assert waiting.answer().body == (DATA / "robots.txt").read_bytes()
        assert json.loads(waiting.get("/api/changes?since=0").body) == {"changes": 1}
    assert get(web.port, "/api/changes?since=x").status == 400


@pytest.mark.any_accel
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


def test_requests_that_differ_in_what_does_not_matter(web: Web) -> None:
    """Each head is new; what decides the answer is found in it all the same."""
    content = (DATA / "style.css").read_bytes()
    with RawHttp(web.port) as client:
        etag = client.get("/style.css").fields["etag"]
        for number in range(20):
            more = [f"Cookie: session={number}", f"X-{number}: y"]
            assert client.get(f"/style.css?v={number}", *more).body == content
            assert client.get(f"/app.js?{number}", *more).body == (DATA / "app.js").read_bytes()
            assert client.get(f"/style.css?v={number}", *more, f"If-None-Match: {etag}").status == 304
            assert client.get(f"/style.css?v={number}", *more, "Range: bytes=1-3").body == content[1:4]
            assert client.get(f"/nothing?{number}", *more).status == 404
            client.send(b"HEAD /style.css?%d HTTP/1.1\r\n%s\r\n" % (number, HOST))
            assert client.answer(head_only=True).fields["content-length"] == str(len(content))
        answer = client.get("/style.css?last", "Connection: close", "Cookie: x")
        assert (answer.fields["connection"], client.at_end()) == ("close", True)
    for bad in (b"Cookie: \x01", b"Cookie : x", b"Cook ie: x", b" folded", b"Host: test"):
        answer, closed = exchange(web.port, b"GET /style.css?x HTTP/1.1\r\n%s%s\r\n\r\n" % (HOST, bad))
        assert (answer.status, closed) == (400, True)


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


# ---- elsewhere --------------------------------------------------------------------------------------


def copy_for_linux(folder: Path) -> None:
    """The files of the image, and what they import of Floe's; and builds the MicroPython for them."""
    unixport.build()
    for name, path in {**{p.name: p for p in DATA.parent.glob("*.py")}, **unixport.library()}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())


REMEMBERING = """
from httpd import Server
from message import Prepared
server = Server(None)
for number in range(10000):
    answer = Prepared("GET", 200, b"x", b"text/plain", ())
    server.remember(server.fixed, b"%d" % number, answer)
    if number % 2:
        server.remember(server.alike, b"%d" % number, answer, 1000)
    answer.hits += 1
server.fold()
print(server.served, len(server.prepared) <= 1128, all([server.prepared.count(a) == 1 for a in server.fixed.values()]))
"""


def test_answers_that_are_forgotten_are_counted_and_let_go(tmp_path: Path) -> None:
    copy_for_linux(tmp_path)
    argv = [str(unixport.BINARY), "-c", REMEMBERING]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("10000 True True\n", "")


def test_it_serves_as_a_linux_process(tmp_path: Path) -> None:
    """The Linux peer of the benchmarks runs the same files on the same MicroPython."""
    copy_for_linux(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [unixport.BINARY, "main.py"],
        cwd=tmp_path, env=os.environ | {"SITE": str(DATA), "PORT": str(port), "METRICS_PORT": "0"},
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert b"serving on port" in server.stdout.readline()
        answer = request(port, "GET", "/robots.txt")
        assert (answer.status, answer.body) == (200, (DATA / "robots.txt").read_bytes())
    finally:
        server.kill()
        server.wait(10)
