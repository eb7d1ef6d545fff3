# SPDX-License-Identifier: MIT
"""A VM's console as a terminal of the host, for upstream's runners: served while the VM's event loop runs."""

from __future__ import annotations

import os
import tty

from floe.stream.streams import Input, Output
from floe.vm.vm import Vm


class Pty:
    """A pty whose other end is a VM's console."""

    def __init__(self, vm: Vm) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._output = Output(self._master, vm.loop)
        vm.console.on_data = self._output.put
        self._input = Input(self._master, vm.loop, vm.console, {})
        self.name = os.ttyname(self._slave)

    def close(self) -> None:
        self._input.stop()
        self._output.discard()
        os.close(self._slave)
        os.close(self._master)
