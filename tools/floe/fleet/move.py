# SPDX-License-Identifier: MIT
"""A running VM goes from a host to another: its memory goes from QEMU to QEMU while it runs, and its output with it.

libvirt's client leads it (virDomainMigrate3): the hosts need no key for each other. The memory goes by ssh through this
machine, or by TCP to a port of the target's where an address is given. The VM waits there until what it said last is in
its new log, so that nothing is lost or out of order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from floe.errors import FloeError, HostError, NotFound
from floe.fleet import connection, why
from floe.fleet.binding import binding
from floe.fleet.connection import Host
from floe.fleet.console import Log
from floe.fleet.domain import CONSOLE, EXIT, SERIAL, handed
from floe.fleet.store import BRING_S, IMAGE
from floe.fleet.tunnel import LOOPBACK, Tunnel, through_here
from floe.fleet.vms import There, Vms, environment
from floe.spec.handover import Blob, described

MOVE_S = 120.0
PORTS = "49152 to 49215"  # libvirt's, of which one is the target's
_FILES = (CONSOLE, SERIAL, EXIT)
_EVENT_S = 2.0
_CALLED_BACK_S = 20.0


@dataclass(frozen=True)
class Moved:
    """How it went. pause_s: from when it stood still on one host until it went on on the other."""

    vm: There
    pause_s: float


def move(name: str, source: Host, target: Host, address: str, blobs: Sequence[Blob] = ()) -> Moved:
    """Move a running VM; address: the target's, as the source reaches it by TCP, "" for the way through here; blobs:
    what it was handed at its start. Raises NotFound, FloeError where it cannot go while it runs, HostError; the VM runs
    on where it was then."""
    here, there = Vms(source), Vms(target)
    vm, handing = here.on(name, lambda connection, domain, found: _checked(domain, found, target, blobs))
    _check_alike(vm, source, target)
    try:
        there.find(name)
    except NotFound:
        pass
    else:
        raise FloeError(f"{target.name} has a VM {name} already", hint=f"floe ps --all --host {target.name}")
    image = source.ask(lambda c: here.store.read(c, vm.mark.image + IMAGE), deadline_s=BRING_S)
    _, digest = there.store.bring(image)
    if digest != vm.mark.image:
        raise HostError(f"{source.name} gave another image than {name} has")
    try:
        pause_s = _carried(vm, here, there, address, handing)
    except BaseException:
        with suppress(FloeError):  # the first error is the one to be told
            target.ask(lambda c: _forgotten(c, there, vm.uuid))
        raise
    return Moved(there.find(name), pause_s)


def _carried(vm: There, here: Vms, there: Vms, address: str, handing: Mapping[str, bytes]) -> float:
    """With its output, and what it is handed; how long it stood still."""
    source, target = here.host, there.host
    logs = {vm.uuid + ending: Log(here.store, vm.uuid + ending) for ending in _FILES}
    said = {file: _copied(source, there, file, log) for file, log in logs.items()}

    def go_on(reading: Host) -> None:
        try:
            for file, rest in reading.ask(lambda c: [(name, log.news(c)) for name, log in logs.items()]):
                if rest:
                    target.ask(partial(there.store.append, name=file, size=said[file], content=rest))
        finally:
            target.ask(lambda c: c.lookupByUUIDString(vm.uuid).resume())

    # A call beside the one that moves it waits for that, now and then, which ends 0.2 s after the VM has arrived.
    with (
        nullcontext() if address else through_here(source.place, target.place) as tunnel,
        connection.connect(source.place) as reading,
        _watched(vm.uuid, source, target) as steps,
        _lent(there, handing),
    ):
        sent = connection.started(lambda: _sent(vm, source, target, tunnel or address))
        sent.add_done_callback(lambda _: steps.arrived.set())
        interrupted = _interrupted(vm.uuid, steps, reading)

        def finish() -> None:
            if sent.done():
                sent.result()
            try:
                go_on(reading)
            except HostError:
                sent.result()  # tells more
                raise
            sent.result()

        rest = connection.started(finish)  # from here on Ctrl-C comes too late, and would leave it on both hosts
        while True:
            try:
                rest.result()
                break
            except KeyboardInterrupt as e:
                interrupted = interrupted or e
            except FloeError as e:
                raise (interrupted or e) from None
        pause_s = steps.pause_s()
    with suppress(FloeError):  # it is there; what is left here is nobody's
        source.ask(lambda c: _forgotten(c, here, vm.uuid))
    if interrupted:
        raise interrupted
    return pause_s


def _interrupted(uuid: str, steps: _Steps, reading: Host) -> KeyboardInterrupt | None:
    """Wait until it has arrived, or will not. Ctrl-C calls it back, if it is not too late."""
    try:
        steps.wait(MOVE_S)
    except KeyboardInterrupt as e:
        with suppress(FloeError):  # there is nothing to call back any more
            reading.ask(lambda c: c.lookupByUUIDString(uuid).abortJob())
        with suppress(KeyboardInterrupt):  # once more: it is called back already
            steps.wait(_CALLED_BACK_S)
        return e
    return None


def _checked(domain: Any, vm: There, target: Host, blobs: Sequence[Blob]) -> tuple[There, dict[str, bytes]]:
    """The VM, and the files of the target's from which its QEMU there reads what it was handed. A guest reads that when
    its script asks, again each time. Raises FloeError."""
    if vm.state != "running":
        raise _not_live(vm, f"it is {vm.state}", target)
    root = ElementTree.fromstring(domain.XMLDesc(binding().VIR_DOMAIN_XML_INACTIVE))
    if root.find("devices/disk") is not None:
        raise _not_live(vm, f"its disks lie on {vm.host}, where floe host disk pull gets them", target)
    files, given = handed(root), {blob.name: blob.content for blob in blobs}
    if files.keys() != given.keys():
        wanted = sorted(files)
        has = f"was handed {described(wanted)} at its start" if wanted else "was handed no variables and no secrets"
        raise FloeError(
            f"{vm.name} {has}: it moves with the same, which {vm.host} does not keep",
            hint=f"floe move --host {vm.host} {' '.join([*map(_option, wanted), vm.name, target.name])}",
        )
    if given and vm.mark.environment != environment(vm.uuid, root.findtext("os/cmdline") or "", blobs):
        problem = f"{vm.name} was handed other variables or secrets at its start than it is given now"
        raise FloeError(problem, hint="the same files and values as at its start")
    return vm, {PurePosixPath(file).name: given[name] for name, file in files.items()}


def _option(blob: str) -> str:
    """Of `floe move`, by which it is given."""
    kind, _, name = blob.partition("/")
    return f"--secret {name}=FILE" if kind == "secret" else "--env-file FILE|-e K=V"


@contextmanager
def _lent(there: Vms, handing: Mapping[str, bytes]) -> Iterator[None]:
    """Files that a QEMU reads when it is started, and that lie there for no longer."""
    try:
        for file, content in handing.items():
            there.host.ask(partial(there.store.write, name=file, content=content))
        yield
    finally:
        if handing:
            with suppress(FloeError):  # the host is gone; what ended it is told
                there.host.ask(lambda c: there.store.forget(c, handing))


def _check_alike(vm: There, source: Host, target: Host) -> None:
    """Raises FloeError for hypervisors of which none takes the other's state."""
    ours, theirs = (host.ask(lambda c: f"{c.getType()} {why.dotted(c.getVersion())}") for host in (source, target))
    if ours != theirs:
        raise _not_live(vm, f"{source.name} has {ours}, {target.name} {theirs}", target)


def _not_live(vm: There, problem: str, target: Host) -> FloeError:
    there = f"--host {vm.host}"
    hint = f"floe stop {there} {vm.name} && floe rm {there} {vm.name}\n"
    hint += f"floe run --host {target.name} --detach --name {vm.name} {vm.mark.app}, with its options"
    return FloeError(f"{vm.name} cannot move while it runs: {problem}", hint=hint)


def _copied(source: Host, there: Vms, name: str, log: Log) -> int:
    """All that it has said by now is in the new log: so many bytes."""
    said = source.ask(log.news, deadline_s=BRING_S)
    there.host.ask(lambda c: there.store.write(c, name, said), deadline_s=BRING_S)
    return len(said)


def _sent(vm: There, source: Host, target: Host, way: Tunnel | str) -> None:
    libvirt = binding()
    flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    flags |= libvirt.VIR_MIGRATE_PAUSED | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    if isinstance(way, Tunnel):
        told = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"tcp:{LOOPBACK}:{way.port}",
            libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS: LOOPBACK,
        }
    else:
        told = {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp:{f'[{way}]' if ':' in way else way}"}

    def go(connection: Any, other: Any) -> None:
        connection.lookupByUUIDString(vm.uuid).migrate3(other, told, flags)

    try:
        source.ask_both(target, go, deadline_s=MOVE_S)
    except HostError as e:
        problem = f"{vm.name} stays on {source.name}: {e.message}"
        if isinstance(way, Tunnel):
            hint = f"by ssh it goes to {LOOPBACK}:{way.port} of {target.name}: its sshd must allow that "
            hint += "(AllowTcpForwarding), and the port be free: again"
            problem += f" ({said})" if (said := way.problem()) else ""
        else:
            hint = f"{target.name} must be reached from {source.name} at {way}, ports {PORTS}; --address names another"
        raise HostError(problem, hint=hint, code=e.code) from None


def _forgotten(connection: Any, vms: Vms, uuid: str) -> None:
    """Remove the files of a VM that is not there."""
    if uuid not in {domain.UUIDString() for domain in connection.listAllDomains()}:
        vms.store.forget(connection, [name for name in vms.store.names(connection) if name.startswith(f"{uuid}.")])


class _Steps:
    """What both hosts tell of a VM on its way, and when."""

    def __init__(self) -> None:
        self.arrived = threading.Event()  # all of it is there, or nothing more is to come
        self._stood: float | None = None
        self._went_on: float | None = None
        self._goes = threading.Event()

    def stands(self) -> None:
        self._stood = time.monotonic()

    def is_there(self) -> None:
        self.arrived.set()

    def goes_on(self) -> None:
        self._went_on = time.monotonic()
        self._goes.set()

    def wait(self, seconds: float) -> None:
        """Until it has arrived."""
        self.arrived.wait(seconds)

    def pause_s(self) -> float:
        """How long it stood still."""
        self._goes.wait(_EVENT_S)
        return self._went_on - self._stood if self._went_on is not None and self._stood is not None else 0.0


@contextmanager
def _watched(uuid: str, source: Host, target: Host) -> Iterator[_Steps]:
    libvirt = binding()
    steps = _Steps()
    suspended, resumed = libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_RESUMED
    listening = []
    for host, wanted in (
        (source, {suspended: steps.stands}),
        (target, {suspended: steps.is_there, resumed: steps.goes_on}),
    ):

        def told(
            connection: Any, domain: Any, event: int, detail: int, wanted: Mapping[int, Callable[[], None]]
        ) -> None:
            if domain.UUIDString() == uuid and event in wanted:
                wanted[event]()

        ask = methodcaller("domainEventRegisterAny", None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, told, wanted)
        listening.append((host, host.ask(ask)))
    try:
        yield steps
    finally:
        for host, number in listening:
            with suppress(FloeError):  # with the connection it ends, too
                host.ask(methodcaller("domainEventDeregisterAny", number))
