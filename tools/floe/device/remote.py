# SPDX-License-Identifier: MIT
"""Code run in a guest's raw REPL, for `floe exec`: its output as it comes, Ctrl-C and a deadline for what runs there.

The protocol is MicroPython's (docs, reference/repl: raw mode); entering it and sending the code is mpremote's.
"""

from __future__ import annotations

import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from floe.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SCRIPT_ERROR, EXIT_TIMED_OUT, VmError
from floe.stream.keys import END, INTERRUPT

if TYPE_CHECKING:
    from mpremote.transport_serial import SerialTransport

_REACT_S = 5.0  # what the guest may take over an interrupt
_LOOK_S = 0.2  # how often an interrupt that came during a wait is looked at


class _Run:
    """One program that runs in the guest."""

    def __init__(self, transport: SerialTransport, timeout_s: float | None) -> None:
        self._port: Any = transport.serial
        self._end = None if timeout_s is None else time.monotonic() + timeout_s
        self._verdict: int | None = None  # exit code for what was interrupted
        self._said = [b"", b""]  # output, traceback

    def interrupt(self, verdict: int) -> None:
        """Send Ctrl-C. A second one gives up waiting for the guest."""
        if self._verdict is not None:
            raise KeyboardInterrupt
        self._verdict = verdict
        self._end = time.monotonic() + _REACT_S
        self._port.write(INTERRUPT)

    def follow(self) -> int:
        """Until it has ended: floe's exit code. Raises VmError when an interrupt changes nothing."""
        part = 0
        while part < len(self._said):
            left = _LOOK_S if self._end is None else min(_LOOK_S, self._end - time.monotonic())
            if left <= 0 and self._verdict is not None:
                raise VmError(
                    f"the guest does not react to Ctrl-C within {_REACT_S:g} s",
                    hint="it is in a long call in C, or catches KeyboardInterrupt: floe stop ends the VM",
                )
            if left <= 0:
                self.interrupt(EXIT_TIMED_OUT)
            waiting = self._port.in_waiting
            if not waiting and not select.select([self._port.fd], [], [], max(left, 0.0))[0]:
                continue
            for piece in self._port.read(max(self._port.in_waiting, 1)).splitlines(keepends=True):
                part = self._take(piece, part)
        code = EXIT_SCRIPT_ERROR if self._said[1] else EXIT_OK
        return code if self._verdict is None else self._verdict

    def _take(self, data: bytes, part: int) -> int:
        while data and part < len(self._said):
            text, end, data = data.partition(END)
            self._said[part] += text
            sys.stdout.buffer.write(text)
            part += bool(end)
        sys.stdout.buffer.flush()
        return part


def execute(transport: SerialTransport, code: bytes, timeout_s: float | None) -> int:
    """Run code in a guest that can be brought into raw mode; floe's exit code, 130 after Ctrl-C, 124 after the timeout.

    Raises TransportError, SerialException, VmError, and KeyboardInterrupt for a second Ctrl-C."""
    transport.enter_raw_repl(soft_reset=False)
    try:
        transport.exec_raw_no_follow(code)
        run = _Run(transport, timeout_s)
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda number, frame: run.interrupt(EXIT_INTERRUPTED))
        try:
            return run.follow()
        finally:
            signal.signal(signal.SIGINT, before)
    finally:
        with suppress(OSError):  # the VM may have ended
            transport.exit_raw_repl()
