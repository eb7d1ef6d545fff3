# SPDX-License-Identifier: MIT
"""images/hello on every accelerator and machine: text, exit code, and nothing wrong quietly."""

import pytest

from floe.console import Matched


@pytest.mark.parametrize("machine", ["microvm", "q35", "pc"])
def test_hello(boot, machine):
    vm = boot("hello", deadline_s=20, memory="8M", machine=machine)
    assert vm.expect("hello, world") is Matched
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text


def test_hello_in_4_mib(boot):
    vm = boot("hello", deadline_s=20, memory="4M")
    assert vm.expect("hello, world") is Matched
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text
