# SPDX-License-Identifier: MIT
"""Every exception floe raises on purpose, and the exit code each ends the command with.

A message says the cause, `evidence` what was seen (whole lines, each with its own label), `hint` the next
step. Uses the standard library only: `upstream.py` runs before any third-party package is installed.
"""

from __future__ import annotations

import errno
import shlex
from pathlib import Path

from floe import refusals
from floe.shown import shown

EXIT_OK = 0
EXIT_SCRIPT_ERROR = 1
EXIT_PANIC = 120
EXIT_OUT_OF_MEMORY = 121
EXIT_TIMED_OUT = 124
EXIT_FLOE = 125
EXIT_REFUSED = 126
EXIT_NOT_FOUND = 127
EXIT_INTERRUPTED = 130


class FloeError(Exception):
    """floe's own failure: bad flag, bad file, build failed."""

    exit_code = EXIT_FLOE

    def __init__(self, message: str, *, evidence: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.evidence = evidence
        self.hint = hint

    def render(self) -> str:
        """The text for standard error: cause, evidence, next step; what a guest said in it is shown, not obeyed."""
        lines = [f"floe: {shown(self.message)}"]
        lines += [f"  {shown(line)}" for line in self.evidence.splitlines()]
        first, *rest = [shown(line) for line in self.hint.splitlines()] or [""]
        if first:
            lines.append(f"  try: {first}")
            lines += [f"       {line}" for line in rest]
        return "\n".join(lines)


class UsageError(FloeError):
    """A flag or argument that makes no sense."""


class ConfigError(FloeError):
    """image.toml or upstream.toml is wrong: `file[:line]: key: problem`."""

    def __init__(self, path: str, key: str, problem: str, *, line: int | None = None, hint: str = "") -> None:
        place = path if line is None else f"{path}:{line}"
        super().__init__(": ".join(part for part in (place, key, problem) if part), hint=hint)


class UpstreamError(FloeError):
    """An upstream source could not be fetched, verified or unpacked."""


class BuildError(FloeError):
    """The script could not be turned into an image."""


class DiskFull(FloeError):
    """There is no room for what floe writes."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the disk is full: {where}", hint=f"df -h {shlex.quote(where)} shows it; make room there")

    @classmethod
    def of(cls, error: OSError, where: Path) -> DiskFull | None:
        """What an error means, if it means that. where: the folder that was written to."""
        return cls(str(where)) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None


class ImageRefused(FloeError):
    """The ELF is not one that floe boots."""

    exit_code = EXIT_REFUSED


class VmError(FloeError):
    """The hypervisor failed or refused."""

    exit_code = EXIT_REFUSED


class GuestError(FloeError):
    """Code that was sent to a guest's REPL raised an exception there."""

    exit_code = EXIT_SCRIPT_ERROR

    def __init__(self, traceback: str, output: str) -> None:
        """`traceback`: the guest's own text; its last line is the message. `output`: what the code printed before."""
        lines = traceback.strip().splitlines() or ["the guest raised an exception without a text"]
        super().__init__(lines[-1], evidence=traceback.strip())
        self.traceback = traceback
        self.output = output


class HostError(FloeError):
    """A host is not reached, or its libvirt refused."""

    exit_code = EXIT_REFUSED

    def __init__(self, message: str, *, hint: str = "", code: int = 0) -> None:
        """code: libvirt's number of the error (virErrorNumber), 0 if it is none of its."""
        super().__init__(message, hint=hint)
        self.code = code


class VmExitedEarly(VmError):
    """QEMU ended by itself, not by its guest. Carries what a person would ask for next."""

    def __init__(self, problem: str, *, argv: list[str], tail: str) -> None:
        """`tail`: the last lines of what QEMU and the guest said."""
        if (explained := refusals.explain(problem, argv, tail)) is not None:
            super().__init__(explained[0], evidence=tail.rstrip(), hint=explained[1])
            return
        command = f"command: {shlex.join(argv)}"
        super().__init__(
            problem, evidence=f"{tail.rstrip()}\n{command}" if tail.strip() else command, hint="floe doctor"
        )


class NotFound(FloeError):
    """A tool, VM or file does not exist."""

    exit_code = EXIT_NOT_FOUND


class TimedOut(FloeError):
    """What was waited for did not come within --timeout."""

    exit_code = EXIT_TIMED_OUT


class Interrupted(FloeError):
    """Ctrl-C."""

    exit_code = EXIT_INTERRUPTED
