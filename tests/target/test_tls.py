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
