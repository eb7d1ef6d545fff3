# SPDX-License-Identifier: MIT
"""A VM whose console is this process's standard streams, from start to end: relay, signals, orderly stop.

stdout: the guest's bytes and nothing else. stderr: the guest's 16550 (early boot and panics), and what floe says.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from floe import errors
from floe.errors import EXIT_FLOE, EXIT_INTERRUPTED, EXIT_OUT_OF_MEMORY, EXIT_PANIC, EXIT_TIMED_OUT
from floe.stream.keys import ESCAPE, INPUT_END, INTERRUPT, PROMPT
from floe.stream.rawmode import RawMode
from floe.stream.stamps import SWITCH, BootTimes, StampFilter
from floe.stream.streams import Ended, Input, Output, RawTerminal, is_foreground_terminal
from floe.vm.outcome import Outcome
from floe.vm.vm import STOP_GRACE_S, Vm

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Session:
    """Runs one VM to its end. `say` takes floe's own lines for standard error, without the name in front."""

    def __init__(self, vm: Vm, *, interactive: bool, say: Callable[[str], None]) -> None:
        """interactive: Ctrl-C on the terminal is a key for the guest (a REPL), not a wish to stop."""
        _ensure_standard_streams()
        self.vm = vm
        self.vm.say = say
        self.stamps: StampFilter | None = None
        self.on_stamps: Callable[[BootTimes], None] = lambda times: None
        self.stop_wanted = False
        self._interactive = interactive
        self._say = say
        self._terminal = is_foreground_terminal(_STDIN)
        self._input: Input | None = None
        self._prompted = False  # the REPL has begun to read
        self._tail = b""  # of what the guest said: a prompt may come in pieces
        self._input_over = False
        self._outputs: list[Output] = []  # standard output, standard error
        self._raw: RawMode | None = None  # once the REPL was asked for the end: what is not its answer is shown
        self._draining = False  # the VM has ended
        self._cut = False  # its output was not waited for
        if SWITCH in vm.spec.switches:
            self.vm.preload()  # a line's time of arrival counts
            self.stamps = StampFilter()

    def run(self, timeout_s: float | None, *, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Boot, call `meanwhile` once the hypervisor runs, relay until the VM has ended and its output is read.

        Returns the script's exit code, or EXIT_INTERRUPTED where it was cut off. Raises errors.TimedOut, VmError, and
        FloeError when standard output cannot be written, BrokenPipeError when nobody reads it any more."""
        self.vm.on_launch = self._relay
        terminal: AbstractContextManager[object] = RawTerminal(_STDIN) if self._terminal else nullcontext()
        with terminal, self.vm:
            for number in _STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish, or a shell's for a background job
                    self.vm.loop.add_signal_handler(number, self.stop)
            try:
                meanwhile()
                if self.vm.pump(lambda: False, timeout_s) is Ended.TIMED_OUT:
                    self._end(Outcome(EXIT_TIMED_OUT, "timeout"))
                code = self.vm.wait()
            finally:
                if self._input is not None:
                    self._input.stop()
                if self._raw is not None and self._outputs:
                    self._outputs[0].put(self._raw.rest())
                self._drain()
            where = self._where()
        if (error := self._outputs[0].error) is not None:
            if isinstance(error, BrokenPipeError):
                raise BrokenPipeError  # without errno: click takes one with EPIPE for its own and exits with 1
            raise errors.FloeError(f"cannot write standard output: {error.strerror}")
        return self._report_outcome(code, timeout_s, where)

    def stop(self) -> None:
        """Ask the guest to end, as Ctrl-C does; a second call ends it. After its end: leave its output unread."""
        if self._draining or self.vm.gone:  # gone: its last output is still on its way here
            self._cut = True
            for output in self._outputs:
                output.discard()
            if self._draining:
                return
        if self.stop_wanted:
            self._force()
            return
        self.stop_wanted = True
        typed = self.vm.ask_to_end()
        if typed != INTERRUPT:
            self._raw = RawMode()
            self._raw.typed(typed, own=True)
        self.vm.loop.call_later(STOP_GRACE_S, self._force)

    def _force(self) -> None:
        self._end(Outcome(EXIT_INTERRUPTED, "interrupt"))

    def _end(self, why: Outcome) -> None:
        """End the VM; what it says of that is told in other words."""
        self.vm.serial.on_data = lambda data: None
        self.vm.end(why)

    def _relay(self) -> None:
        """Join our streams to the VM's, which are new ones after every start of the hypervisor."""
        vm = self.vm
        if not self._outputs:
            self._outputs = [Output(_STDOUT, vm.loop), Output(_STDERR, vm.loop)]
        out, err = self._outputs
        out.on_error = lambda: vm.end(Outcome(EXIT_FLOE, "unread"), speak=False)
        vm.console.on_data = self._on_console
        vm.serial.on_data = err.put
        if self._input is not None:
            self._input.stop()
        self._prompted = self._input_over = False
        self._input = self._open_input()

    def _drain(self) -> None:
        """Let the readers of our output take what they have not taken yet."""
        self._draining = True
        if self.stamps is not None:
            self._outputs[0].put(self.stamps.rest())
        for output in self._outputs:
            if self._cut:
                output.discard()
            self.vm.loop.run_until_complete(output.drain())

    def _open_input(self) -> Input | None:
        keys: dict[bytes, Callable[[], None]] = {}
        if self._terminal:
            keys = {ESCAPE: self._force} | ({} if self._interactive else {INTERRUPT: self.stop})
        elif _is_terminal(_STDIN):
            return None  # in the background: reading would stop us
        made = Input(_STDIN, self.vm.loop, self.vm.console, keys)
        if not self._terminal:
            made.on_end = self._input_ended
        return made

    def _on_console(self, data: bytes) -> None:
        """From the guest's console."""
        shown = self._filtered(data)
        self._outputs[0].put(shown if self._raw is None else self._raw.said(shown))
        if self._interactive:
            self._tail += data
            if PROMPT in self._tail:
                self._prompted = True
                self._send_input_end()
                self._tail = b""
            self._tail = self._tail[-len(PROMPT) :]

    def _input_ended(self) -> None:
        self._input_over = True
        self._send_input_end()

    def _send_input_end(self) -> None:
        """A file or a pipe is over, and only the REPL is there to read: as `python -i`, the VM ends."""
        if self._interactive and self._prompted and self._input_over:
            self.vm.console.send(INPUT_END)

    def _filtered(self, data: bytes) -> bytes:
        if self.stamps is None or self.stamps.times is not None:
            return data
        shown = self.stamps.feed(data, (time.monotonic() - self.vm.started_at) * 1000)
        if self.stamps.times is not None:
            self.on_stamps(self.stamps.times)
        return shown

    def _where(self) -> str:
        """Where the guest stood that was ended or that panicked: by its image, which a copy has until it is closed."""
        outcome = self.vm.outcome
        if outcome is None or (outcome.cause != "timeout" and outcome.code != EXIT_PANIC):
            return ""
        from floe.image import symbols

        told = symbols.stood if outcome.cause == "timeout" else symbols.place
        return told(self.vm.spec.elf, self.vm.panic_text) or ""

    def _report_outcome(self, code: int, timeout_s: float | None, where: str) -> int:
        outcome = self.vm.outcome
        assert outcome is not None
        for name, output in zip(("output", "error"), self._outputs, strict=True):
            if output.dropped:
                self._say(f"standard {name} was not read in time: {output.dropped} bytes of the guest's are lost")
        if outcome.cause == "timeout":
            raise errors.TimedOut(
                f"the guest did not end within {timeout_s:g} s", evidence=where, hint="a longer --timeout"
            )
        if outcome.cause == "crash":
            self._say("the guest crashed: its machine was reset without its asking (a triple fault, or an INIT)")
        elif outcome.code == EXIT_PANIC:
            self._say("the guest panicked" + (f" in {where}" if where else ""))
        elif outcome.code == EXIT_OUT_OF_MEMORY:
            self._say(f"the guest ran out of memory; it has {self.vm.spec.memory >> 20} MiB (--memory)")
        elif self._cut:
            return EXIT_INTERRUPTED
        return code


def _ensure_standard_streams() -> None:
    """A closed one would be replaced by the next file that is opened, which is a socket of the VM's."""
    for fd in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is fd


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
