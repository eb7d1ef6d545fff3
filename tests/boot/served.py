# SPDX-License-Identifier: MIT
"""What the guests of all images that serve have in common."""

from __future__ import annotations

from collections.abc import Iterable

from floe.stream.keys import INTERRUPT
from floe.testing import Guest

_END_S = 60.0  # for the end, however long the test was


class Served:
    """A running image that serves until Ctrl-C."""

    vm: Guest

    def stop(self) -> str:
        """Press Ctrl-C, wait for the end, and return all that the guest said."""
        self.vm.send(INTERRUPT)
        assert self.vm.wait(deadline_s=_END_S) == 0
        text = str(self.vm.console_text)
        assert "PANIC" not in text and "Traceback" not in text
        return text


def stop_all(running: Iterable[Served]) -> None:
    """Those that still run. Each must end in order, without a traceback."""
    for served in running:
        if served.vm.outcome is None:
            served.stop()
