# SPDX-License-Identifier: MIT
"""The server of images/web with bodies that come and go piece by piece, in bounded memory."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from floe.testing import Boot, Guest
from tests.boot.rawhttp import RawHttp, exchange
from tests.boot.webguest import DATA, get

PIECE = b"0123456789abcdef" * 1024
BIG = 512  # pieces: 8 MiB, as large as the VM's memory
POST = b"POST /%b HTTP/1.1\r\nHost: test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def guest(boot: Boot, tmp_path: Path) -> Guest:
    folder = tmp_path / "app"
    folder.mkdir()
    for module in DATA.parent.glob("*.py"):
        shutil.copy(module, folder)
    shutil.copy(Path(__file__).parent / "guest_web_stream.py", folder / "main.py")
    (folder / "image.toml").write_text('name = "stream"\nversion = "1"\nmemory = "8M"\n')
    vm = boot(folder, deadline_s=120, ports=[80], memory="8M")
    vm.expect_exact("serving")
    return vm


def state_of(port: int) -> list[int]:
    """Sources that were closed, answers that nobody wanted, heap in use, connections."""
    value = json.loads(get(port, "/state").body)
    assert isinstance(value, list)
    return value


def until_state(port: int, closed: int, gone: int) -> None:
    deadline = time.monotonic() + 20
    while state_of(port)[:2] != [closed, gone]:
        assert time.monotonic() < deadline, state_of(port)
        time.sleep(0.1)


def unchunked(client: RawHttp) -> bytes:
    """The body of an answer in chunks."""
    answer = client.answer()
    assert (answer.status, answer.fields["transfer-encoding"]) == (200, "chunked")
    body = bytearray()
    while size := int(client.line(), 16):
        body += client.take(size)
        assert client.line() == b""
    assert client.line() == b""
    return bytes(body)


def test_streams(guest: Guest) -> None:
    port = guest.ports[80]
    _, _, before, _ = state_of(port)
    with RawHttp(port, timeout_s=30) as client, RawHttp(port) as idle:
        answer = client.get(f"/known/{BIG}")
        assert answer.body == PIECE * BIG
        client.send(b"GET /known/3 HTTP/1.1\r\nHost: a\r\n\r\nGET /empty HTTP/1.1\r\nHost: a\r\n\r\n")  # pipelined
        assert (client.answer().body, client.answer().body) == (PIECE * 3, b"")
        for path, pieces in (("/slow/4", 4), ("/many/9", 9)):
            client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert unchunked(client) == PIECE * pieces
        client.send(b"HEAD /known/3 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer(head_only=True).fields["content-length"] == str(3 * len(PIECE))
        client.send(b"GET /many/2 HTTP/1.0\r\n\r\n")
        assert "transfer-encoding" not in client.answer().fields
        assert client.rest() == PIECE * 2

        # A source that gives too little, or fails: the client can see that the body is not whole.
        for path in ("/short/2", "/broken/2"):
            with RawHttp(port) as cut:
                cut.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                with pytest.raises(EOFError):
                    cut.answer() if path != "/broken/2" else unchunked(cut)
        until_state(port, 9, 0)

        # A client that does not read keeps only itself waiting.
        with RawHttp(port) as lazy:
            lazy.send(b"GET /many/999999 HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.5)
            assert idle.get("/empty").status == 200
            assert state_of(port)[2] < before + 200_000
        until_state(port, 11, 0)


def test_bodies_as_they_arrive(guest: Guest) -> None:
    port = guest.ports[80]
    with RawHttp(port, timeout_s=30) as client:
        client.send(POST % b"sum" + b"Content-Length: %d\r\n\r\n" % (BIG * len(PIECE)), PIECE * BIG)
        total, several, largest = json.loads(client.answer().body)
        assert (total, several) == (BIG * len(PIECE), True) and largest <= 8192
        chunks = b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in (b"a" * 9, b"b" * 5000, PIECE * 8))
        more = b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send(POST % b"sum" + CHUNKED + chunks + b"0\r\nX: y\r\n\r\n" + more)
        assert json.loads(client.answer().body)[0] == 5009 + 8 * len(PIECE)
        assert client.answer().status == 200  # what came behind the body

        # Back while it comes: the connection ends with the answer, as the body was not whole when that began.
        client.send(POST % b"echo" + CHUNKED, b"3\r\nabc\r\n", pause_s=0.2)
        client.send(b"2\r\nde\r\n", b"0\r\n\r\n", pause_s=0.1)
        assert unchunked(client) == b"abcde"
    answer, closed = exchange(port, POST % b"deaf" + b"Content-Length: 99999999\r\n\r\n", PIECE * 4)
    assert (answer.status, closed) == (403, True)
    for chunk in (b"zz\r\n", b"1\r\nab\r\n"):
        answer, closed = exchange(port, POST % b"sum" + CHUNKED, b"3\r\nabc\r\n", chunk, pause_s=0.2)
        assert (answer.status, closed) == (400, True), chunk
    started = time.monotonic()
    answer, closed = exchange(port, POST % b"sum" + b"Content-Length: 9\r\n\r\nabc")
    assert (answer.status, closed) == (408, True) and 0.9 < time.monotonic() - started < 8
    gone = state_of(port)[1]
    with RawHttp(port) as leaving:
        leaving.send(POST % b"sum" + b"Content-Length: 9\r\n\r\nabc")
        time.sleep(0.2)
    until_state(port, 1, gone + 1)
    assert state_of(port)[3] == 1
    assert "Traceback" not in guest.console_text
