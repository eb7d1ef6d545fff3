# SPDX-License-Identifier: MIT
"""A stack that is up, or comes up, or goes down: from what there is to what its file asks for, and back to nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from floe.compose import instances as wanted
from floe.compose import networks, ready
from floe.compose.instances import Instance
from floe.compose.stackfile import StackFile
from floe.detached import control, launch
from floe.detached.control import Status
from floe.errors import FloeError, Interrupted, NotFound
from floe.spec.vmspec import VmSpec
from floe.store import vmfolder
from floe.store.stackfolder import Placed, Stack, StackFolder
from floe.store.vmfolder import Folder
from floe.vm.vm import STOP_GRACE_S

Say = Callable[[str], None]
_WORKERS = 8


@dataclass(frozen=True)
class Step:
    """What `up` does about one VM, and why."""

    action: Literal["start", "replace", "keep", "remove"]
    name: str  # as `floe ps` has it
    label: str
    reason: str = ""
    instance: Instance | None = None  # None: it is removed


def plan(file: StackFile, stack: Stack, profiles: Sequence[str], say: Say) -> list[Step]:
    """Every step of `up`, in the file's order; what is removed comes first. Builds what must be built, and decides on
    addresses. Raises FloeError with the key that it is about."""
    chosen = file.chosen(profiles)
    networks.settle(file, stack, wanted.names(stack.name, chosen).items())
    steps = [_step(found, stack.vms.get(found.name)) for found in wanted.instances(file, stack, chosen, say)]
    kept = {step.name for step in steps}
    gone = []
    for name, placed in stack.vms.items():
        if name not in kept and (placed.vm in chosen or placed.vm not in file.vms):  # else its profile was not named
            reason = "fewer replicas" if placed.vm in chosen else "not in the file"
            gone.append(Step("remove", name, label(stack.name, name), reason))
    return gone + steps


def _step(instance: Instance, placed: Placed | None) -> Step:
    def step(action: Literal["start", "replace", "keep"], reason: str = "") -> Step:
        return Step(action, instance.name, instance.label, reason, instance)

    folder = _folder(instance.name)
    if placed is None or folder is None:
        return step("start", "it is gone" if placed is not None else "")
    if changed := wanted.differing(placed.aspects, instance.aspects):
        return step("replace", f"{', '.join(changed)} changed")
    status = control.status(folder)
    if status.end is None:
        return step("keep")
    if instance.vm.ready.exit is not None and status.end.code == instance.vm.ready.exit:
        return step("keep", "done")
    return step("replace", how_ended(status))


def how_ended(status: Status) -> str:
    """In words; "" for a VM that runs."""
    end = status.end
    if end is None:
        return ""
    return f"ended ({end.code}, {end.cause})" if end.code is not None else f"crashed ({end.problem})"


def label(stack: str, name: str) -> str:
    """The name of a VM without its stack's."""
    return name.removeprefix(f"{stack}.")


def _folder(name: str) -> Folder | None:
    try:
        return vmfolder.find(name)
    except NotFound:
        return None


class Up:
    """Carries out the steps. Each VM starts as soon as those that it comes after are ready; the others go on
    meanwhile."""

    def __init__(self, file: StackFile, folder: StackFolder, say: Say) -> None:
        self.file = file
        self.folder = folder
        self.called_off = threading.Event()
        self.started: list[str] = []  # names of VMs
        self._stack = Stack(name=folder.name, file=str(file.file))
        self._say = say
        self._lock = threading.Lock()  # on the record, and on the choice of free ports
        self._ports: set[tuple[str, int]] = set()

    def start(self, profiles: Sequence[str] = ()) -> list[Step]:
        """Returns when every VM that has to is ready. Raises the first FloeError; what runs by then goes on."""
        with self.folder.locked():
            stack = self._stack = read(self.folder, str(self.file.file))
            # What cannot be built or makes no sense is told before anything is touched.
            steps = plan(self.file, stack, profiles, self._say)
            if networks.provide(self.folder, self.file, stack):
                steps = plan(self.file, stack, profiles, self._say)
            self._run(steps)
        return steps

    def _run(self, steps: list[Step]) -> None:
        for step in steps:
            if step.action == "remove":
                self._remove(step.name)
                self._say(f"{step.label} is removed: {step.reason}")
        by_vm: dict[str, list[Step]] = {name: [] for name in self.file.vms}
        for step in steps:
            if step.instance is not None:
                by_vm[step.instance.key.removeprefix("vm.")].append(step)
        with ThreadPoolExecutor(_WORKERS) as starting, ThreadPoolExecutor(max(1, len(by_vm))) as waiting:
            done: dict[str, Future[None]] = {}
            for name in _in_order(self.file):
                before = [done[other] for other in self.file.vms[name].after]
                done[name] = waiting.submit(self._start_all, by_vm[name], before, starting)
            self._finish(list(done.values()))

    def _finish(self, futures: list[Future[None]]) -> None:
        errors: list[BaseException] = []
        for future in futures:
            try:
                future.result()
            except FloeError as e:
                self.called_off.set()
                errors.append(e)
            except BaseException:
                self.called_off.set()
                raise
        if errors:
            raise next((e for e in errors if not isinstance(e, Interrupted)), errors[0])

    def _start_all(self, steps: list[Step], before: list[Future[None]], pool: ThreadPoolExecutor) -> None:
        for other in before:
            if other.exception() is not None:
                raise Interrupted("what it comes after did not start")
        try:
            for step, started in [(step, pool.submit(self._start, step)) for step in steps]:
                started.result()
                if step.action != "keep":
                    self._say(f"{step.label} is started" + (f": {step.reason}" if step.reason else ""))
            for step in steps:
                self._wait_ready(step)
        except BaseException:
            self.called_off.set()
            raise

    def _start(self, step: Step) -> None:
        instance = step.instance
        assert instance is not None
        if self.called_off.is_set():
            raise Interrupted(f"{step.label} was not started")
        if step.action == "keep":
            return
        if step.action == "replace":
            self._remove(step.name)
        self._place(instance, is_ready=False)
        try:
            with wanted.told(self.file.file, instance.key):
                spec, restart = self._spec(instance), instance.vm.restart
                self.started.append(instance.name)
                launch.launch(spec, app=str(instance.app), name=instance.name, restart=restart)
        except FloeError:
            self._forget(instance.name)
            raise

    def _spec(self, instance: Instance) -> VmSpec:
        """With ports that no other VM of this start is about to take."""
        with self._lock:
            while True:
                spec = instance.spec()
                ports = {(f.protocol, port) for f in spec.forwards for port in (f.host_port, f.through) if port}
                if not ports & self._ports:
                    self._ports |= ports
                    return spec
                if not any(text.startswith("0:") or ":0:" in text for text in instance.options.forwards):
                    return spec  # another VM of the file asks for it: its start tells

    def _wait_ready(self, step: Step) -> None:
        instance = step.instance
        assert instance is not None
        if step.action == "keep" and self._stack.vms[step.name].ready:
            return

        def answers() -> bool:
            return networks.answers(self.file, self._stack, instance.name, instance.vm)

        ready.wait(step.name, step.label, instance.vm.ready, answers, self.called_off)
        self._place(instance, is_ready=True)

    def _place(self, instance: Instance, *, is_ready: bool) -> None:
        """Write down that there is this VM, before there is."""
        with self._lock:
            name = instance.key.removeprefix("vm.")
            self._stack.vms[instance.name] = Placed(
                vm=name, after=instance.vm.after, aspects=instance.aspects, ready=is_ready
            )
            self.folder.write(self._stack)

    def undo(self) -> None:
        """End what was started; what had to make room for it does not come back."""
        for name in reversed(self.started):
            self._remove(name)

    def _remove(self, name: str) -> None:
        end_vm(name, STOP_GRACE_S)
        self._forget(name)

    def _forget(self, name: str) -> None:
        with self._lock:
            self._stack.vms.pop(name, None)
            self.folder.write(self._stack)


def _in_order(file: StackFile) -> list[str]:
    """The VMs, each behind those that it comes after."""
    order: list[str] = []
    while len(order) < len(file.vms):
        order += [name for name, vm in file.vms.items() if name not in order and set(vm.after) <= set(order)]
    return order


def end_vm(name: str, grace_s: float) -> Status | None:
    """End a VM and forget it: how it ended. None where none ran."""
    folder = _folder(name)
    if folder is None:
        return None
    ran, status = not ready.has_ended(folder), None
    try:
        status = control.stop(folder, grace_s)
    except FloeError:
        launch.kill(folder)
    folder.remove()
    return status if ran else None


def down(folder: StackFolder, stack: Stack, grace_s: float, say: Say) -> None:
    """End and forget all VMs, each before those that it comes after, and the stack with them. KeyboardInterrupt
    meanwhile ends them at once."""
    left = dict(stack.vms)
    with ThreadPoolExecutor(_WORKERS) as pool:
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
    """Forget a stack that has no VM."""
    stack = folder.read()
    if stack is not None:
        networks.stop(stack)
    folder.remove()


def _hurry(name: str) -> None:
    """End a VM at once that was asked for its end."""
    folder = _folder(name)
    if folder is not None and folder.keeper is not None:
        control.ask(folder, {"do": "stop", "timeout": 0})


def read(folder: StackFolder | None, file: str) -> Stack:
    """What there is of a stack. Raises NotFound."""
    stack = folder.read() if folder is not None else None
    if stack is None:
        raise NotFound(f"no stack of {file} is up", hint=f"floe compose up {file}")
    return stack
