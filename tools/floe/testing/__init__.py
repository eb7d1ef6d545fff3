# SPDX-License-Identifier: MIT
"""A pytest plugin to test appliances in VMs: pip install 'floe[testing]', and every test may ask for `boot`.

    from floe.testing import Boot

    def test_hello(boot: Boot) -> None:
        vm = boot("hello.py")
        vm.expect("hello, world")
        assert vm.wait() == 0                  # text AND exit code
        assert "PANIC" not in vm.console_text  # AND nothing went wrong quietly

Options: --floe-accel auto|kvm|tcg|both (in the ini file: floe_accel), and in the ini file floe_apps: folders in which
boot() looks for an app by its name. docs/testing.md says the rest.
"""

from floe.testing.plugin import EOF, TIMEOUT, Boot, BootOptions, Guest, GuestError
from floe.testing.plugin import boot as boot
from floe.testing.plugin import floe_accel as floe_accel
from floe.testing.plugin import pytest_addoption as pytest_addoption
from floe.testing.plugin import pytest_configure as pytest_configure
from floe.testing.plugin import pytest_generate_tests as pytest_generate_tests
from floe.testing.plugin import pytest_runtest_makereport as pytest_runtest_makereport
from floe.testing.stack import Stack
from floe.testing.stack import compose as compose

__all__ = ["EOF", "TIMEOUT", "Boot", "BootOptions", "Guest", "GuestError", "Stack", "compose"]
