# SPDX-License-Identifier: MIT
"""frozen/lib/requests.py in a VM: guest_requests.py inside, HTTP and HTTPS servers outside."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.support.certs import Certificates

GUESTS = Path(__file__).resolve().parent / "guests"
CONTENT = b"0123456789" * 1000


class Handler(BaseHTTPRequestHandler):
    """The answers by path; HTTP/1.1, because chunks are."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        name = self.path.partition("?")[0]
        sent = self._body()
        if name == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(CONTENT), 3000):
                piece = CONTENT[at : at + 3000]
                self.wfile.write(b"%x;note=1\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\nTrailer: x\r\n\r\n")
        elif name == "/negative":
            self.send_response(200)
            self.send_header("Content-Length", "-5")
            self.end_headers()
        elif name == "/negative/chunk":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"-5\r\nhello\r\n0\r\n\r\n")
        elif name in ("/close", "/short"):
            self.send_response(200)
            if name == "/short":
                self.send_header("Content-Length", str(len(CONTENT) + 1))
            self.end_headers()
            self.wfile.write(CONTENT)
        elif name.startswith("/to/"):
            self._redirect("/" + name.removeprefix("/to/"))
        elif name == "/loop":
            self._redirect("loop")
        elif name == "/away":
            self._redirect(f"http://10.0.2.2:{other_port(self.server)}/echo")
        else:
            said = {
                "method": self.command,
                "path": self.path,
                "body": sent.decode(),
                "headers": {key.lower(): value for key, value in self.headers.items()},
            }
            body = json.dumps(said).encode() if name == "/echo" else CONTENT
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)
        self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def _redirect(self, where: str) -> None:
        self.send_response(302)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:
        pass


def other_port(server: object) -> int:
    other: int = server.other  # type: ignore[attr-defined]  # set below
    return other


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def context(certificates: Certificates, name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificates.pem(name), certificates.key(name))
    return made


def test_requests(boot: Boot, certificates: Certificates) -> None:
    with ExitStack() as stack:
        plain, other = stack.enter_context(serving()), stack.enter_context(serving())
        plain.other = other.server_address[1]  # type: ignore[attr-defined]  # what /away names
        secure = [stack.enter_context(serving(context(certificates, name))) for name in ("good", "unknown")]
        ports = [str(server.server_address[1]) for server in (plain, *secure)]
        vm = boot(GUESTS / "guest_requests.py", deadline_s=60, args=ports, env=certificates.env("ca"))
        vm.expect_exact("all done")
        assert vm.wait() == 0
    assert "PANIC" not in vm.console_text
