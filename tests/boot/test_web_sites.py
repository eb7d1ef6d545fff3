# SPDX-License-Identifier: MIT
"""images/web as it is deployed: hosts by name, files of a disk and of /rom, redirects, headers, access log, metrics."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.stream.keys import INTERRUPT
from floe.testing import Boot, Guest
from tests.boot.rawhttp import Answer, RawHttp, exchange
from tests.boot.served import Served
from tests.boot.webguest import DATA, DEADLINE_S
from tests.boot.webupstream import Upstream
from tests.support.command import floe

_START_S = 30.0
LARGE = random.Random(5).randbytes(3_000_000)  # more than the guest would keep
CONFIG = """
strict = true
[[host]]
names = ["one.test", "*.one.test"]
root = "/site"
index = true
headers = {X-Frame-Options = "DENY", Server = "mine"}
cache = {"/assets/*" = "max-age=60, immutable", "/assets/a.css" = "no-store"}
redirects = [
    {from = "/old", to = "/new?x=1", status = 308},
    {from = "/blog/*", to = "/news/*"},
    {from = "/away/*", to = "https://elsewhere.test/*", status = 302},
    {from = "/up/*", to = "/*"},
]
[[host]]
names = ["deep.one.test"]
root = "/site/assets"
[[host]]
names = ["plain.test"]
https = true
"""
CSS = b"body { color: blue }\n" * 40
FILES = {
    "web.toml": CONFIG.encode(),
    "site/index.html": b"<h1>one</h1>",
    "site/assets/a.css": CSS,
    "site/assets/a.css.gz": gzip.compress(CSS, mtime=0),
    "site/assets/a.css.br": b"not really brotli",
    "site/assets/b.bin": b"0123456789",
    "site/assets/.secret": b"hidden",
    "site/.well-known/acme": b"token",
    "site/.git/config": b"hidden",
    "site/list/a & <b>.txt": b"odd",
    "site/list/sub/x.txt": b"x",
    "site/large.bin": LARGE,
    "site/empty.txt": b"",
}


class Sites(Served):
    """A guest with the disk; each question on a connection of its own unless `client` is given."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        vm.expect_exact("info web: serving on port 80 (IPv6, IPv4)", timeout=_START_S)

    def get(self, path: str, *fields: str, host: str = "one.test", method: str = "GET") -> Answer:
        lines = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: t", *fields, "", ""])
        with RawHttp(self.vm.ports[80], 30) as client:
            client.send(lines.encode("latin-1"))
            return client.answer(head_only=method == "HEAD")

    def metrics(self) -> dict[str, float]:
        with RawHttp(self.vm.ports[9100]) as client:
            lines = client.get("/metrics").body.decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    for name, content in FILES.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    image = folder / "web.img"
    assert floe("disk", "create", image, "--size", "8M").returncode == 0
    for name in ("site", "web.toml"):
        done = floe("disk", "cp", "-r", image, folder / "files" / name, ":/")
        assert done.returncode == 0, done.stderr
    return image


@pytest.fixture
def sites(boot: Boot, disk: Path, tmp_path: Path) -> Iterator[Sites]:
    own = shutil.copy(disk, tmp_path / "own.img")
    env = {"ACCESS_LOG": "true"}
    yield Sites(boot("web", variant="disk", deadline_s=DEADLINE_S, ports=[80, 9100], disks=[str(own)], env=env))


def test_a_disk_with_sites(sites: Sites) -> None:
    """One VM for all, as starting it is what takes long."""
    check_hosts(sites)
    check_redirects(sites)
    check_files(sites)
    check_conditions(sites)
    check_ranges(sites)
    check_variants(sites)
    check_folders(sites)
    check_paths(sites)
    check_metrics(sites)
    check_log(sites.stop())


def check_hosts(sites: Sites) -> None:
    for host in ("one.test", "ONE.test:80", "a.one.test", "a.b.one.test", "one.test."):
        assert sites.get("/", host=host).body == b"<h1>one</h1>", host
    assert sites.get("/b.bin", host="deep.one.test").body == b"0123456789"
    for host in ("two.test", "xone.test", "one.test.evil", "[::1]"):
        assert sites.get("/", host=host).status == 421, host
    answer = sites.get("/nothing")
    assert (answer.status, answer.fields["x-frame-options"], answer.fields["server"]) == (404, "DENY", "mine")
    assert "x-frame-options" not in sites.get("/b.bin", host="deep.one.test").fields


def check_redirects(sites: Sites) -> None:
    for path, host, status, where in (
        ("/old", "one.test", 308, "/new?x=1"),
        ("/old?y", "one.test", 308, "/new?x=1"),
        ("/blog/a%20b/c?d=e", "one.test", 301, "/news/a%20b/c?d=e"),
        ("/blog/", "one.test", 301, "/news/"),
        ("/away/x", "one.test", 302, "https://elsewhere.test/x"),
        ("/up//evil.test/x", "one.test", 301, "/evil.test/x"),
        ("/blog/%0d%0aSet-Cookie:%20x", "one.test", 301, "/news/%0D%0ASet-Cookie:%20x"),
        ("/blog/%5cevil", "one.test", 301, "/news/%5Cevil"),
        ("/a%20b?c", "PLAIN.test:8080", 301, "https://plain.test/a%20b?c"),
    ):
        answer = sites.get(path, host=host)
        assert (answer.status, answer.fields["location"]) == (status, where), path
    assert sites.get("/older").status == sites.get("/blog").status == 404


def check_files(sites: Sites) -> None:
    for path, content, kind in (
        ("/assets/b.bin", b"0123456789", "application/octet-stream"),
        ("/large.bin", LARGE, "application/octet-stream"),
        ("/empty.txt", b"", "text/plain; charset=utf-8"),
        ("/.well-known/acme", b"token", "application/octet-stream"),
    ):
        answer = sites.get(path)
        assert (answer.status, answer.body == content, answer.fields["content-type"]) == (200, True, kind), path
        again = sites.get(path, method="HEAD")
        assert {**answer.fields, "date": ""} == {**again.fields, "date": ""}
        assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]{8}"', answer.fields["etag"])
        assert "last-modified" in answer.fields and answer.fields["x-frame-options"] == "DENY"
    assert sites.get("/assets/b.bin").fields["cache-control"] == "max-age=60, immutable"
    assert sites.get("/assets/a.css").fields["cache-control"] == "no-store"
    assert sites.get("/").fields["cache-control"] == "no-cache"
    assert sites.get("/assets/b.bin", method="POST").status == 405


def check_conditions(sites: Sites) -> None:
    """RFC 9110, section 13.2.2."""
    for path in ("/assets/b.bin", "/large.bin"):
        fields = sites.get(path, method="HEAD").fields
        tag, date = fields["etag"], fields["last-modified"]
        old, new = "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
        for status, *conditions in (
            (304, f"If-None-Match: {tag}"),
            (304, f"If-Modified-Since: {date}"),
            (304, f"If-Modified-Since: {new}"),
            (200, f"If-Modified-Since: {old}"),
            (200, "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"),
            (200, "If-Modified-Since: Sun Nov  6 08:49:37 1994"),
            (200, "If-Modified-Since: yesterday"),
            (200, 'If-None-Match: "x"', f"If-Modified-Since: {new}"),  # the tag decides
            (200, f"If-Match: {tag}"),
            (200, "If-Match: *"),
            (412, 'If-Match: "x"'),
            (412, f"If-Match: W/{tag}"),
            (200, f"If-Match: {tag}", f"If-Unmodified-Since: {old}"),
            (412, f"If-Unmodified-Since: {old}"),
            (200, f"If-Unmodified-Since: {date}"),
            (412, 'If-Match: "x"', f"If-None-Match: {tag}"),
            (304, f"If-Match: {tag}", f"If-None-Match: {tag}"),
        ):
            answer = sites.get(path, *conditions, method="HEAD")
            assert answer.status == status, conditions
            if status == 304:
                assert answer.fields["etag"] == tag and "cache-control" in answer.fields


def check_ranges(sites: Sites) -> None:
    size = len(LARGE)
    fields = sites.get("/large.bin", method="HEAD").fields
    for asked, first, last in (("0-0", 0, 0), ("-5", size - 5, size - 1), ("1000000-1999999", 1_000_000, 1_999_999)):
        answer = sites.get("/large.bin", f"Range: bytes={asked}", f"If-Range: {fields['etag']}")
        assert (answer.status, answer.body == LARGE[first : last + 1]) == (206, True)
        assert answer.fields["content-range"] == f"bytes {first}-{last}/{size}"
    assert sites.get("/large.bin", "Range: bytes=0-1", f"If-Range: {fields['last-modified']}").status == 206
    assert sites.get("/large.bin", "Range: bytes=0-1", "If-Range: Sun, 06 Nov 1994 08:49:37 GMT").status == 200
    answer = sites.get("/large.bin", f"Range: bytes={size}-")
    assert (answer.status, answer.fields["content-range"]) == (416, f"bytes */{size}")
    answer = sites.get("/assets/b.bin", "Range: bytes=0-1, 4-5 ,-1")
    kind, _, border = answer.fields["content-type"].partition("; boundary=")
    assert (answer.status, kind) == (206, "multipart/byteranges")
    parts = answer.body.split(b"\r\n--" + border.encode())
    assert parts[0] == b"" and parts[-1] == b"--\r\n"
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [b"01", b"45", b"9"]
    assert b"Content-Range: bytes 4-5/10" in parts[2]
    assert sites.get("/assets/b.bin", "Range: bytes=0-9,0-9").status == 200  # more than all of it
    assert sites.get("/assets/b.bin", "Range: bytes=" + ",".join(["0-0"] * 100)).status == 200


def check_variants(sites: Sites) -> None:
    tags = set()
    for accepted, coding in (
        ("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0.5, gzip;q=0.8", "gzip"), ("*", "br"), ("br;q=0, *", "gzip"),
        ("identity", ""), ("deflate", ""), ("gzip;q=0", ""), ("gzip;q=0.5, identity;q=0.9", ""), ("GZIP;Q=1.0", "gzip"),
        ("gzip;q=x", ""), ("zstd", ""),
    ):  # fmt: skip
        answer = sites.get("/assets/a.css", f"Accept-Encoding: {accepted}")
        content = FILES["site/assets/a.css" + {"gzip": ".gz", "br": ".br", "": ""}[coding]]
        assert (answer.fields.get("content-encoding", ""), answer.body) == (coding, content), accepted
        assert answer.fields["vary"] == "Accept-Encoding" and answer.fields["content-type"] == "text/css; charset=utf-8"
        tags.add(answer.fields["etag"])
    assert len(tags) == 3
    tag = sites.get("/assets/a.css", "Accept-Encoding: gzip").fields["etag"]
    assert sites.get("/assets/a.css", "Accept-Encoding: gzip", f"If-None-Match: {tag}").status == 304
    assert sites.get("/assets/a.css", f"If-None-Match: {tag}").status == 200
    assert sites.get("/assets/a.css.gz").fields["content-type"] == "application/gzip"


def check_folders(sites: Sites) -> None:
    answer = sites.get("/list?a=b")
    assert (answer.status, answer.fields["location"]) == (301, "/list/?a=b")
    page = sites.get("/list/").body.decode()
    assert (
        '<a href="./a%20&amp;%20%3Cb%3E.txt">a &amp; &lt;b&gt;.txt</a>' in page and '<a href="./sub/">sub/</a>' in page
    )
    assert sites.get("/list/a%20&%20%3Cb%3E.txt").body == b"odd"
    assert ".secret" not in sites.get("/assets/").body.decode()
    assert sites.get("/", host="deep.one.test").status == 404  # not asked for there


def check_paths(sites: Sites) -> None:
    for path in (
        "/../web.toml", "/..%2fweb.toml", "/%2e%2e/web.toml", "/assets/..%5c..%5cweb.toml", "/%252e%252e/web.toml", "//web.toml",
        "/.git/config", "/%2egit/config", "/assets/.secret", "/assets/%2esecret", "/assets/./b.bin", "/assets//b.bin",
        "/web.toml", "/assets/b.bin/", "/assets/b.bin%20",
    ):  # fmt: skip
        assert sites.get(path).status == 404, path
    for path in ("/assets/b.bin%00", "/assets/b.bin%00.css", "/%zz", "/%ff"):
        assert sites.get(path).status == 400, path


def check_metrics(sites: Sites) -> None:
    values = sites.metrics()
    assert values['web_requests_total{host="one.test",code="206"}'] == 5
    assert values['web_requests_total{host="plain.test",code="301"}'] == 1
    assert values['web_requests_total{host="",code="421"}'] == 4
    assert values["web_connections"] == 0 and values["web_accepted_connections"] > 100
    requests = sum(value for name, value in values.items() if name.startswith("web_requests_total"))
    assert values["web_request_duration_seconds_count"] <= requests
    assert values["web_body_bytes_total"] > 2 * len(LARGE)
    with RawHttp(sites.vm.ports[9100]) as client:
        assert client.get("/ready").status == 200
    answer, _ = exchange(sites.vm.ports[80], b'GET /log"\xc3\xa4 HTTP/1.1\r\nHost: one.test\r\n\r\n')
    assert answer.status == 400
    answer, _ = exchange(sites.vm.ports[80], b'GET /l"g HTTP/1.1\r\nHost: one.test\r\nReferer: \x9b31m\\\r\n\r\n')
    assert answer.status == 404


def check_log(text: str) -> None:
    moment = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
    assert re.search(rf'^10\.0\.2\.2 - - {moment} "GET /assets/b.bin HTTP/1.1" 200 10 "-" "t"$', text, re.MULTILINE)
    assert re.search(rf'^\S+ - - {moment} "-" 400 \d+ "-" "-"$', text, re.MULTILINE)
    assert r'"GET /l\x22g HTTP/1.1" 404 14 "\x9b31m\x5c" "-"' in text
    assert re.search(r"info web: \d+ requests served, 0 connections cut", text)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    framed = b"X-Frame-Options: ALLOW\r\nVary: Cookie\r\nx-FRAME-options: ALLOW\r\nX-Other: 1\r\n"
    scripts = {
        "/behind/framed": b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % framed,
        "/behind/bad": b"no answer\r\n\r\n",
    }
    with Upstream("behind", scripts) as server:
        yield server


def check_headers_before_an_upstream(port: int) -> None:
    """Those of the host are on an upstream's answers, and on what is said in its place."""
    with RawHttp(port) as client:
        answer = client.get("/behind/x")
        assert (answer.status, answer.fields["x-frame-options"], answer.fields["vary"]) == (200, "DENY", "Origin")
        answer = client.get("/behind/bad")
        assert (answer.status, answer.fields["x-frame-options"], answer.fields["vary"]) == (502, "DENY", "Origin")
        client.send(b"GET /behind/framed HTTP/1.1\r\nHost: a\r\n\r\n")
        lines = iter(client.line, b"")
        said = sorted(line for line in lines if line[:4].lower() in (b"http", b"x-fr", b"vary", b"x-ot"))
    assert said == [b"HTTP/1.1 200 OK", b"Vary: Cookie", b"Vary: Origin", b"X-Frame-Options: DENY", b"X-Other: 1"]


def test_a_configuration_in_the_image(boot: Boot, tmp_path: Path, upstream: Upstream) -> None:
    """Is found, is not served, and one that cannot be ends the VM with what is wrong."""
    app = tmp_path / "web"
    shutil.copytree(DATA.parent, app)
    config = 'log_level = "warning"\nport = 81\n[[host]]\nroot = "/rom/about"\napi = true\n'
    config += 'headers = {X-Frame-Options = "DENY", Vary = "Origin"}\n'
    config += f'[[host.proxy]]\npath = "/behind/*"\nupstreams = ["{upstream.url}"]\nconnect_s = 5\n'
    (app / "data" / ".web.toml").write_text(config)
    (app / "data" / "wrong.toml").write_text(config.replace("connect_s", "conect_s"))
    settings = (app / "image.toml").read_text()  # with files of its own, a budget of its own
    (app / "image.toml").write_text(re.sub(r'(\[budget\]\nelf = )"\d+"', r'\1"700000"', settings))
    vm = boot(app, deadline_s=DEADLINE_S, ports=[81, 9100], env={"LOG_LEVEL": "info"})
    vm.expect_exact("info web: serving on port 81", timeout=_START_S)
    with RawHttp(vm.ports[81]) as client:
        assert client.get("/").body == (DATA / "about" / "index.html").read_bytes()
        assert [client.get(path).status for path in ("/.web.toml", "/index.html", "/api/notes")] == [404, 200, 200]
        assert json.loads(client.get("/behind/x?y").body)["name"] == "behind"
        for _ in range(20):  # from memory, and counted all the same
            assert client.get("/").status == 200
    with RawHttp(vm.ports[9100]) as client:
        assert 'web_requests_total{host="default",code="200"} 24\n' in client.get("/metrics").body.decode()
    check_headers_before_an_upstream(vm.ports[81])
    vm.send(INTERRUPT)
    assert vm.wait() == 0
    assert "info web: 28 requests served, 0 connections cut" in vm.console_text
    assert vm.console_text.count("stopped") == 1
    vm = boot(app, deadline_s=DEADLINE_S, ports=[81], env={"CONFIG": "/rom/wrong.toml"})
    assert vm.wait() == 2
    assert (
        "error web: /rom/wrong.toml: host 1: proxy: conect_s is no option of a proxy" in vm.console_text
        and "Traceback" not in vm.console_text
    )
