# SPDX-License-Identifier: MIT
"""From what there is of a stack to what its file asks for: the steps, and the way."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from floe.compose import instances as wanted
from floe.compose import networks, ready
from floe.compose import stack as stacks
from floe.compose.instances import Instance
from floe.compose.stack import Say
from floe.compose.stackfile import StackFile
from floe.compose.workers import Workers, finish
from floe.detached import control, launch
from floe.errors import FloeError, Interrupted
from floe.spec.vmspec import VmSpec
from floe.store.stackfolder import Placed, Stack, StackFolder
from floe.vm.vm import STOP_GRACE_S


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
            gone.append(Step("remove", name, stacks.label(stack.name, name), reason))
    return gone + steps


def _step(instance: Instance, placed: Placed | None) -> Step:
    def step(action: Literal["start", "replace", "keep"], reason: str = "") -> Step:
        return Step(action, instance.name, instance.label, reason, instance)

    folder = stacks.found(instance.name)
    if placed is None or folder is None:
        return step("start", "it is gone" if placed is not None else "")
    if changed := wanted.differing(placed.aspects, instance.aspects):
        return step("replace", f"{', '.join(changed)} changed")
    status = control.status(folder)
    if status.end is None:
        return step("keep")
    if instance.vm.ready.exit is not None and status.end.code == instance.vm.ready.exit:
        return step("keep", "done")
    return step("replace", stacks.how_ended(status))


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
            stack = self._stack = stacks.read(self.folder, str(self.file.file))
            # What cannot be built or makes no sense is told before anything is touched.
            steps = plan(self.file, stack, profiles, self._say)
            if networks.provide(self.folder, self.file, stack):
                steps = plan(self.file, stack, profiles, lambda text: None)  # it is built, and was told of
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
        with Workers(stacks.WORKERS) as starting, Workers(max(1, len(by_vm))) as waiting:
            try:
                done: dict[str, Future[None]] = {}
                for name in self.file.order():
                    before = [done[other] for other in self.file.vms[name].after]
                    done[name] = waiting.submit(self._start_all, by_vm[name], before, starting)
                self._finish(list(done.values()))
            except BaseException:
                self.called_off.set()
                raise

    def _finish(self, futures: list[Future[None]]) -> None:
        errors: list[BaseException] = []
        for future in futures:
            try:
                future.result()
            except FloeError as e:
                self.called_off.set()
                errors.append(e)
        if errors:
            raise next((e for e in errors if not isinstance(e, Interrupted)), errors[0])

    def _start_all(self, steps: list[Step], before: list[Future[None]], pool: Workers) -> None:
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
                vm=name,
                after=instance.vm.after,
                aspects=instance.aspects,
                ready=is_ready,
                exit=instance.vm.ready.exit,
            )
            self.folder.write(self._stack)

    def undo(self) -> None:
        """End what was started; what had to make room for it does not come back. KeyboardInterrupt does not end it."""
        with Workers(stacks.WORKERS) as pool:
            finish([pool.submit(self._remove, name) for name in reversed(self.started)])

    def _remove(self, name: str) -> None:
        stacks.end_vm(name, STOP_GRACE_S)
        self._forget(name)

    def _forget(self, name: str) -> None:
        with self._lock:
            self._stack.vms.pop(name, None)
            self.folder.write(self._stack)
