# SPDX-License-Identifier: MIT
"""Module ssl in a VM: guest_tls.py inside, tls_host.py outside, certificates by the `openssl` command."""

from __future__ import annotations

from pathlib import Path

import pytest
from certs import Certificates
from tls_host import TlsServices

from conftest import Boot
from floe.console import Matched

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_known_answers(boot: Boot) -> None:
    vm = boot(HERE / "guest_hash.py", deadline_s=60)
    assert vm.expect("all done") is Matched
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text


def test_tls(boot: Boot, certificates: Certificates) -> None:
    with TlsServices(certificates) as services:
        env = certificates.env("ca", "good", "client")
        vm = boot(HERE / "guest_tls.py", deadline_s=120, args=services.arguments, env=env)
        assert vm.expect("all done") is Matched
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
