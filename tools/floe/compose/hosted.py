# SPDX-License-Identifier: MIT
"""A stack whose VMs run on other hosts, by their libvirts: what is there, and what is to be done; hostedup.py
does it.

All that is known of a VM lies on its host, in the mark of its domain: any client on any machine sees the same, and
whoever is interrupted leaves what the next one goes on from. A host that does not answer counts as gone."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from floe.build.config import ImageConfig
from floe.compose import instances, links, networks, placement
from floe.compose.placement import NoPlace, Room, Wanted
from floe.compose.stack import Say
from floe.compose.stackfile import StackFile, Vm
from floe.errors import FloeError, HostError, NotFound
from floe.fleet import connection, driver, survey
from floe.fleet.connection import Host
from floe.fleet.vms import There, Vms, environment_of
from floe.image import elf
from floe.spec import handover
from floe.spec.handover import Blob
from floe.spec.ports import parse_forwards
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec, parse_memory
from floe.store.stackfolder import Scale, Stack
from floe.vm import plan as plans


class Fleet:
    """The hosts of a file, all connected at once; a context manager. down: those that do not answer, and why."""

    def __init__(self, names: Sequence[str]) -> None:
        self.hosts: dict[str, Vms] = {}
        self.down: dict[str, FloeError] = {}
        self.rooms: dict[str, survey.Facts] = {}
        self.vms: list[There] = []  # of all projects
        for name in names:
            driver.check_host(name)
        for name, opening in [(name, connection.started(partial(_opened, name))) for name in names]:
            try:
                host, facts, vms = opening.result()
            except NotFound:
                self.close()
                raise
            except HostError as e:
                self.down[name] = e
            else:
                self.hosts[name], self.rooms[name] = Vms(host), facts
                self.vms += vms

    def of(self, project: str) -> list[There]:
        """The VMs of a stack, host by host."""
        return [vm for vm in self.vms if vm.mark.project == project]

    def look(self) -> None:
        """See anew what VMs there are. A host that answers no more is down from here on."""
        asked = {name: connection.started(vms.all) for name, vms in self.hosts.items()}
        self.vms = []
        for name, looking in asked.items():
            try:
                self.vms += looking.result()
            except HostError as e:
                self.down[name] = e
                self.hosts.pop(name).host.close()

    def close(self) -> None:
        for vms in self.hosts.values():
            vms.host.close()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _opened(name: str) -> tuple[Host, survey.Facts, list[There]]:
    host = connection.open(name)
    try:
        return host, survey.facts_of(host), Vms(host).all()
    except BaseException:
        host.close()
        raise


def label(project: str, vm: There) -> str:
    """A VM's name without its stack's."""
    return vm.name.removeprefix(f"{project}.")


def scaled(file: StackFile, project: str, fleet: Fleet) -> StackFile:
    """With the numbers of replicas that were last wanted, as far as they hold."""
    marks = [vm.mark for vm in fleet.of(project)]
    last = max(marks, key=lambda mark: mark.scaled).scales if marks else {}
    return file.scaled({name: Scale(count, said) for name, (count, said) in last.items()})


@dataclass(frozen=True)
class Instance:
    """One VM, wherever it is to run. key: of its table in the file."""

    name: str
    label: str
    key: str
    vm: Vm
    replica: int
    app: Path
    image: elf.Image
    content: bytes  # of the image, read once for all of its VMs
    digest: str
    config: ImageConfig | None
    options: RunOptions
    addresses: dict[str, str]  # by network

    @property
    def wires(self) -> list[str]:
        """Its cards in networks of the file."""
        return [card for card in self.options.cards if card not in ("user", "none")]

    def wanted(self) -> Wanted:
        """For its place."""
        text = self.options.memory
        memory = parse_memory(text) if text else int(self.image.content["memory"])
        forwards = [forward for port in self.vm.ports for forward in parse_forwards(port)]
        ports = frozenset(f"{forward.host_port}/{forward.protocol}" for forward in forwards)
        how: placement.How = "pack" if self.vm.place == "pack" else "spread"
        return Wanted(self.name, self.key, memory, how, self.vm.labels, ports)

    def spec(self, host: Host) -> VmSpec:
        """As it is on a host. Raises FloeError."""
        options = replace(self.options, uuid=plans.identity(f"{host.name}/{self.name}"))
        return plans.assemble(self.image, self.config, options, hypervisor=driver.Elsewhere(host))[0]


@dataclass(frozen=True)
class Step:
    """What `up` does about one VM on one host, and why. "update": as "replace", one after the other."""

    action: Literal["start", "replace", "update", "keep", "remove"]
    name: str
    label: str
    host: str
    reason: str = ""
    instance: Instance | None = None  # None: it is removed
    moves: bool = False  # it has another place: started there, and removed here when all others are ready
    service: str = ""
    spare: bool = False  # one more, for the time of an update

    @property
    def addresses(self) -> dict[str, str]:
        """By network, those that are known."""
        return {net: own for net, own in self.instance.addresses.items() if own} if self.instance else {}


def plan(file: StackFile, project: str, profiles: Sequence[str], fleet: Fleet, say: Say) -> list[Step]:
    """Every step of `up`: what is removed at once, what is there or starts, what is removed when that is ready. Raises
    FloeError; NoPlace for a VM that fits on no host."""
    if not fleet.hosts:
        raise next(iter(fleet.down.values()))
    chosen = file.chosen(profiles)
    check_ours(file, project, fleet)
    stack, joined = _settled(file, project, chosen, fleet), links.joined(file, project)
    wanted = {found.name: found for found in _instances(joined, stack, chosen, say)}
    there = {(vm.host, vm.name): vm for vm in fleet.of(project)}
    # Of one that is there twice, as its host did not answer for a while, the newest that runs.
    now = {vm.name: vm.host for vm in sorted(there.values(), key=lambda vm: (vm.alive, vm.mark.created))}
    places = placement.place((found.wanted() for found in wanted.values()), _rooms(file, project, fleet), now)
    steps = []
    for name, instance in wanted.items():
        host = places[name]
        found = there.get((host, name))
        if found is None:
            before = now.get(name)
            reason = f"it moves from {before}" if before else ""
            moves, service = before is not None, instance.key.removeprefix("vm.")
            if before is not None and instance.vm.disks and there[before, name].disks:
                raise _stays(file, instance, there[before, name], host)
            steps.append(Step("start", name, instance.label, host, reason, instance, moves, service))
        else:
            steps.append(_step(instance, found, fleet.hosts[host].host))
    rooms = _rooms(file, project, fleet)
    for service in {step.service: None for step in steps if step.action == "update"}:
        settled = _settled(file, project, chosen, fleet, service)
        spare = next(_instances(joined, settled, {service: chosen[service]}, lambda text: None, spare=True))
        if (own := _room_for(spare, wanted.values(), rooms, {**now, **places})) is not None:
            first_of = next(number for number, step in enumerate(steps) if step.service == service)
            steps.insert(first_of, _spare_step(spare, there.get((own, spare.name)), fleet.hosts[own].host))
            wanted[spare.name], places[spare.name] = spare, own
    first, last = [], []
    for (host, name), vm in there.items():
        short = label(project, vm)
        if name in wanted and places[name] != host:
            why = f"it is on {places[name]}"
            last.append(Step("remove", name, short, host, why, moves=True, service=vm.mark.service))
        elif name not in wanted and (vm.mark.service in chosen or vm.mark.service not in file.vms):
            reason = "fewer replicas" if vm.mark.service in chosen else "not in the file"
            first.append(Step("remove", name, short, host, reason, service=vm.mark.service))
    return first + steps + last


def _stays(file: StackFile, instance: Instance, before: There, host: str) -> FloeError:
    """Of a VM that has another place now, which its disk has not."""
    names = ", ".join(str(disk.path) for disk in before.disks)
    problem = f"{instance.label} is on {before.host}, where its disk {names} stays, not on {host}"
    return FloeError(
        f"{file.file}: {instance.key}.place: {problem}",
        hint=f"the place that it had; or floe compose down, floe host disk pull {before.host} and push {host}",
    )


def _room_for(spare: Instance, others: Iterable[Instance], rooms: list[Room], now: dict[str, str]) -> str | None:
    """The host of one VM more beside the others. None: there is no room. Raises NoPlace, where the file insists."""
    try:
        return placement.place([found.wanted() for found in (*others, spare)], rooms, now)[spare.name]
    except NoPlace:
        if spare.vm.update == "rolling":
            raise
        return None


def _spare_step(spare: Instance, found: There | None, host: Host) -> Step:
    """One that an `up` before has left is taken, if it is as it would be now."""
    action: Literal["start", "replace", "keep"] = "start"
    if found is not None:
        action = "keep" if _step(spare, found, host).action == "keep" else "replace"
    service, why = spare.key.removeprefix("vm."), "for the time of the update"
    return Step(action, spare.name, spare.label, host.name, why, spare, service=service, spare=True)


def check_ours(file: StackFile, project: str, fleet: Fleet) -> None:
    """Raises FloeError where the stack of this name is one of another file, of which nothing must be removed."""
    found = fleet.of(project)
    if found and not any(vm.mark.service in file.vms for vm in found):
        others = ", ".join(f"{vm.name} on {vm.host}" for vm in found)
        raise FloeError(
            f"{file.file}: name: there is another stack {project} on these hosts",
            evidence=f"of it: {others}",
            hint='another name = "NAME"',
        )


def _settled(file: StackFile, project: str, chosen: dict[str, Vm], fleet: Fleet, more: str = "") -> Stack:
    """The addresses: of the VMs that are chosen, and of those that are there, which keep theirs. more: the table of
    which there is one more for a while. Raises FloeError."""
    there = fleet.of(project)
    before: dict[str, dict[str, str]] = {}
    for vm in there:
        for network, address in vm.mark.addresses.items():
            with contextlib.suppress(ValueError):  # not known, or nobody's that floe has started
                before.setdefault(network, {})[vm.name] = str(ipaddress.IPv4Address(address))
    members = instances.names(project, chosen)
    members |= {vm.name: vm.mark.service for vm in there if vm.mark.service in file.vms}
    if more:
        members[f"{project}.{_spare_label(more, chosen[more])}"] = more
    return Stack(name=project, file=str(file.file), addresses=networks.addresses(file, before, members))


def _spare_label(name: str, vm: Vm) -> str:
    return f"{name}.{len(instances.labels(name, vm)) + 1}"


def _instances(
    file: StackFile, stack: Stack, vms: dict[str, Vm], say: Say, *, spare: bool = False
) -> Iterator[Instance]:
    """All VMs of these tables; spare: of each the one more alone."""
    known: dict[Path, tuple[bytes, str]] = {}
    for name, vm in vms.items():
        key, app = f"vm.{name}", file.file.parent / vm.app
        with instances.told(file.file, f"{key}.app"):
            image, config = instances.image_of(app, vm, say)
        if image.path not in known:
            read = image.path.read_bytes()
            known[image.path] = read, hashlib.sha256(read).hexdigest()
        own = instances.labels(name, vm)
        numbered = [(len(own) + 1, _spare_label(name, vm))] if spare else list(enumerate(own, 1))
        for number, short in numbered:
            full = f"{stack.name}.{short}"
            with instances.told(file.file, key):
                cards = instances.cards(file, stack, full, vm, image)
            options = instances.options_of(file.file.parent, vm, full)
            options = replace(options, cards=cards, disks=tuple(vm.disks))  # names of a host's, and no paths
            addresses = {name: stack.addresses.get(name, {}).get(full, "") for name in file.joined(vm)}
            yield Instance(full, short, key, vm, number, app, image, *known[image.path], config, options, addresses)


def _rooms(file: StackFile, project: str, fleet: Fleet) -> list[Room]:
    """What is free on each host, and what this stack has there."""
    own = dict.fromkeys(fleet.hosts, 0)
    for vm in fleet.of(project):
        own[vm.host] += vm.mark.memory if vm.alive else 0
    return [
        Room(name, facts.free + own[name], facts.cpus, file.hosts[name]) for name, facts in sorted(fleet.rooms.items())
    ]


def _step(instance: Instance, found: There, host: Host) -> Step:
    def step(action: Literal["replace", "update", "keep"], reason: str = "") -> Step:
        service = instance.key.removeprefix("vm.")
        return Step(action, instance.name, instance.label, host.name, reason, instance, service=service)

    spec = replace(instance.spec(host), uuid=found.uuid)  # another one where it has moved here
    told = found.mark
    joined = told.cards == instance.wires  # their addresses are among what a VM is handed
    differ = {
        "networks": not joined,
        "app": told.image != instance.digest,
        "env": joined and told.environment != environment_of(spec, blobs(spec)),
        "memory": told.memory != spec.memory,
        "ports": told.ports != [forward.told() for forward in spec.forwards],
        "disks": [(d.path, d.readonly) for d in found.disks] != [(d.path, d.readonly) for d in spec.disks],
    }
    if changed := [key for key, differs in differ.items() if differs]:
        how: Literal["replace", "update"] = "update" if instance.vm.rolls and found.alive else "replace"
        return step(how, f"{', '.join(changed)} changed")
    if found.alive:
        return step("keep")
    if instance.vm.ready.exit is not None and found.code == instance.vm.ready.exit:
        return step("keep", "done")
    return step("replace", f"ended ({found.code}, {found.cause})" if found.code is not None else found.state)


def blobs(spec: VmSpec) -> list[Blob]:
    """What a VM is handed. Raises FloeError."""
    return list(handover.read(spec.secrets, spec.env_files, dict(spec.asked)))
