# SPDX-License-Identifier: MIT
"""How a VM ended: from its hypervisor's events and exit status, and from what its owner asked of it.

The owner (vm.py, or the keeper of a detached VM) serves sockets and processes; what they mean is decided here.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from floe.errors import EXIT_OK, EXIT_OUT_OF_MEMORY, EXIT_PANIC, VmError
from floe.hypervisor import base

_MESSAGES = 20  # lines of the hypervisor's, the first: the cause comes before the register dump
_GUEST_LINES = 10  # of the guest's, the last

# The guest writes its code + 1 to isa-debug-exit, and QEMU then ends with (value << 1) | 1.
# machine.reset() and the end of a deep sleep: the guest asks to be started again, and is told what it was.
# The keys are QEMU's statuses for the guest's codes 122 and 123.
RESETS = {(122 + 1) << 1 | 1: "floe.reset=hard", (123 + 1) << 1 | 1: "floe.reset=deepsleep"}


@dataclass(frozen=True)
class Outcome:
    """How a VM ended: floe's exit code, and one word: exit, panic, memory, poweroff, crash, timeout, interrupt."""

    code: int
    cause: str


@dataclass(frozen=True)
class Failure:
    """It was not the guest that ended. cause: failed (the hypervisor did), or unknown. error: its own account."""

    problem: str
    cause: str = "failed"
    error: VmError | None = None


class Ending:
    """The end of one VM, as it comes about."""

    def __init__(self, label: str, *, watched: bool = True) -> None:
        """label: the hypervisor's name, for messages. watched: no event of its life can have been missed."""
        self.asked: Outcome | None = None  # the owner's wish
        self.refusal: VmError | None = None  # the hypervisor's own account of its failure
        self._label = label
        self._watched = watched
        self._reason = ""  # of the last SHUTDOWN event
        self._stopped = False
        self._made_to_panic = False

    @property
    def begun(self) -> bool:
        """The VM is being ended from out here."""
        return self._stopped or self.asked is not None

    def on_event(self, name: str, data: Mapping[str, Any]) -> bool:
        """Take an event of the hypervisor's. True: it must be killed, or it would wait for ever."""
        if name == "SHUTDOWN":
            self._reason = str(data.get("reason", ""))
        elif name == "FAILED":
            self.refusal = base.refusal(data)
        elif name == "STOP" and not self.begun:
            # We never send `stop`: KVM met something that it cannot run, and QEMU pauses the VM.
            self._stopped = True
            return True
        return False

    def ask(self, outcome: Outcome, *, made_to_panic: bool) -> None:
        """The VM is ended with this outcome, unless the guest is faster. made_to_panic: a panic is our doing."""
        if not self.begun:
            self.asked = outcome
            self._made_to_panic = made_to_panic

    def restarted(self) -> None:
        """What was told of the end so far was that of an earlier start."""
        self._reason = ""

    def reset(self, status: int) -> str | None:
        """What to tell the guest at its next start, when this exit status asks for one."""
        return None if self.begun else RESETS.get(status)

    def result(self, status: int | None) -> Outcome | Failure:
        """How the VM ended. status: the hypervisor's exit status, as of subprocess; None where nobody knows it."""
        outcome = self._of_guest(status)
        if outcome is not None:
            return outcome
        if self.asked is not None:
            return self.asked
        if self._stopped:
            return Failure(f"{self._label} could not go on running the guest")
        if self.refusal is not None:
            return Failure(self.refusal.message, error=self.refusal)
        if status is None or (status == 0 and not self._watched):
            return Failure("an end that nobody watched", "unknown")
        if status == 0:
            return Failure(f"{self._label} was ended by a signal from outside")
        if status < 0:
            return Failure(f"{self._label} was killed by {signal.Signals(-status).name}")
        return Failure(f"{self._label} failed with status {status}")

    def _of_guest(self, status: int | None) -> Outcome | None:
        """The outcome, where it was the guest that ended, by itself."""
        if status is None or (self.begun and (status == 0 or status in RESETS)):
            return None
        if not self._reason and not self._watched and status == 0:
            return None
        outcome = judge(status, self._reason)
        return None if outcome is not None and outcome.cause == "panic" and self._made_to_panic else outcome


def judge(status: int, reason: str) -> Outcome | None:
    """How the guest ended, from QEMU's exit status and the reason in its SHUTDOWN event; None when QEMU failed."""
    if status >= 3 and status % 2:
        code = (status >> 1) - 1
        return Outcome(code, {EXIT_PANIC: "panic", EXIT_OUT_OF_MEMORY: "memory"}.get(code, "exit"))
    if status != 0 or reason == "host-signal":
        return None
    if reason == "guest-shutdown":
        return Outcome(EXIT_OK, "poweroff")
    return Outcome(EXIT_PANIC, "crash")  # a reset that no one asked for is a triple fault


def evidence(label: str, messages: Sequence[str], guest: Sequence[str]) -> str:
    """The first of the hypervisor's messages and the last lines of the guest's, each with its label."""
    return "\n".join(
        [f"{label}: {line}" for line in messages[:_MESSAGES]] + [f"guest: {line}" for line in guest[-_GUEST_LINES:]]
    )
