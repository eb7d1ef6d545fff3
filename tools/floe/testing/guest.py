# SPDX-License-Identifier: MIT
"""A VM under test: one deadline for all its waits, and code run on its REPL."""

from __future__ import annotations

import ast
import asyncio
import re
import time
from pathlib import Path
from typing import Any

from floe.errors import GuestError, UsageError
from floe.image import elf
from floe.shown import shown
from floe.spec.vmspec import VmSpec, capture_files
from floe.stream.keys import INTERRUPT
from floe.testing import rawrepl
from floe.vm.vm import Vm

_SHOWN_LINES = 200  # of what a guest said, the last
_SHOWN_CODE = 300  # characters
# What the friendly REPL says each time that exec() gives it back.
_GREETINGS = re.compile(r'(\s*MicroPython v[^\n]*\n[^\n]*"help\(\)"[^\n]*\n(>>> \s*)+)+')


class Guest(Vm):
    """A VM that `boot` started; all of it is documented in docs/testing.md.

    What waits past the deadline of the test ends as TIMEOUT, or with exit code 124. Beside what is here, of Vm:
    ports, console_text, outcome, pid, send(), stop(), kill()."""

    def __init__(self, spec: VmSpec, loop: asyncio.AbstractEventLoop, deadline_s: float) -> None:
        super().__init__(spec, loop=loop)
        self._deadline = time.monotonic() + deadline_s
        self._executed: list[str] = []  # for the report of a failure

    def left_s(self) -> float:
        """Seconds to the deadline, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def expect(self, pattern: Any, timeout: float | None = None) -> int:
        """Wait for a pattern on the console, as pexpect's expect(); the test's deadline is the default of timeout.

        A pattern is a regular expression, EOF (the VM has ended), TIMEOUT, or a list of them, of which the index is
        returned. Raises EOF and TIMEOUT where they are not in it."""
        __tracebackhide__ = True
        return super().expect(pattern, self.left_s() if timeout is None else timeout)

    def expect_exact(self, text: Any, timeout: float | None = None) -> int:
        """As expect(), for text as it stands."""
        __tracebackhide__ = True
        return super().expect_exact(text, self.left_s() if timeout is None else timeout)

    @property
    def before(self) -> str:
        """What came before the last match; at EOF and TIMEOUT all that was not matched."""
        return str(self.expecter.before)

    @property
    def after(self) -> object:
        """The text that matched last, EOF or TIMEOUT."""
        return self.expecter.after

    @property
    def match(self) -> Any:
        """The match object of the last expect(), the text of the last expect_exact(), EOF or TIMEOUT."""
        return self.expecter.match

    def wait(self, *, deadline_s: float | None = None) -> int:
        """Wait for the VM's end and return its exit code, as `floe run` has it; the test's deadline is the default.

        A VM that has not ended by then is ended: 124. Raises VmExitedEarly when QEMU failed."""
        return super().wait(deadline_s=self.left_s() if deadline_s is None else deadline_s)

    def interrupt(self) -> None:
        """Send Ctrl-C: a script that runs gets KeyboardInterrupt."""
        self.send(INTERRUPT)

    def exec(self, code: str, *, deadline_s: float | None = None) -> str:
        """Run code on the REPL of a dev image and return what it printed, line ends as `\\n`.

        It runs in `__main__`, beside a script that runs asyncio or after one that has ended; names stay from call to
        call. Raises GuestError with the guest's traceback, errors.TimedOut when no REPL answers or the code does not
        end, VmError when the VM ends meanwhile, UsageError for a sealed image, which has no REPL."""
        __tracebackhide__ = True
        content = elf.read(self.spec.elf).content
        if content["profile"] != "dev":
            raise UsageError(f"{content['name']} is a sealed image: it has no REPL", hint="boot(APP, dev=True)")
        seconds = self.left_s() if deadline_s is None else deadline_s
        self._executed.append(f">>> {code[:_SHOWN_CODE].strip()}")
        output, traceback = rawrepl.execute(self, code, deadline_s=seconds)
        self._executed += [text.rstrip() for text in (output, traceback) if text]
        if traceback:
            raise GuestError(traceback, output)
        return output

    def eval(self, expression: str, *, deadline_s: float | None = None) -> object:
        """Value of an expression in the guest, for what has a literal: numbers, str, bytes, None, lists, dicts...

        Raises what exec() does, UsageError for a value that has no literal."""
        __tracebackhide__ = True
        text = self.exec(f"print(repr((\n{expression}\n)))", deadline_s=deadline_s).strip()
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            raise UsageError(f"the value of {expression} has no literal: {text}", hint="exec() and its text") from None

    @property
    def captures(self) -> list[Path]:
        """Files of the packets of each card, when they are captured; complete up to now while the VM runs."""
        return capture_files(self.spec)

    def report(self) -> str:
        """How the VM is or ended, what it and QEMU said, and what exec() ran: for a person who reads of a failure."""
        lines = [
            f"{self.spec.elf} ({self.spec.accel}, {self.spec.machine}, {self.spec.memory >> 20} MiB): {self._how()}"
        ]
        for title, text in (
            ("console", _GREETINGS.sub("\n", self.console_text)),
            ("exec", "\n".join(self._executed)),
            (self._hypervisor.label, self.messages.text),
        ):
            said = text.rstrip().splitlines()
            if said:
                left_out = len(said) - _SHOWN_LINES
                lines.append(f"-- {title}" + (f" (the last {_SHOWN_LINES} lines)" if left_out > 0 else ""))
                lines += map(shown, said[-_SHOWN_LINES:])
        lines += [f"-- packets: {path}" for path in self.captures]
        return "\n".join(lines)

    def _how(self) -> str:
        if self._failure is not None:
            return self._failure.message
        return f"{self.outcome.cause}, exit code {self.outcome.code}" if self.outcome else "running"
