# SPDX-License-Identifier: MIT
"""A VM of a host whose console is this process's standard streams, as vm/session.py has it for one of this machine's:
what is typed goes there, what it says comes here, and its exit code is ours."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from floe import errors
from floe.errors import EXIT_INTERRUPTED, EXIT_OUT_OF_MEMORY, EXIT_PANIC, FloeError
from floe.fleet import store
from floe.fleet.console import LATER_S, SOON_S, Line, Log
from floe.fleet.domain import CONSOLE, SERIAL
from floe.fleet.vms import ASKING_AGAIN, There, Vms
from floe.spec.handover import Blob
from floe.stream.keys import ESCAPE, INPUT_END, INTERRUPT, PROMPT
from floe.stream.streams import RawTerminal, is_foreground_terminal

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CHUNK = 1 << 16
_GRACE_S = 5.0  # as vm.STOP_GRACE_S


class Attached:
    """Runs one VM, which was started paused, or went on from a snapshot, to its end. `say` takes floe's own
    lines for standard error."""

    def __init__(self, vms: Vms, vm: There, blobs: Sequence[Blob], say: Callable[[str], None]) -> None:
        """blobs: what it was handed, for its next start. Of a dev image Ctrl-C on the terminal is a key for the guest
        (a REPL), not a wish to stop."""
        self._vms, self.vm = vms, vm
        self._blobs = blobs
        self._interactive = vm.mark.profile == "dev"
        self._say = say
        self._terminal = is_foreground_terminal(_STDIN)
        self._logs = (Log(vms.store, vm.uuid + CONSOLE), Log(vms.store, vm.uuid + SERIAL))
        self._line: Line | None = None
        self._asked = 0  # how often its end was asked for
        self._end_at: float | None = None  # it is ended then
        self._tail = b""  # of what it said: a prompt may come in pieces
        self._prompted = self._input_over = self._timed_out = False

    def run(self, timeout_s: float | None) -> int:
        """Its exit code. Raises errors.TimedOut, HostError, FloeError."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

        def stop(number: int, frame: object) -> None:
            self._asked += 1
            with suppress(OSError):
                os.write(waker, b"!")

        terminal: AbstractContextManager[object] = RawTerminal(_STDIN) if self._terminal else nullcontext()
        try:
            for number, handler in before.items():
                if handler is not signal.SIG_IGN:
                    signal.signal(number, stop)
            with terminal:
                if self._interactive:
                    self._line = Line(self._vms, self.vm)
                self._vms.on(self.vm.name, lambda connection, dom, vm: vm.state == "paused" and dom.resume())
                return self._result(self._follow(wake, timeout_s), timeout_s)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._line is not None:
                self._line.close()
            os.close(wake)
            os.close(waker)
            with suppress(FloeError):  # the host is gone
                self._vms.remove(self.vm.name, force=True)

    def _follow(self, wake: int, timeout_s: float | None) -> There:
        """Until it has ended, and what it said is shown."""
        late = None if timeout_s is None else time.monotonic() + timeout_s
        delay, acted = SOON_S, 0
        inputs = (
            [] if not self._terminal and _is_terminal(_STDIN) else [_STDIN]
        )  # in the background reading would stop us
        while True:
            ready = select.select([wake, *inputs], [], [], delay)[0]
            if wake in ready:
                with suppress(BlockingIOError):
                    os.read(wake, _CHUNK)
            if _STDIN in ready and not self._typed():
                inputs = []
            while acted < self._asked:
                acted += 1
                self._ask(last=acted > 1)
            now = time.monotonic()
            if late is not None and now > late:
                late, self._end_at = None, now
                self._timed_out = True
            if self._end_at is not None and now > self._end_at:
                self._end_at = None
                self._vms.stop(self.vm.name, 0)
            vm, said, serial = self._vms.on(self.vm.name, self._look)
            self._show(said, serial)
            if vm.cause in ASKING_AGAIN and not self._asked:
                self._again()
            elif not vm.alive:
                self.vm = vm
                return vm
            delay = SOON_S if said or serial else min(LATER_S, delay * 1.5)

    def _again(self) -> None:
        """machine.reset(), or the end of a deep sleep."""
        if self._line is not None:
            self._line.close()
            self._line = None
        self._vms.again(self.vm.name, self._blobs)

    def _look(self, connection: Any, dom: Any, vm: There) -> tuple[There, bytes, bytes]:
        """How it is; and what it has said until then, all of it where it has ended."""
        if not vm.alive:
            store.settle()
        said, serial = (log.news(connection) for log in self._logs)
        return vm, said, serial

    def _show(self, said: bytes, serial: bytes) -> None:
        _write(_STDOUT, said)
        _write(_STDERR, serial)
        if self._interactive and said:
            self._tail = (self._tail + said)[-2 * _CHUNK :]
            self._prompted = self._prompted or PROMPT in self._tail
            self._send_input_end()

    def _typed(self) -> bool:
        """Send what was typed. False: there is no more to come."""
        try:
            data = os.read(_STDIN, _CHUNK)
        except OSError:
            data = b""
        if not data:
            self._input_over = True
            self._send_input_end()
            return False
        if self._terminal:
            if ESCAPE in data:
                self._asked += 2
                data = data.replace(ESCAPE, b"")
            if not self._interactive:
                self._asked += data.count(INTERRUPT)
                data = data.replace(INTERRUPT, b"")
        if data:
            self._send(data)
        return True

    def _send(self, data: bytes) -> None:
        try:
            if self._line is None:
                self._line = Line(self._vms, self.vm)
            self._line.send(data)
        except FloeError:
            if self._vms.find(self.vm.name).alive:  # else it reads nothing any more, and how it ended is told
                raise

    def _send_input_end(self) -> None:
        """A file or a pipe is over, and only the REPL is there to read: as `python -i`, the VM ends."""
        if self._interactive and self._prompted and self._input_over and not self._terminal:
            self._input_over = False
            self._send(INPUT_END)

    def _ask(self, *, last: bool) -> None:
        if last:
            self._end_at = time.monotonic()
            return
        self._vms.on(self.vm.name, lambda connection, dom, vm: vm.alive and dom.shutdown())
        self._end_at = time.monotonic() + _GRACE_S

    def _result(self, vm: There, timeout_s: float | None) -> int:
        if self._timed_out and vm.cause == "interrupt":
            raise errors.TimedOut(f"the guest did not end within {timeout_s:g} s", hint="a longer --timeout")
        if vm.code is None:
            raise errors.VmError(f"QEMU on {vm.host} failed", hint=f"there: /var/log/libvirt/qemu/{vm.name}.log")
        if vm.cause == "crash":
            self._say("the guest crashed: its machine was reset without its asking (a triple fault, or an INIT)")
        elif vm.code == EXIT_PANIC:
            self._say("the guest panicked")
        elif vm.code == EXIT_OUT_OF_MEMORY:
            self._say(f"the guest ran out of memory; it has {vm.mark.memory >> 20} MiB (--memory)")
        elif vm.cause == "interrupt" and not self._asked:
            self._say(f"{vm.name} was ended from outside")
            return EXIT_INTERRUPTED
        return vm.code


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except BrokenPipeError:
            raise BrokenPipeError from None  # without errno: click takes one with EPIPE for its own
        except OSError as e:
            raise FloeError(f"cannot write standard output: {e.strerror}") from e


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
