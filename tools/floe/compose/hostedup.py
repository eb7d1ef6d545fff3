# SPDX-License-Identifier: MIT
"""Doing what hosted.py has planned for a stack on other hosts: VMs start, become ready, are updated and end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from floe.compose import instances, links, rolling
from floe.compose.hosted import Fleet, Instance, Step, blobs, check_ours, plan
from floe.compose.stack import WORKERS, Say
from floe.compose.stackfile import StackFile
from floe.compose.workers import Workers
from floe.errors import FloeError, Interrupted, NotFound, TimedOut
from floe.fleet.console import Log
from floe.fleet.domain import CONSOLE
from floe.fleet.mark import Mark
from floe.fleet.probe import Probe
from floe.fleet.vms import Order, There, Vms
from floe.spec.ports import forward_of

_LOOK_S = 0.1
_TAIL = 10  # lines
_GRACE_S = 5.0  # as vm.STOP_GRACE_S


class Up:
    """Carries out the steps. VMs start after those that they come after are ready; replicas that change, one by one."""

    def __init__(self, file: StackFile, project: str, fleet: Fleet, say: Say) -> None:
        self._file = file
        self._project = project
        self._fleet = fleet
        self._say = say
        self.called_off = threading.Event()
        self._scales = {name: (scale.count, scale.said) for name, scale in file.scales.items()}
        self._scaled = 0.0
        self._mtu = 0  # of packets in the file's own networks

    def scale(self, name: str, profiles: Sequence[str]) -> list[Step]:
        """Have as many replicas of a table as the file is scaled to; all other VMs are left as they are. As run()."""
        steps = [
            step
            for step in plan(self._file, self._project, profiles, self._fleet, self._say)
            if step.service == name and step.action in ("start", "keep", "remove") and not step.moves and not step.spare
        ]
        self.run(steps)
        return steps

    def run(self, steps: Sequence[Step]) -> None:
        """Returns when every VM that has to is ready. Raises the first FloeError; what runs by then goes on."""
        self._mtu = links.have(self._file, self._project, self._fleet.hosts, self._used())
        # Each look over ssh takes its time: nobody looks again where no VM is about to leave a network for good.
        left = links.stale(self._file, self._project, self._fleet.of(self._project))
        try:
            self._carry_out(steps)
        except BaseException:
            if left:
                with contextlib.suppress(FloeError):  # the first error is the one to be told
                    self._clear_links()
            raise
        if left:
            self._clear_links()

    def _used(self) -> list[str]:
        """Networks in which a VM is."""
        return sorted({network for vm in self._fleet.of(self._project) for network in vm.mark.addresses})

    def _carry_out(self, steps: Sequence[Step]) -> None:
        self._note_scales()
        # In a network a VM's addresses are those of its name: there must not be two.
        wired = {step.name for step in steps if step.instance and step.instance.wires}
        ends = [step for step in steps if step.action == "remove"]
        last = [step for step in ends if step.moves and step.name not in wired]
        self._remove_all([step for step in ends if step not in last])
        with Workers(WORKERS) as pool:
            try:
                for name in self._file.order():
                    own = [step for step in steps if step.instance and step.service == name]
                    at_once = [step for step in own if step.action != "update" and not step.spare]
                    for future in [pool.submit(self._have, step) for step in at_once]:
                        future.result()
                    self._update([step for step in own if step not in at_once], name, pool)
            except BaseException:
                self.called_off.set()
                raise
        self._remove_all(last)

    def _clear_links(self) -> None:
        """Of networks that the file has no more, and no VM is in."""
        self._fleet.look()
        links.clear(self._project, self._fleet.hosts, [*links.networks(self._file), *self._used()])

    def _note_scales(self) -> None:
        """On every VM there is: who sees one of them knows."""
        known = self._fleet.of(self._project)
        others = [vm for vm in known if vm.mark.scales != self._scales]
        self._scaled = time.time() if others else max((vm.mark.scaled for vm in known), default=0.0)
        for vm in others:
            with contextlib.suppress(NotFound):
                self._fleet.hosts[vm.host].tell(vm.name, scales=self._scales, scaled=self._scaled)

    def _update(self, steps: list[Step], name: str, pool: Workers) -> None:
        """One after the other, while others and the spare one serve. Raises UpdateHalted at the first that does not
        become ready: those that are left of the old ones go on, and the spare one."""
        spare = next((step for step in steps if step.spare), None)
        with rolling.halting(f"vm.{name}", [step for step in steps if not step.spare]) as left:
            if spare is not None:
                pool.submit(self._have, spare).result()
            while left:
                step = left[0]
                if self.called_off.is_set():
                    raise Interrupted(f"{step.label} was not updated")
                pool.submit(self._end, step).result()
                del left[0]
                pool.submit(self._have, step).result()
        if spare is not None:
            pool.submit(self._end, spare).result()
            self._say(f"{spare.label} is removed from {spare.host}: the update is done")

    def _end(self, step: Step) -> None:
        """Who may be asked by others has as long as its `drain` says, once it knows that it ends; but who calls all off
        does not wait for that."""
        vm = self._file.vms.get(step.service)
        grace_s = max(_GRACE_S, vm.drain) if vm and vm.drains else _GRACE_S
        remove(self._fleet.hosts[step.host], step.name, grace_s, self.called_off)

    def _remove_all(self, steps: Sequence[Step]) -> None:
        with Workers(WORKERS) as pool:
            for step, ending in [(step, pool.submit(self._end, step)) for step in steps]:
                ending.result()
                self._say(f"{step.label} is removed from {step.host}: {step.reason}")

    def _have(self, step: Step) -> None:
        """Until it is ready."""
        if self.called_off.is_set():
            raise Interrupted(f"{step.label} was not started")
        assert step.instance is not None
        vms = self._fleet.hosts[step.host]
        if step.action == "replace":
            self._end(step)
        if step.action != "keep":
            with instances.told(self._file.file, step.instance.key):
                found = self._start(vms, step.instance)
            why = f": {step.reason}" if step.reason else ""
            how = "updated" if step.action == "update" else "started"
            self._say(f"{step.label} is {how} on {step.host}{why}")
            for disk in found.new_disks:
                self._say(f"made the disk {disk} on {step.host}, where it stays")
        elif (found := vms.find(step.name)).mark.ready:
            return
        self._wait_ready(vms, step, found)
        vms.tell(step.name, ready=True)

    def _start(self, vms: Vms, instance: Instance) -> There:
        spec = links.fitted(instance.spec(vms.host), self._file, self._project, self._mtu)
        told = Mark(
            app=str(instance.app),
            profile=str(instance.image.content["profile"]),
            image=instance.digest,
            memory=spec.memory,
            ports=[forward.told() for forward in spec.forwards],
            project=self._project,
            service=instance.key.removeprefix("vm."),
            replica=instance.replica,
            addresses=instance.addresses,
            cards=instance.wires,
            scales=self._scales,
            scaled=self._scaled,
        )
        return vms.start(Order(spec, instance.content, told, instance.name, blobs(spec)))

    def _wait_ready(self, vms: Vms, step: Step, found: There) -> None:
        assert step.instance is not None
        ready = step.instance.vm.ready
        if not ready.line and not ready.port and ready.exit is None:
            return
        forwards = [forward_of(told) for told in found.mark.ports]
        asked = [f for f in forwards if f.guest_port == ready.port and f.protocol == "tcp"]
        with contextlib.ExitStack() as stack:
            probe = stack.enter_context(contextlib.closing(Probe(vms, step.name, asked[0]))) if asked else None
            log = Log(vms.store, found.uuid + CONSOLE, begun=step.action != "keep")
            self._look_until(vms, step, log, probe)

    def _look_until(self, vms: Vms, step: Step, log: Log, probe: Probe | None) -> None:
        assert step.instance is not None
        ready, said = step.instance.vm.ready, b""
        end = time.monotonic() + ready.within
        while True:
            found, new = vms.on(step.name, lambda c, dom, vm: (vm, log.news(c)))
            said += new
            if ready.line and ready.line.encode() in said:
                return
            if probe is not None and found.alive and probe.answers():
                return
            tail = "\n".join(said.decode(errors="replace").splitlines()[-_TAIL:])
            hint = f"floe logs --host {step.host} {step.name}"
            if not found.alive:
                if ready.exit is not None and found.code == ready.exit:
                    return
                raise FloeError(
                    f"{step.label} has ended before it was ready: {found.code}, {found.cause}", evidence=tail, hint=hint
                )
            if time.monotonic() > end:
                raise TimedOut(f"{step.label} is not ready after {ready.within:g} s", evidence=tail, hint=hint)
            if self.called_off.wait(_LOOK_S):
                raise Interrupted(f"{step.label} was not waited for")


def remove(vms: Vms, name: str, grace_s: float, hurry: threading.Event | None = None) -> There | None:
    """End a VM and forget it: how it ended, None where somebody else was faster. As Vms.stop(). Raises FloeError."""
    with contextlib.suppress(NotFound):
        ended = vms.stop(name, grace_s, hurry)
        vms.remove(name, force=True)
        return ended
    return None


def down(file: StackFile, project: str, fleet: Fleet, grace_s: float, said: Callable[[There], None]) -> None:
    """End and forget all VMs of a stack on the hosts that answer, each before those that it comes after.
    KeyboardInterrupt meanwhile ends them at once. Raises FloeError."""
    check_ours(file, project, fleet)
    left = fleet.of(project)
    order = {name: number for number, name in enumerate(reversed(file.order()))}
    with Workers(WORKERS) as pool:
        for rank in sorted({order.get(vm.mark.service, -1) for vm in left}):
            now = [vm for vm in left if order.get(vm.mark.service, -1) == rank]
            for future in [pool.submit(remove, fleet.hosts[vm.host], vm.name, grace_s) for vm in now]:
                try:
                    ended = future.result()
                except KeyboardInterrupt:
                    grace_s = 0
                    for vm in left:
                        with contextlib.suppress(FloeError):  # who removes it tells
                            fleet.hosts[vm.host].stop(vm.name, 0)
                    ended = future.result()
                if ended is not None:
                    said(ended)
    if links.networks(file) or links.stale(file, project, left):
        links.clear(project, fleet.hosts)
