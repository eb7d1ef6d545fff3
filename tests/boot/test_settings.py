# SPDX-License-Identifier: MIT
"""What the settings of every image have in common."""

from __future__ import annotations

import pytest

from floe.testing import Boot


@pytest.mark.any_accel
@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("web", "PORT"),
        ("dns", "PORT"),
        ("redis", "PORT"),
        ("mqtt", "PORT"),
        ("iperf", "PORT"),
        ("iperf", "PORT2"),
        ("function", "PORT"),
        ("function", "METRICS_PORT"),
    ],
)
def test_a_port_that_cannot_be_is_told(boot: Boot, app: str, name: str) -> None:
    vm = boot(app, deadline_s=60, env={name: "65536"})
    assert vm.wait() == 2
    assert f"error {app}: {name}=65536: expected a port, 0 to 65535\n" in vm.console_text
    assert "Traceback" not in vm.console_text
