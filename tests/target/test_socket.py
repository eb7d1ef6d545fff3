# SPDX-License-Identifier: MIT
"""Module socket in a VM, over user networking: guest_tcp.py and guest_net.py inside, net_host.py outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.testing import Boot
from tests.target.peers.net_host import Services

pytestmark = pytest.mark.usefixtures("each_qemu")

GUESTS = Path(__file__).resolve().parent / "guests"


@pytest.mark.parametrize("guest", ["guest_tcp.py", "guest_net.py", "guest_asyncio.py"])
def test_socket(boot: Boot, guest: str) -> None:
    with Services() as services:
        vm = boot(GUESTS / guest, deadline_s=120, net=("user,ip=dhcp",), args=services.arguments)
        vm.expect_exact("all done")
        assert vm.wait() == 0
    assert "PANIC" not in vm.console_text


def test_what_was_sent_arrives_after_the_end(boot: Boot) -> None:
    with Services() as services:
        vm = boot(GUESTS / "guest_exit_send.py", deadline_s=20, args=services.arguments)
        assert vm.wait() == 0
        assert services.counted() == 100000
    assert "PANIC" not in vm.console_text
