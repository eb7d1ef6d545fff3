# SPDX-License-Identifier: MIT
"""Code run in a guest's raw REPL, for `floe exec`: its output as it comes, Ctrl-C and a deadline for what runs there.

The protocol is MicroPython's (docs, reference/repl: raw mode); entering it and sending the code is mpremote's.
"""

from __future__ import annotations

import enum
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


class _Stage(enum.Enum):
    ENTERING = enum.auto()  # into raw mode: there is nothing to interrupt in the guest
    SENDING = enum.auto()  # the guest has the code in part, or may run it already
    RUNNING = enum.auto()
    ENDED = enum.auto()


class _Run:
    """One program that runs in the guest."""

    def __init__(self, transport: SerialTransport, timeout_s: float | None) -> None:
        self._transport = transport
        self._port: Any = transport.serial
        self._timeout_s = timeout_s
        self._stage = _Stage.ENTERING
        self._end: float | None = None
        self._verdict: int | None = None  # exit code for what was interrupted
        self._interrupted = False  # the guest was sent Ctrl-C
        self._said = [b"", b""]  # output, traceback

    def interrupt(self, verdict: int) -> None:
        """Send Ctrl-C, as soon as the guest hears it. A second one gives up waiting for the guest."""
        if self._stage is _Stage.ENDED:
            return
        if self._stage is _Stage.ENTERING or self._verdict is not None:
            raise KeyboardInterrupt
        self._verdict = verdict
        if self._stage is _Stage.RUNNING:
            self._send_interrupt()

    def _send_interrupt(self) -> None:
        if not self._interrupted:
            self._interrupted = True
            self._end = time.monotonic() + _REACT_S
            self._port.write(INTERRUPT)

    def send(self, code: bytes) -> None:
        """Send the program to a guest in raw mode, which has begun with it at the end.

        A Ctrl-C that comes with its last bytes would be taken for one of them."""
        self._stage = _Stage.SENDING
        self._transport.exec_raw_no_follow(code)
        if self._timeout_s is not None:
            self._end = time.monotonic() + self._timeout_s
        self._stage = _Stage.RUNNING
        if self._verdict is not None:
            self._send_interrupt()

    def leave(self) -> None:
        """Bring the guest out of raw mode, and out of a program that it was sent in part."""
        unfinished, self._stage = self._stage is _Stage.SENDING, _Stage.ENDED
        with suppress(OSError):  # the VM may have ended
            if unfinished:
                self._port.write(INTERRUPT)
            self._transport.exit_raw_repl()

    def follow(self) -> int:
        """Until it has ended: floe's exit code. Raises VmError when an interrupt changes nothing."""
        part = 0
        while part < len(self._said):
            interrupted = self._interrupted  # looked at first, as Ctrl-C gives more time
            left = _LOOK_S if self._end is None else min(_LOOK_S, self._end - time.monotonic())
            if left <= 0 and interrupted:
                raise VmError(
                    f"the guest does not react to Ctrl-C within {_REACT_S:g} s",
                    hint="it is in a long call in C, or catches KeyboardInterrupt: floe stop ends the VM",
                )
            if left <= 0 and self._verdict is None:
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

    Raises TransportError, SerialException, VmError, and KeyboardInterrupt for a second Ctrl-C, or for one that comes
    before the guest has got any of the code."""
    run = _Run(transport, timeout_s)
    before = signal.getsignal(signal.SIGINT)
    try:
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda number, frame: run.interrupt(EXIT_INTERRUPTED))
        try:
            transport.enter_raw_repl(soft_reset=False)
            run.send(code)
            return run.follow()
        finally:
            run.leave()
    finally:
        signal.signal(signal.SIGINT, before)
