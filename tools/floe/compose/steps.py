# SPDX-License-Identifier: MIT
"""What `up` does about each VM of a stack, and why: found out, not done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from floe.compose import instances as wanted
from floe.compose import networks
from floe.compose import stack as stacks
from floe.compose.instances import Instance
from floe.compose.stack import Say
from floe.compose.stackfile import StackFile, Vm
from floe.detached import control
from floe.store.stackfolder import Placed, Stack

Action = Literal["start", "replace", "update", "keep", "remove"]


@dataclass(frozen=True)
class Step:
    """What `up` does about one VM, and why. "replace": it ends before another one starts; "update": others serve in its
    place meanwhile. spare: one more, for the time of an update."""

    action: Action
    name: str  # as `floe ps` has it
    label: str
    reason: str = ""
    instance: Instance | None = None  # None: it is removed
    spare: bool = False


def plan(file: StackFile, stack: Stack, profiles: Sequence[str], say: Say, *, cut: bool = False) -> list[Step]:
    """Every step of `up`, in the file's order; what is removed comes first. Builds what must be built, and decides on
    addresses. cut: VMs that run have lost their networks, and serve nobody. Raises FloeError with the key that it is
    about."""
    chosen = file.chosen(profiles)
    networks.settle(file, stack, wanted.names(stack.name, chosen).items())
    steps = [_step(found, stack.vms.get(found.name)) for found in wanted.instances(file, stack, chosen, say)]
    updated = {_vm(step) for step in steps if step.action == "update"}
    if cut or networks.is_cut(stack):
        steps = [replace(step, action="replace") if step.action == "update" else step for step in steps]
    elif updated:
        steps = _with_spares(file, stack, chosen, steps, updated)
    kept = {step.name for step in steps if step.action == "keep" or not step.spare}
    gone = []
    for name, placed in stack.vms.items():
        if name not in kept and (placed.vm in chosen or placed.vm not in file.vms):  # else its profile was not named
            reason = "fewer replicas" if placed.vm in chosen else "not in the file"
            gone.append(Step("remove", name, stacks.label(stack.name, name), reason))
    return gone + steps


def _vm(step: Step) -> str:
    assert step.instance is not None
    return step.instance.key.removeprefix("vm.")


def _step(instance: Instance, placed: Placed | None) -> Step:
    def step(action: Action, reason: str = "") -> Step:
        return Step(action, instance.name, instance.label, reason, instance)

    folder = stacks.found(instance.name)
    if placed is None or folder is None:
        return step("start", "it is gone" if placed is not None else "")
    changed = wanted.differing(placed.aspects, instance.aspects)
    if changed and not instance.vm.rolls:
        return step("replace", f"{', '.join(changed)} changed")
    status = control.status(folder)
    if changed:
        return step("update" if status.end is None else "replace", f"{', '.join(changed)} changed")
    if status.end is None:
        return step("keep")
    if instance.vm.ready.exit is not None and status.end.code == instance.vm.ready.exit:
        return step("keep", "done")
    return step("replace", stacks.how_ended(status))


def _with_spares(
    file: StackFile, stack: Stack, chosen: dict[str, Vm], steps: list[Step], updated: set[str]
) -> list[Step]:
    """One VM more of each table that is updated, before those that it serves for. One that an `up` before has left is
    taken, if it is as it would be now."""
    more = {name: msgspec.structs.replace(chosen[name], replicas=(chosen[name].replicas or 0) + 1) for name in updated}
    networks.settle(file, stack, wanted.names(stack.name, {**chosen, **more}).items())
    spares = {}
    for name, vm in more.items():
        instance = wanted.instances(file, stack, {name: vm}, lambda text: None)[-1]
        found = _step(instance, stack.vms.get(instance.name))
        action: Action = "keep" if found.action == "keep" else "start"
        spares[name] = Step(action, instance.name, instance.label, "for the time of the update", instance, spare=True)
    ordered = []
    for step in steps:
        if (spare := spares.pop(_vm(step), None)) is not None:
            ordered.append(spare)
        ordered.append(step)
    return ordered
