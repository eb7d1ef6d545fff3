# SPDX-License-Identifier: MIT
"""images/web --tls: HTTPS for what people use to look at it, and for what hurts a server."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from floe.errors import UsageError
from floe.stream.keys import INTERRUPT
from floe.testing import Boot, Guest
from tests.boot.webguest import DATA
from tests.support.certs import HOST, Certificates

DEADLINE_S = 120.0
TIMEOUT_S = 80.0  # on a busy host a crowd takes its time
GET = b"GET /api/status HTTP/1.1\r\nHost: floe.test\r\n\r\n"

Serve = Callable[..., Guest]
_CONNECTING = threading.Lock()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def serve(boot: Boot, certificates: Certificates) -> Iterator[Serve]:
    """serve(**env) -> images/web --tls with the certificate `good`; it must end well after the test."""
    running: list[Guest] = []

    def start(**env: str) -> Guest:
        secrets = {"cert": certificates.pem("good"), "key": certificates.key("good")}
        vm = boot("web", variant="tls", deadline_s=DEADLINE_S, secrets=secrets, env=env)
        vm.expect_exact("serving on port 443")
        running.append(vm)
        return vm

    yield start
    for vm in running:
        vm.send(INTERRUPT)
        assert vm.wait() == 0
        assert "PANIC" not in vm.console_text and "Traceback" not in vm.console_text


def client(certificates: Certificates, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.pem("ca")))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def connect(port: int) -> socket.socket:
    """A connection, once QEMU has taken the one before: its port forwarding has an accept queue of one, and what does
    not fit there hangs for minutes."""
    with _CONNECTING:
        deadline = time.monotonic() + TIMEOUT_S
        while _waiting(port) and time.monotonic() < deadline:
            time.sleep(0.001)
        return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)


def _waiting(port: int) -> int:
    """Connections to a listening port of 127.0.0.1 that are not accepted yet (proc(5), rx_queue)."""
    for line in Path("/proc/net/tcp").read_text().splitlines():
        words = line.split()
        if words[1] == f"0100007F:{port:04X}" and words[3] == "0A":
            return int(words[4].partition(":")[2], 16)
    return 0


def ask(vm: Guest, context: ssl.SSLContext, request: bytes = GET) -> bytes:
    """The server's answer. We close first: connections in TIME_WAIT are then ours and not the guest's."""
    with (
        connect(vm.ports[443]) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as conn,
    ):
        conn.sendall(request)
        got = b""
        while not _whole(got):
            data = conn.recv(65536)
            assert data, "the server closed"
            got += data
        return got


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def status(vm: Guest, context: ssl.SSLContext) -> dict[str, object]:
    value = json.loads(ask(vm, context).partition(b"\r\n\r\n")[2])
    assert isinstance(value, dict)
    return value


def c_used(vm: Guest, context: ssl.SSLContext, limit: int = 0) -> int:
    """Bytes of the guest's C heap; with a limit: once they are below it, or after some seconds."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        memory = status(vm, context)["memory"]
        assert isinstance(memory, dict)
        used = int(memory["c_used"])
        if used <= limit or not limit or time.monotonic() > deadline:
            return used


def s_client(vm: Guest, certificates: Certificates, *options: str, typed: str = "") -> str:
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{vm.ports[443]}", "-CAfile", str(certificates.pem("ca"))]
    argv += ["-servername", HOST, "-verify_return_error", *options]
    done = subprocess.run(argv, input=typed, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("limit", ["1.2", "1.3"])
def test_curl(serve: Serve, certificates: Certificates, limit: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("SKIP: curl is not installed")
    vm = serve()
    port = vm.ports[443]
    argv = ["curl", "-sS", "--max-time", f"{TIMEOUT_S:g}", "--tls-max", limit, f"--tlsv{limit}"]
    argv += ["--resolve", f"{HOST}:{port}:127.0.0.1", f"https://{HOST}:{port}/"]
    trusted = [*argv, "--cacert", str(certificates.pem("ca"))]
    done = subprocess.run(trusted, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.stdout == (DATA / "index.html").read_bytes(), done.stderr
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 60  # not trusted
    assert "certificate" in done.stderr


def test_openssl(serve: Serve, certificates: Certificates) -> None:
    vm = serve()
    said = s_client(vm, certificates, "-tls1_3", "-alpn", "h2,http/1.1")
    assert "Verification: OK" in said and "ALPN protocol: http/1.1" in said and "New, TLSv1.3" in said
    said = s_client(vm, certificates, "-tls1_2")
    assert "Verification: OK" in said and "New, TLSv1.2, Cipher is ECDHE-ECDSA" in said
    assert "Secure Renegotiation IS supported" in said
    said = s_client(vm, certificates, "-tls1_2", "-alpn", "h2")
    assert "no application protocol" in said
    said = s_client(vm, certificates, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    assert "protocol version" in said
    said = s_client(vm, certificates, "-tls1_2", typed="R\n")
    assert "no renegotiation" in said
    said = s_client(vm, certificates, "-tls1_2", "-cipher", "AES128-SHA")
    assert "handshake failure" in said  # no forward secrecy
    assert status(vm, client(certificates))["requests"] == 0


def test_sessions_are_resumed(serve: Serve, certificates: Certificates, tmp_path: Path) -> None:
    vm = serve()
    for version in ("-tls1_2", "-tls1_3"):
        file = str(tmp_path / version)
        # The ticket of TLS 1.3 comes with the first data.
        typed = "GET / HTTP/1.1\nHost: floe.test\nConnection: close\n\n"
        first = s_client(vm, certificates, version, "-sess_out", file, "-crlf", "-ign_eof", typed=typed)
        assert "New, TLSv1" in first and os.path.exists(file)
        assert "Reused, TLSv1" in s_client(vm, certificates, version, "-sess_in", file)


def test_a_crowd_leaves_no_memory_behind(serve: Serve, certificates: Certificates) -> None:
    vm = serve(IDLE_S="100")  # a handshake among 32 on a busy host may take more than 15 s
    contexts = [client(certificates, v) for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    for context in contexts:
        ask(vm, context)
    before = c_used(vm, contexts[0])

    def one(number: int) -> bytes:
        return ask(vm, contexts[number % 2])

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(one, range(100)))
    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)
    limit = before + 4096
    assert c_used(vm, contexts[0], limit) <= limit


def test_more_than_memory_holds_are_refused(boot: Boot, certificates: Certificates) -> None:
    secrets = {"cert": certificates.pem("good"), "key": certificates.key("good")}
    vm = boot("web", variant="tls", deadline_s=DEADLINE_S, secrets=secrets, memory="4M", env={"IDLE_S": "100"})
    vm.expect_exact("serving on port 443")
    context = client(certificates)
    kept: list[ssl.SSLSocket] = []
    refused = 0
    while refused < 3 and len(kept) < 100:
        raw = connect(vm.ports[443])
        try:
            kept.append(context.wrap_socket(raw, server_hostname=HOST))
        except (ssl.SSLError, ConnectionError):
            refused += 1
            raw.close()
    assert 10 < len(kept) < 100
    for conn in kept:
        conn.close()
    assert ask(vm, context).startswith(b"HTTP/1.1 200 OK")
    vm.send(INTERRUPT)
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text


def test_rubbish_does_not_hurt(serve: Serve, certificates: Certificates) -> None:
    vm = serve()
    context = client(certificates)
    ask(vm, context)
    before = c_used(vm, context)
    hello = _client_hello()
    pieces = [b"", b"\x16", hello[:3], hello[:20], hello[:-1], b"GET / HTTP/1.1\r\n\r\n", os.urandom(3000)]
    pieces += [b"\x16\x03\x01\xff\xff" + bytes(3000), b"\x15\x03\x03\x00\x02\x02\x28", b"\x17\x03\x03\x00\x05hello"]
    pieces += [
        hello[:5] + os.urandom(len(hello) - 5),
        hello[:50] + b"\xff\xff" + hello[52:],
        b"\x14\x03\x03\x00\x01\x01",
    ]
    for piece in pieces:
        with connect(vm.ports[443]) as raw:
            raw.sendall(piece)
            raw.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while raw.recv(4096):
                    pass  # an alert, or nothing, and then the end
    limit = before + 4096
    assert c_used(vm, context, limit) <= limit


def test_slow_handshakes_end(serve: Serve, certificates: Certificates) -> None:
    vm = serve(IDLE_S="2")
    hello = _client_hello()
    start = time.monotonic()
    slow: list[socket.socket] = []
    try:
        for step in range(20):
            slow.append(connect(vm.ports[443]))
            slow[-1].sendall(hello[: step * 3])
        assert ask(vm, client(certificates)).startswith(b"HTTP/1.1 200 OK")  # others are served meanwhile
        for conn in slow:
            with suppress(ConnectionResetError):
                assert conn.recv(1) == b""
        assert time.monotonic() - start < 14  # and not the 15 s of the default
    finally:
        for conn in slow:
            conn.close()


def _client_hello() -> bytes:
    """What CPython's client would send first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    conn = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        conn.do_handshake()
    return outgoing.read()


def test_without_a_certificate(boot: Boot, certificates: Certificates) -> None:
    with pytest.raises(UsageError) as raised:
        boot("web", variant="tls", deadline_s=30)
    assert raised.value.message == "the image needs the secrets cert, key"
    assert raised.value.hint == "--secret cert=FILE --secret key=FILE"
    good, other = certificates.pem("good"), certificates.key("wrong")
    for cert, key, words in (
        (good, other, "the key does not belong to the cert"),
        (good, good, "invalid key"),
        (other, other, "invalid cert"),
    ):
        vm = boot("web", variant="tls", deadline_s=30, secrets={"cert": cert, "key": key})
        vm.expect_exact(f"error web: cert and key: {words}")
        assert vm.wait() == 2
