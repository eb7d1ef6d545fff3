# SPDX-License-Identifier: MIT
"""From what there is of a stack to what its file asks for: the way, step by step (steps.py)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import msgspec

from floe.compose import instances as wanted
from floe.compose import networks, ready, rolling
from floe.compose import stack as stacks
from floe.compose.instances import Instance
from floe.compose.stack import Say
from floe.compose.stackfile import StackFile
from floe.compose.steps import Step, plan
from floe.compose.workers import Workers, finish
from floe.detached import launch
from floe.errors import FloeError, Interrupted
from floe.spec.vmspec import VmSpec
from floe.store.stackfolder import Placed, Scale, Stack, StackFolder
from floe.vm.vm import STOP_GRACE_S

_CUT = "the networks of {} are cut, because their process was ended"


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
            self.file = self.file.scaled(stack.scales)
            stack.scales = self.file.scales
            # What cannot be built or makes no sense is told before anything is touched.
            cut = networks.is_cut(stack)
            steps = plan(self.file, stack, profiles, self._say)
            if networks.provide(self.folder, self.file, stack):
                steps = plan(self.file, stack, profiles, lambda text: None, cut=cut)  # it is built, and was told of
            self._run(steps)
        return steps

    def scale(self, name: str, count: int) -> list[Step]:
        """Have so many replicas of a table, until its file says another number; all other VMs are left as they are.
        Returns when those that were started are ready. Raises ConfigError, UsageError, FloeError."""
        with self.folder.locked():
            stack = self._stack = stacks.read(self.folder, str(self.file.file))
            said = self.file.replicas_of(name, stack.name)
            self.file = self.file.scaled({**stack.scales, name: Scale(count, said)})
            if networks.is_cut(stack):
                raise FloeError(_CUT.format(stack.name), hint=f"floe compose up {self.file.file}")
            chosen = self.file.vms[name].profiles
            plan(self.file, stack, chosen, self._say)
            stack.scales = self.file.scales
            self.folder.write(stack)
            networks.provide(self.folder, self.file, stack)
            steps = [step for step in plan(self.file, stack, chosen, lambda text: None) if self._is_of(step, name)]
            self._run(steps)
        return steps

    def _is_of(self, step: Step, name: str) -> bool:
        """Whether a step makes another number of a table's VMs."""
        placed = self._stack.vms.get(step.name)
        vm = step.instance.key.removeprefix("vm.") if step.instance else placed.vm if placed else ""
        return vm == name and not step.spare and step.action in ("start", "keep", "remove")

    def _run(self, steps: list[Step]) -> None:
        self._take_away([step for step in steps if step.action == "remove"])
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
            spare = next((step for step in steps if step.spare), None)
            if spare is None or spare.instance is None:
                self._start_at_once(steps, pool)
                return
            with rolling.halting(spare.instance.key, [step for step in steps if step.action == "update"]) as updates:
                self._start_at_once([step for step in steps if step.action != "update" and not step.spare], pool)
                rolling.roll(self, spare, updates, spare.instance.vm.drain)
        except BaseException:
            self.called_off.set()
            raise

    def _start_at_once(self, steps: list[Step], pool: Workers) -> None:
        for step, started in [(step, pool.submit(self._start, step)) for step in steps]:
            started.result()
            if step.action != "keep":
                self._say(f"{step.label} is started" + (f": {step.reason}" if step.reason else ""))
        for step in steps:
            self._wait_ready(step)
            self.admit(step.name, serving=True)

    def _take_away(self, steps: list[Step]) -> None:
        """Those first that nobody need be drained from."""
        served = {step.name: step for step in steps if self._serves(step.name)}
        for step in steps:
            if step.name not in served:
                self._remove(step.name)
                self._say(f"{step.label} is removed: {step.reason}")
        limits: dict[float, dict[str, str]] = {}
        for name, step in served.items():
            limits.setdefault(self.file.vms[self._stack.vms[name].vm].drain, {})[name] = step.label
        for drain_s, names in limits.items():
            rolling.retire(self, names, drain_s)
            for name in names:
                self._say(f"{served[name].label} is removed: {served[name].reason}")

    def _serves(self, name: str) -> bool:
        """Whether it is one of several that do."""
        placed = self._stack.vms[name]
        folder = stacks.found(name)
        vm = self.file.vms.get(placed.vm)
        return vm is not None and vm.drains and placed.ready and folder is not None and not ready.has_ended(folder)

    # ---- for an update: rolling.Hands ---------------------------------------------------------------

    def begin(self, step: Step) -> None:
        """Start the VM of a step that asks for it, which nobody asks yet; returns when it is ready."""
        self._start(step, apart=True)
        self._wait_ready(step)
        if step.name in self.started:  # who ends the update ends it no more
            self.started.remove(step.name)

    def admit(self, name: str, *, serving: bool) -> None:
        """Have the name of a VM's table stand for it, or no more."""
        with self._lock:
            placed = self._stack.vms[name]
            if placed.apart != serving:
                return
            self._stack.vms[name] = msgspec.structs.replace(placed, apart=not serving)
            self.folder.write(self._stack)
            networks.rename(self.file, self._stack)

    def end(self, name: str) -> None:
        """End and forget a VM."""
        self._remove(name)

    def tell(self, text: str) -> None:
        """A line for the user."""
        self._say(text)

    # -------------------------------------------------------------------------------------------------

    def _start(self, step: Step, *, apart: bool = False) -> None:
        instance = step.instance
        assert instance is not None
        if self.called_off.is_set():
            raise Interrupted(f"{step.label} was not started")
        if step.action == "keep":
            return
        if step.action == "replace":
            self._remove(step.name)
        self._place(instance, is_ready=False, apart=apart)
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
        self._place(instance, is_ready=True, apart=self._stack.vms[step.name].apart)

    def _place(self, instance: Instance, *, is_ready: bool, apart: bool) -> None:
        """Write down that there is this VM, before there is."""
        with self._lock:
            name = instance.key.removeprefix("vm.")
            self._stack.vms[instance.name] = Placed(
                vm=name,
                after=instance.vm.after,
                aspects=instance.aspects,
                ready=is_ready,
                exit=instance.vm.ready.exit,
                apart=apart,
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
