# SPDX-License-Identifier: MIT
"""Module ssl in a VM: guest_tls.py inside, tls_host.py outside, certificates by the `openssl` command."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.support.certs import Certificates
from tests.target.peers.tls_host import TlsServices

GUESTS = Path(__file__).resolve().parent / "guests"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_known_answers(boot: Boot) -> None:
    vm = boot(GUESTS / "guest_hash.py", deadline_s=60)
    vm.expect_exact("all done")
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text


def test_contexts(boot: Boot) -> None:
    vm = boot(GUESTS / "guest_tlscontext.py", deadline_s=60)
    vm.expect_exact("all done")
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text


@pytest.mark.parametrize("guest", ["guest_tls.py", "guest_tlsread.py"])
def test_tls(boot: Boot, certificates: Certificates, guest: str) -> None:
    with TlsServices(certificates) as services:
        env = certificates.env("ca", "good", "client")
        vm = boot(GUESTS / guest, deadline_s=120, args=services.arguments, env=env)
        vm.expect_exact("all done")
        assert vm.wait() == 0
    assert "PANIC" not in vm.console_text


SERVING = """
import os, socket, ssl

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.getenv("RSA_PEM").replace("|", "\\n").encode(), os.getenv("RSA_KEY").replace("|", "\\n").encode())
listener = socket.socket()
listener.bind(("0.0.0.0", 4433))
listener.listen(5)
print("serving")
while True:
    s, _ = listener.accept()
    s.settimeout(10)
    try:
        t = context.wrap_socket(s, server_side=True)
        said = t.read(4)
        print("said", said)
        t.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nhi\\n")
        t.close()
        if said == b"stop":
            break
    except OSError as e:
        print("refused", e.args[1])
        s.close()
"""


def test_what_a_server_says_of_clients_that_cannot_go_on(
    boot: Boot, certificates: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(SERVING)
    vm = boot(tmp_path / "main.py", deadline_s=60, env=certificates.env("rsa"), net=["user"], ports=[4433])
    vm.expect_exact("serving")
    where = ("127.0.0.1", vm.ports[4433])

    def hello(context: ssl.SSLContext, says: bytes = b"") -> str:
        with socket.create_connection(where, timeout=20) as s:
            try:
                with context.wrap_socket(s, server_hostname="floe.test") as t:
                    t.sendall(says)
                    return t.recv(100).decode()
            except ssl.SSLError as e:
                return e.reason or str(e)

    def s_client(*options: str) -> str:
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{where[1]}", "-brief", *options]
        return subprocess.run(argv, input="GET \n", capture_output=True, text=True, timeout=20, check=False).stderr

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        nobody_trusted = ssl.create_default_context()
        nobody_trusted.minimum_version = nobody_trusted.maximum_version = version
        assert hello(nobody_trusted) == "CERTIFICATE_VERIFY_FAILED"
        vm.expect_exact("refused the peer refused: alert 48, unknown CA")
    for version in ("-tls1_3", "-tls1_2"):
        assert "handshake failure" in s_client(version, "-groups", "X448")
        vm.expect_exact("refused handshake failure: nothing in common with the peer")
    assert "Protocol version: TLSv1.3" in s_client("-groups", "X448:P-384")  # a retry, with our group
    vm.expect_exact("said b'GET '")
    url = f"https://floe.test:{where[1]}/"
    curl = ["curl", "-sS", "--resolve", f"floe.test:{where[1]}:127.0.0.1", "--max-time", "20", url]
    assert subprocess.run(curl, capture_output=True, timeout=30, check=False).returncode == 60
    vm.expect_exact("refused the peer refused: alert 48, unknown CA")
    trusting = [*curl, "--cacert", str(certificates.pem("ca"))]
    assert subprocess.run(trusting, capture_output=True, text=True, timeout=30, check=True).stdout == "hi\n"
    trusted = ssl.create_default_context(cafile=str(certificates.pem("ca")))
    assert hello(trusted, b"stop").endswith("hi\n")
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text


TRUSTING = """
import asyncio, ssl, sys

async def main():
    try:
        r, w = await asyncio.open_connection("10.0.2.2", int(sys.argv[1]), ssl=True, server_hostname="floe.test")
        w.write(b"hello\\n")
        await w.drain()
        print(await r.readline())
    except OSError as e:
        print(e.args[1])

asyncio.run(main())
"""


def test_whom_the_image_trusts(boot: Boot, certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(TRUSTING)
    (tmp_path / "image.toml").write_text('[tls]\nca = "ours.pem"\n')
    (tmp_path / "ours.pem").write_text(certificates.pem("ca").read_text())
    with TlsServices(certificates) as services:
        for service, env, says in (
            ("good", {}, "b'hello\\n'"),
            ("unknown", {}, "it was signed by an unknown CA"),
            ("good", {"SSL_CERT_FILE": "/nowhere"}, "no CA certificates to check the peer's with"),
        ):
            vm = boot(tmp_path, deadline_s=60, args=[str(services.ports[service])], env=env)
            assert vm.wait() == 0
            assert says in vm.console_text
