# SPDX-License-Identifier: MIT
"""A VM's console for pexpect, which does the matching: patterns, before, after, match, EOF and TIMEOUT are its own.

What is read is the console and the 16550, in the order in which it came; both go on through a reset of the guest."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from pexpect import EOF, TIMEOUT
from pexpect.spawnbase import SpawnBase

from floe.stream.streams import Closed, TimedOut

if TYPE_CHECKING:
    from floe.vm.vm import Vm

    Base = SpawnBase[str]
else:
    Base = SpawnBase  # generic for type checkers alone

_SHOWN = 2000  # characters of what came and was not expected


class Expect(Base):
    """Reads what a VM says; each read serves the VM meanwhile."""

    def __init__(self, vm: Vm) -> None:
        super().__init__(timeout=None, encoding="utf-8")
        self.delayafterread = None
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._vm = vm

    def read_nonblocking(self, size: int = 1, timeout: float | None = None) -> str:
        """What came since the last read, however much it is. Raises pexpect.TIMEOUT, pexpect.EOF."""
        data = bytearray()

        def came() -> bool:
            data.extend(self._vm.read_console())
            return bool(data)

        ended = self._vm.pump(came, timeout)
        if ended is TimedOut:
            raise TIMEOUT("Timeout exceeded.")
        if ended is Closed and not came():
            self.flag_eof = True
            raise EOF("End Of File (EOF): the VM has ended.")
        return self._text.decode(bytes(data))

    def isalive(self) -> bool:
        """Whether the VM has not ended."""
        return self._vm.outcome is None

    def __str__(self) -> str:
        """What stands below the words of an EOF or a TIMEOUT."""
        how = f"ended: {self._vm.outcome.cause}, exit code {self._vm.outcome.code}" if self._vm.outcome else "running"
        return f"VM: {self._vm.spec.elf}, {how}\nunmatched: {str(self.buffer or self.before)[-_SHOWN:]!r}"
