# SPDX-License-Identifier: MIT
"""What a VM's process does before it becomes the hypervisor: it ties its life to ours, confines itself, and is guarded.
A process that cannot do one of these goes no further."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from floe.confined import confining
from floe.landlock import Confinement

if TYPE_CHECKING:
    from floe.egress.guard import Guard

_PR_SET_PDEATHSIG, _PR_SET_THP_DISABLE = 1, 41  # linux/prctl.h


class Beginning:
    """Of all processes that run one VM in turn. tell: takes a line for each target that a guest was refused, from any
    thread."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._guard: Guard | None = None

    @contextmanager
    def under(self, limits: Confinement | None, *, small_pages: bool) -> Iterator[Callable[[], None]]:
        """A function for the new process to call, until the end of the context: the kernel kills it when the thread
        that made it ends, and it has these limits, or does not go on. small_pages: its memory has no huge ones. Raises
        OSError."""
        prctl = ctypes.CDLL(None).prctl
        parent = os.getpid()
        confine = confining(limits.ruleset, limits.kept) if limits is not None else _nothing
        with self._entrance(limits) as enter:

            def begin() -> None:
                prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
                if os.getppid() != parent:  # it ended before prctl took effect
                    os._exit(1)
                if small_pages:
                    prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
                try:
                    confine()
                    enter()
                except OSError as e:
                    os.write(2, f"QEMU cannot be confined: {e.strerror}\n".encode())
                    os._exit(1)

            yield begin

    def _entrance(self, limits: Confinement | None) -> AbstractContextManager[Callable[[], None]]:
        """To what the guard guards; to nothing where the guest may reach all."""
        if limits is None or not limits.egress:
            return nullcontext(_nothing)
        if self._guard is None:
            from floe.egress.guard import Guard

            self._guard = Guard(limits.egress, self._tell)
        return self._guard.entrance()


def _nothing() -> None:
    pass
