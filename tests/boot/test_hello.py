# SPDX-License-Identifier: MIT
"""images/hello: one line, exit code 0, on every machine, in 4 MiB."""

from __future__ import annotations

import pytest

from floe.qemu.commandline import MACHINES
from floe.testing import Boot

pytestmark = pytest.mark.usefixtures("each_qemu")


@pytest.mark.parametrize("machine", MACHINES)
def test_hello(boot: Boot, machine: str) -> None:
    vm = boot("hello", deadline_s=20, machine=machine, memory="4M")
    vm.expect_exact("hello, world\n")
    assert vm.wait() == 0
    assert vm.console_text.replace("\r\n", "\n") == "hello, world\n"  # and nothing else


def test_hello_without_a_network_card(boot: Boot) -> None:
    vm = boot("hello", deadline_s=20, net=["none"])
    assert vm.wait() == 0
    assert "hello, world" in vm.console_text
    assert "PANIC" not in vm.console_text
