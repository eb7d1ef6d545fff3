# SPDX-License-Identifier: MIT
"""images/web reads its configuration and the files of a disk again: no connection ends, nothing is answered wrongly."""

from __future__ import annotations

import random
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pexpect import TIMEOUT

from floe.testing import Boot
from tests.boot.rawhttp import RawHttp, exchange
from tests.boot.webguest import DATA, DEADLINE_S, Web, status_of
from tests.boot.webupstream import Conversation, Upstream
from tests.support.command import floe
from tests.support.vms import Vms, log, until

HERE = Path(__file__).parent
WAIT_S = 20.0
LARGE = random.Random(7).randbytes(6_000_000)  # more than all buffers on its way hold
HOST = '[[host]]\nroot = "/site"\napi = true\n'
PROXY = '[[host.proxy]]\npath = "/%s/*"\nupstreams = ["%s"]\n'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


class Reloaded(Web):
    """A guest that serves the disk."""

    def put(self, path: str, content: bytes) -> None:
        head = f"PUT {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(content)}\r\n\r\n"
        assert exchange(self.vm.ports[81], head.encode() + content)[0].status == 204

    def remove(self, path: str) -> None:
        assert exchange(self.vm.ports[81], f"DELETE {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())[0].status == 204

    def reload(self, said: str = "info web: read again: 1 hosts (") -> None:
        self.vm.send(b"reload\n")
        self.vm.expect_exact(said, timeout=WAIT_S)


class Slow:
    """An upstream's script that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.may = threading.Event(), threading.Event()

    def __call__(self, talk: Conversation) -> None:
        self.asked.set()
        assert self.may.wait(WAIT_S)
        talk.say(OK + b"late")
        talk.keep = True


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def upstream(slow: Slow) -> Iterator[Upstream]:
    with Upstream("behind", {"/old/slow": slow}) as server:
        yield server


def disk_of(tmp_path: Path, upstream: Upstream) -> Path:
    files = tmp_path / "files"
    (files / "site" / "sub").mkdir(parents=True)
    for name, content in (("index.html", b"first"), ("gone.txt", b"here"), ("large.bin", LARGE), ("sub/x", b"x")):
        (files / "site" / name).write_bytes(content)
    (files / "web.toml").write_text(HOST + PROXY % ("old", upstream.url) + PROXY % ("kept", upstream.url))
    disk = tmp_path / "web.img"
    assert floe("disk", "create", disk, "--size", "16M").returncode == 0
    for name in ("site", "web.toml"):
        assert floe("disk", "cp", "-r", disk, files / name, ":/").returncode == 0
    return disk


@pytest.fixture
def web(boot: Boot, tmp_path: Path, upstream: Upstream) -> Reloaded:
    disk = disk_of(tmp_path, upstream)
    image = tmp_path / "image"
    image.mkdir()
    (image / "image.toml").write_text('name = "web"\nbase = "web"\ndisks = true\n')
    shutil.copy(HERE / "guest_web_reload.py", image / "main.py")
    return Reloaded(boot(image, deadline_s=DEADLINE_S, ports=[80, 81, 9100], disks=[str(disk)]))


def test_reload(web: Reloaded, upstream: Upstream, slow: Slow) -> None:
    """One VM for all, as starting it is what takes long."""
    with (
        RawHttp(web.port, WAIT_S) as kept,
        RawHttp(web.port, WAIT_S) as half,
        RawHttp(web.port, WAIT_S) as loading,
        RawHttp(web.port, WAIT_S) as waiting,
    ):
        first = kept.get("/")
        assert first.body == b"first" == kept.get("/").body
        assert kept.get("/kept/a").status == 200
        half.send(b"GET /new.txt HTTP/1.1\r\nHo")
        loading.send(b"GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n")
        assert loading.sock.recv(1, socket.MSG_PEEK)
        waiting.send(b"GET /old/slow HTTP/1.1\r\nHost: test\r\n\r\n")
        assert slow.asked.wait(WAIT_S)
        _change(web, upstream)
        assert kept.get("/").body == b"first"  # until somebody asks for more
        web.vm.send(b"reload\n")
        while web.vm.expect_exact(["info web: read again: 1 hosts (", "stays as it was", TIMEOUT], timeout=0.01) == 2:
            assert kept.get("/").status == 200
        _check_new(kept, first.fields["etag"])
        half.send(b"st: test\r\n\r\n")
        assert half.answer().body == b"new"
        slow.may.set()
        assert waiting.answer().body == b"late"
        assert waiting.get("/old/a").status == 404
        assert loading.answer().body == LARGE
        accepted = upstream.accepted
        assert kept.get("/kept/a").status == 200
        assert upstream.accepted == accepted  # on the connection that it had
        _check_what_is_wrong(web, kept)
    _check_proxies_that_come(web, upstream)
    _check_memory(web)
    text = web.ends_with(0)
    assert "0 connections cut" in text and "web: what is no command; there are: reload" in text


def _change(web: Reloaded, upstream: Upstream) -> None:
    config = HOST + 'headers = {X-New = "1"}\nredirects = [{from = "/r", to = "/new.txt"}]\n'
    web.put("/web.toml", (config + PROXY % ("kept", upstream.url)).encode())
    web.put("/site/index.html", b"second")
    web.put("/site/new.txt", b"new")
    web.remove("/site/gone.txt")


def _check_new(kept: RawHttp, etag: str) -> None:
    answer = kept.get("/")
    assert (answer.body, answer.fields["x-new"]) == (b"second", "1") and answer.fields["etag"] != etag
    for path, status in (("/new.txt", 200), ("/gone.txt", 404), ("/r", 301), ("/old/a", 404), ("/sub/x", 200)):
        assert kept.get(path).status == status, path
    assert kept.get("/api/status").status == 200


def _check_what_is_wrong(web: Reloaded, kept: RawHttp) -> None:
    for config, said in (
        (b"[[host]]\nroot = 5\n", "/web.toml: host 1: root = 5: expected text"),
        (b'[[host]]\nroot = "/none"\n', "/web.toml: /none is no folder here"),
        (b"idle_s = 0\n" + HOST.encode(), "idle_s = 0: expected a number above 0"),
        (
            (HOST + PROXY % ("a", "b:80") + "tries = true\n").encode(),
            "/web.toml: host 1: proxy: tries = True: expected",
        ),
        (b"strikt = true\n", "/web.toml: strikt is no setting"),
        (b"strict = \n", "/web.toml: "),
    ):
        web.put("/web.toml", config)
        web.reload(f"error web: the configuration stays as it was: {said}")
        assert kept.get("/").body == b"second" and kept.get("/kept/a").status == 200
    web.vm.send(b"what\n")
    web.vm.expect_exact("web: what is no command; there are: reload", timeout=WAIT_S)


def _check_proxies_that_come(web: Reloaded, upstream: Upstream) -> None:
    """All go, one comes again, with options; settings count, too."""
    web.put("/web.toml", (HOST + "index = true\n").encode())
    web.reload()
    with RawHttp(web.port, WAIT_S) as client:
        assert client.get("/kept/a").status == 404
        assert b'href="./x"' in client.get("/sub/").body
    config = "access_log = true\nstrict = true\n" + HOST + 'names = ["one.test"]\n' + PROXY % ("back", upstream.url)
    web.put("/web.toml", (config + 'check_path = "/"\nread_s = 5\n').encode())
    web.reload()
    with RawHttp(web.port, WAIT_S) as client:
        assert client.get("/back/a").status == 421
        client.send(b"GET /back/a HTTP/1.1\r\nHost: one.test\r\n\r\n")
        assert client.answer().status == 200
    web.vm.expect_exact('"GET /back/a HTTP/1.1" 421', timeout=WAIT_S)
    with RawHttp(web.vm.ports[9100], WAIT_S) as client:
        text = client.get("/metrics").body.decode()
    assert f'web_upstream_requests_total{{upstream="{upstream.url}"}} ' in text
    assert 'web_requests_total{host="default",code="200"}' in text and 'host="one.test",code="200"} 1\n' in text


def _check_memory(web: Reloaded) -> None:
    """What was served before is let go of."""
    web.put("/web.toml", HOST.encode())
    web.reload()
    before = status_of(web.port)["heap_used"]
    for _ in range(30):
        web.reload()
    after = status_of(web.port)["heap_used"]
    assert isinstance(before, int) and isinstance(after, int) and after - before < 30_000, (before, after)


def test_a_dev_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    """As docs/web.md has it: its console is the REPL's."""
    with Vms(tmp_path, monkeypatch) as vms:
        disk = disk_of(tmp_path, upstream)
        told = vms.run("--dev", "-p", "0:80", "--variant", "disk", "--disk", disk, DATA.parent)
        name, port = str(told["name"]), int(told["ports"][0]["host"])  # type: ignore[index]  # a list
        until(lambda: "serving on port 80" in log(name), "the server")
        (tmp_path / "new.html").write_text("copied")
        with RawHttp(port, WAIT_S) as client:
            assert client.get("/").body == b"first"
            assert floe("cp", tmp_path / "new.html", f"{name}:/site/index.html").returncode == 0
            assert client.get("/").body == b"first"
            done = floe("exec", name, "import reload; reload.now()")
            assert done.returncode == 0, done.stderr
            until(lambda: client.get("/").body == b"copied", "the new page")
