# SPDX-License-Identifier: MIT
"""A VM that is booted for its state at vm.ready() alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from floe.errors import FloeError, UsageError, VmError
from floe.family.capture import Captured
from floe.spec import handover
from floe.spec.vmspec import VmSpec
from floe.vm.vm import Vm

READY_S = 60.0  # from its start to vm.ready()


class _Template(Vm):
    """The VM that is copied; it gets the secrets and variables that its copies will get."""

    def __init__(self, spec: VmSpec, loop: asyncio.AbstractEventLoop, blobs: Sequence[handover.Blob]) -> None:
        super().__init__(spec, loop=loop)
        self._for_all = tuple(blobs)

    def _handed_over(self) -> tuple[handover.Blob, ...]:
        return self._for_all


def check_copied(spec: VmSpec) -> None:
    """Raises UsageError for an image that cannot be copied."""
    if spec.children is None:
        raise UsageError(
            f"{spec.name} does not fork, and cannot be copied: nothing in it imports vm",
            hint="fork = true in its image.toml",
        )


async def captured_when_ready(
    spec: VmSpec, blobs: Sequence[handover.Blob], *, say: Callable[[str], None], deadline_s: float = READY_S
) -> Captured:
    """Boot it and return its state at vm.ready(), which the caller closes; the VM has ended by then. deadline_s:
    seconds from its start. say: called with lines for the user. Raises FloeError."""
    template = _Template(replace(spec, forwards=()), asyncio.get_running_loop(), blobs)
    template.say = say
    template.start()
    assert template.family is not None
    template.family.is_template = True
    ended = asyncio.ensure_future(template.ended())
    capture = asyncio.ensure_future(template.family.capture(deadline_s=deadline_s))
    try:
        await asyncio.wait([ended, capture], return_when=asyncio.FIRST_COMPLETED)
        if not capture.done():
            how = f"ended with {template.outcome.code}" if template.outcome else "failed"
            raise VmError(
                f"{spec.name} {how} before vm.ready()",
                evidence=_tail(template),
                hint="vm.ready() in the script",
            )
        try:
            return await capture
        except FloeError as e:
            e.evidence, e.hint = e.evidence or _tail(template), e.hint or "vm.ready() in the script"
            raise
        except OSError as e:
            raise VmError(f"{spec.name} cannot be copied: {e.strerror or e}", hint="df, ulimit -n") from e
    finally:
        capture.cancel()
        with contextlib.suppress(FloeError, OSError, asyncio.CancelledError):
            await capture
        await end(template, ended)


async def end(vm: Vm, ended: asyncio.Future[None] | None = None) -> None:
    """End a VM and let go of all of it."""
    vm.end_at_once()
    await (ended if ended is not None else vm.ended())
    vm.close()


def _tail(vm: Vm) -> str:
    return "\n".join(vm.console_text.splitlines()[-10:])
