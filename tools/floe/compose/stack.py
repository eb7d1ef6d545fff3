# SPDX-License-Identifier: MIT
"""A stack that is up: what there is of it, and its way back to nothing. up.py is the way there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from floe.compose import networks, ready
from floe.compose.workers import Workers
from floe.detached import control, launch
from floe.detached.control import Status
from floe.errors import FloeError, NotFound
from floe.store import vmfolder
from floe.store.stackfolder import Placed, Stack, StackFolder
from floe.store.vmfolder import Folder

Say = Callable[[str], None]
_END_S = 5.0
WORKERS = 8  # VMs that are started or ended at once


def how_ended(status: Status) -> str:
    """In words; "" for a VM that runs."""
    end = status.end
    if end is None:
        return ""
    return f"ended ({end.code}, {end.cause})" if end.code is not None else f"crashed ({end.problem})"


def is_ready(placed: Placed, status: Status) -> bool:
    """Whether it has become so and is so still: it runs, or has ended as it should."""
    if status.end is not None:
        return placed.ready and placed.exit is not None and status.end.code == placed.exit
    return placed.ready and status.state == "running"


def label(stack: str, name: str) -> str:
    """The name of a VM without its stack's."""
    return name.removeprefix(f"{stack}.")


def found(name: str) -> Folder | None:
    """A VM's folder, if there is one."""
    try:
        return vmfolder.find(name)
    except NotFound:
        return None


def end_vm(name: str, grace_s: float) -> Status | None:
    """End a VM and forget it: how it ended. None where none ran."""
    folder = found(name)
    if folder is None:
        return None
    ran, status = not ready.has_ended(folder), None
    own = [process for process in (folder.keeper, folder.parent) if process is not None]
    try:
        status = control.stop(folder, grace_s)
    except FloeError:
        launch.kill(folder)
    for process in own:  # it has told how the VM ended, and is about to end itself
        process.wait_gone(_END_S)
    folder.remove()
    return status if ran else None


def down(folder: StackFolder, stack: Stack, grace_s: float, say: Say) -> None:
    """End and forget all VMs, each before those that it comes after, and the stack with them. KeyboardInterrupt
    meanwhile ends them at once."""
    left = dict(stack.vms)
    with Workers(WORKERS) as pool:
        while left:
            needed = {other for placed in left.values() for other in placed.after}
            now = [name for name, placed in left.items() if placed.vm not in needed] or list(left)
            ending = {name: pool.submit(end_vm, name, grace_s) for name in now}
            for name, future in ending.items():
                try:
                    status = future.result()
                except KeyboardInterrupt:
                    grace_s = 0
                    for other in left:
                        _hurry(other)
                    status = future.result()
                del left[name]
                if status is not None:
                    say(f"{label(stack.name, name)} {how_ended(status)}")
    clear(folder)


def clear(folder: StackFolder) -> None:
    """Forget a stack that has no VM. Half of one would be found by nobody: KeyboardInterrupt does not end it."""

    def step() -> None:
        stack = folder.read()
        if stack is not None:
            networks.stop(stack)
        folder.remove()

    surely(step)


def surely(step: Callable[[], None]) -> None:
    """Take a step that leaves nothing behind; once more if KeyboardInterrupt came in between."""
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            step()
            return


def clear_empty(folder: StackFolder) -> None:
    """Forget a stack that has no VM, if nobody is about to start one."""
    with contextlib.suppress(FloeError), folder.locked(wait_s=0):
        stack = folder.read()
        if stack is not None and not stack.vms:
            clear(folder)


def _hurry(name: str) -> None:
    """End a VM at once that was asked for its end."""
    folder = found(name)
    if folder is not None and folder.keeper is not None:
        control.ask(folder, {"do": "stop", "timeout": 0})


def read(folder: StackFolder | None, file: str) -> Stack:
    """What there is of a stack. Raises NotFound."""
    stack = folder.read() if folder is not None else None
    if stack is None:
        raise NotFound(f"no stack of {file} is up", hint=f"floe compose up {file}")
    return stack
