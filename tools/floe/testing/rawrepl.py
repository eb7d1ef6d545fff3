# SPDX-License-Identifier: MIT
"""Code run on the REPL of a VM that this process owns, by MicroPython's raw REPL.

An exchange: Ctrl-A, the banner, the code, Ctrl-D; the guest answers OK, the output, 04, the traceback, 04 and `>`;
Ctrl-B brings the friendly REPL back. Nothing else of the guest's state is touched: no Ctrl-C, no soft reset. The
exchange stays out of the console's text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from floe.errors import TimedOut as TimedOutError
from floe.errors import UsageError, VmError
from floe.stream import keys
from floe.stream.streams import Closed, Ended, Stream, TimedOut
from floe.vm.vm import Vm

_INTERRUPT_GRACE_S = 2.0  # for code over its deadline to end by Ctrl-C
_TAIL_LINES = 10
_CONTROLS = re.compile("[\x01-\x05]")  # mean something to the raw REPL


def execute(vm: Vm, code: str, *, deadline_s: float) -> tuple[str, str]:
    """Run code in the guest's __main__ and return what it printed and its traceback, "" if it raised nothing.

    Line ends are `\\n`. Raises errors.TimedOut when no REPL answers or the code does not end (it is then
    interrupted), VmError when the VM ends meanwhile, UsageError when the code holds a control character."""
    if found := _CONTROLS.search(code):
        raise UsageError(
            f"the code holds the control character {found[0]!r}, which the REPL would take for itself",
            hint=rf"write it as \x{ord(found[0]):02x} in the source",
        )
    exchange = _Exchange(vm, deadline_s)
    exchange.enter()
    try:
        return exchange.run(code)
    finally:
        exchange.leave()


class _Exchange:
    def __init__(self, vm: Vm, deadline_s: float) -> None:
        self._vm = vm
        self._stream: Stream = vm.console  # a reset of the guest gives the VM another one
        self._seconds = deadline_s
        self._deadline = time.monotonic() + deadline_s

    def enter(self) -> None:
        """Bring the guest into raw mode."""
        self._vm.send(keys.ENTER_RAW)
        ended = self._wait(lambda: self._stream.divert(keys.RAW_BANNER + keys.RAW_PROMPT))
        if ended is TimedOut:
            raise TimedOutError(
                f"no REPL answered within {self._seconds:g} s",
                evidence=self._tail(),
                hint="the script has the console until it ends or runs asyncio; vm.interrupt() sends it a Ctrl-C",
            )
        self._check(ended, "a REPL was waited for")

    def run(self, code: str) -> tuple[str, str]:
        """The guest's answer to code in raw mode."""
        self._vm.send(code.encode() + b"\n" + keys.END)  # Ctrl-D alone would be a soft reset
        self._check(self._wait(lambda: self._take(b"OK") is not None), "the REPL was given code")
        answer: list[bytes] = []
        ended = self._wait(lambda: self._answered(answer))
        if ended is TimedOut:
            self._vm.send(keys.INTERRUPT)
            self._deadline = time.monotonic() + _INTERRUPT_GRACE_S
            self._wait(lambda: self._answered(answer))
            raise TimedOutError(
                f"the code did not end within {self._seconds:g} s",
                evidence="\n".join(filter(None, (_text(part).strip() for part in answer))),
                hint="a longer deadline_s",
            )
        self._check(ended, "code was running")
        return _text(answer[0]), _text(answer[1])

    def leave(self) -> None:
        """Bring the friendly REPL back; what the guest says from here on is console text again."""
        self._vm.send(keys.FRIENDLY)
        self._stream.undivert()

    def _wait(self, until: Callable[[], bool]) -> Ended:
        left = max(0.0, self._deadline - time.monotonic())
        return self._vm.pump(lambda: self._vm.console is not self._stream or until(), left)

    def _check(self, ended: Ended, meanwhile: str) -> None:
        if ended is TimedOut:
            raise TimedOutError(f"the REPL fell silent within {self._seconds:g} s", evidence=self._tail())
        if ended is Closed or self._vm.console is not self._stream:
            how = f"ended with exit code {self._vm.outcome.code}" if self._vm.outcome else "was started again"
            raise VmError(f"the VM {how} while {meanwhile}", evidence=self._tail())

    def _answered(self, answer: list[bytes]) -> bool:
        """Take output, traceback and prompt out of what came, as far as they are there."""
        for mark in (keys.END, keys.END, keys.RAW_PROMPT)[len(answer) :]:
            part = self._take(mark)
            if part is None:
                return False
            answer.append(part)
        return True

    def _take(self, mark: bytes) -> bytes | None:
        """What came before `mark`, both taken away; None while there is no mark."""
        held = self._stream.diverted
        if held is None or mark not in held:
            return None
        before, _, rest = bytes(held).partition(mark)
        held[:] = rest
        return before

    def _tail(self) -> str:
        return "\n".join(f"guest: {line}" for line in self._vm.console_text.splitlines()[-_TAIL_LINES:])


def _text(data: bytes) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n")
