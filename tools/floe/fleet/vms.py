# SPDX-License-Identifier: MIT
"""VMs on a host: started, listed, ended, forgotten. All that is known of one lies there: its domain, the mark in it,
and files that begin with its UUID."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

from msgspec import structs

from floe.errors import EXIT_INTERRUPTED, EXIT_OUT_OF_MEMORY, EXIT_PANIC, FloeError, HostError, NotFound
from floe.fleet import domain, mark, store
from floe.fleet.binding import binding
from floe.fleet.connection import Host
from floe.fleet.disks import Disks
from floe.fleet.mark import Mark
from floe.fleet.store import Store
from floe.spec.disks import Disk
from floe.spec.guestline import guest_command_line
from floe.spec.handover import Blob
from floe.spec.vmspec import VmSpec

T = TypeVar("T")
START_S = 60.0
_NO_DOMAIN = 42  # virErrorNumber
_CODE_S = 2.0  # virtlogd hands on what QEMU wrote last
_LOOK_S = 0.1
HURRIED_S = 5.0  # as vm.STOP_GRACE_S: for the end of a VM whose owner is in a hurry
_FORWARD = re.compile(r"host forwarding rule '?(?:tcp|udp):[^:]*:([0-9]+)-")  # QEMU's words
_CODES_OF_RESETS = {122: "reset", 123: "deepsleep"}  # machine.reset(), and the end of a deep sleep: docs/exit-codes.md
ASKING_AGAIN = frozenset(_CODES_OF_RESETS.values())
_CAUSES = {EXIT_PANIC: "panic", EXIT_OUT_OF_MEMORY: "memory", **_CODES_OF_RESETS}


@dataclass(frozen=True)
class There:
    """A VM of a host's. state: running, paused, ended (the guest or floe ended it), crashed (QEMU failed). disks: by
    their names there; new_disks: those that were made for it just now."""

    host: str
    name: str
    uuid: str
    mark: Mark
    state: str
    accel: str
    machine: str
    code: int | None = None
    cause: str = ""
    disks: tuple[Disk, ...] = ()
    new_disks: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.state in ("running", "paused")

    @property
    def uptime(self) -> float:
        """Seconds since its start, to the end if somebody saw that; by the clocks of those who did."""
        end = time.time() if self.alive else self.mark.at or self.mark.created
        return max(0.0, end - self.mark.created)

    def as_dict(self) -> dict[str, Any]:
        """For --json: what a VM of this machine has there, as far as there is any."""
        return {
            "name": self.name,
            "host": self.host,
            "state": self.state,
            "app": self.mark.app,
            "profile": self.mark.profile,
            "image": self.mark.image,
            "uuid": self.uuid,
            "ports": self.mark.ports,
            "disks": [{"name": str(disk.path), "readonly": disk.readonly} for disk in self.disks],
            "memory": self.mark.memory,
            "accel": self.accel,
            "machine": self.machine,
            "created": self.mark.created,
            "uptime": round(self.uptime, 3),
            "project": self.mark.project,
            "service": self.mark.service,
            "replica": self.mark.replica,
            "addresses": {network: address for network, address in self.mark.addresses.items() if address},
            "environment": self.mark.environment,
            "exit_code": self.code,
            "cause": self.cause or None,
        }


@dataclass(frozen=True)
class Order:
    """A VM that is to be started. mark: what of it is known here, with the image's digest where that is; name None: one
    that is free, made of the spec's. begin: is called with the connection and the domain."""

    spec: VmSpec
    image: bytes
    mark: Mark
    name: str | None = None
    blobs: Sequence[Blob] = ()
    paused: bool = False
    begin: Callable[[Any, Any], None] | None = None  # of a domain that is defined, where it does not boot its image


class Vms:
    """The VMs of one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.store = Store(host)
        self.disks = Disks(host, self.store)

    # ---- looking ------------------------------------------------------------------------------------

    def all(self) -> list[There]:
        """By name. Raises HostError."""

        def look(connection: Any) -> list[There]:
            found = (self._there(connection, dom) for dom in connection.listAllDomains())
            return sorted((vm for vm in found if vm is not None), key=lambda vm: vm.name)

        return self.host.ask(look)

    def find(self, name: str) -> There:
        """Raises NotFound; FloeError for another's domain; HostError."""
        return self.on(name, lambda connection, dom, vm: vm)

    def on(self, name: str, work: Callable[[Any, Any, There], T], *, deadline_s: float = store.ASK_S) -> T:
        """What work(connection, domain, VM) returns. Raises as find() does."""

        def found(connection: Any) -> T:
            dom, vm = self._find(connection, name)
            return work(connection, dom, vm)

        return self.host.ask(found, deadline_s=deadline_s)

    # ---- a life -------------------------------------------------------------------------------------

    def start(self, order: Order) -> There:
        """Bring what it needs there, and start it. Raises FloeError, HostError."""
        if order.name is not None:
            self._check_free(order.name)
        spec = order.spec

        def begin(connection: Any) -> There:
            own = order.name or _free(connection, spec.name)
            self._claim(connection, spec.uuid, own)
            try:
                made = self.disks.provide(connection, spec.disks, spec.uuid)
                self._begin(connection, replace(order, mark=told, name=own), path)
            except BaseException:
                self._undo(connection, spec.uuid)
                raise
            return replace(self._find(connection, own)[1], new_disks=tuple(made))

        try:
            path, digest = self.store.bring(order.image, order.mark.image)
            now = time.time()
            told = structs.replace(
                order.mark,
                image=digest,
                environment=environment_of(spec, order.blobs),
                memory=spec.memory,
                created=now,
                begun=now,
            )
            return self.host.ask(begin, deadline_s=START_S if order.begin is None else store.BRING_S)
        except HostError as e:
            raise self._why(e, spec) from None

    def again(self, name: str, blobs: Sequence[Blob] = ()) -> There:
        """Start one that has ended; its log goes on. blobs: what it was handed, which its host has not kept:
        raises FloeError without. Raises as find() does, too."""

        def begin(connection: Any, dom: Any, vm: There) -> There:
            libvirt = binding()
            if vm.alive:
                return vm
            root = ElementTree.fromstring(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            if len(domain.handed(root)) != len(blobs):
                problem = f"{name} was handed variables or secrets, which {self.host.name} does not keep"
                raise FloeError(problem, hint=f"floe rm --host {self.host.name} {name}, and floe run as before")
            self.disks.provide(connection, vm.disks, vm.uuid)
            named = [(blob, f"{vm.uuid}{store.HANDED}{number}") for number, blob in enumerate(blobs)]
            self.store.forget(connection, [vm.uuid + domain.EXIT, *(file for _, file in named)])
            self.store.write(connection, vm.uuid + domain.EXIT, b"")
            for blob, file in named:
                self.store.write(connection, file, blob.content)
            _tell(dom, structs.replace(vm.mark, code=None, cause="", at=0.0, created=time.time(), ready=False))
            try:
                self._run(connection, vm.uuid, dom.create)
            finally:
                self.store.forget(connection, (file for _, file in named))
            return self._find(connection, name)[1]

        try:
            return self.on(name, begin, deadline_s=START_S)
        except HostError as e:
            raise self.disks.in_use(e) or e from None

    def stop(self, name: str, grace_s: float, hurry: threading.Event | None = None) -> There:
        """Ask it for its end by its power button; after grace_s it is ended. Of one that has ended: how. hurry: once
        that is set, HURRIED_S are enough. Raises as find() does."""
        vm = self.on(name, lambda connection, dom, vm: (vm.alive and grace_s > 0 and dom.shutdown(), vm)[1])
        if not vm.alive:
            return vm
        if grace_s > 0:
            self.wait(name, grace_s, hurry)
        return self.on(name, self._destroyed)

    def wait(self, name: str, seconds: float, hurry: threading.Event | None = None) -> There:
        """Until it has ended, or for so long. Raises as find() does."""
        end = time.monotonic() + seconds
        while (vm := self.find(name)).alive and time.monotonic() < end:
            if hurry is not None and hurry.is_set():
                end, hurry = min(end, time.monotonic() + HURRIED_S), None
            store.wait(_LOOK_S)
        return vm

    def tell(self, name: str, **changed: Any) -> None:
        """Write other values of these fields into its mark. Raises as find() does."""
        self.on(name, lambda connection, dom, vm: _tell(dom, structs.replace(vm.mark, **changed)))

    def remove(self, name: str, *, force: bool) -> None:
        """Forget one that has ended. Raises FloeError for a running one, unless `force` ends it; and as find() does."""

        def forget(connection: Any, dom: Any, vm: There) -> None:
            if vm.alive:
                if not force:
                    there = f"--host {self.host.name}"
                    hint = f"floe stop {there} {name}, or floe rm --force {there} {name}"
                    raise FloeError(f"{name} is running on {self.host.name}", hint=hint)
                dom.destroy()
            dom.undefine()
            self._forget_files(connection, vm.uuid)

        self.on(name, forget)

    def xml(self, spec: VmSpec, told: Mark, name: str) -> str:
        """What start() would have libvirt define, of an image that is brought there first. Raises UsageError; NotFound
        for a disk that is not there."""
        folder = f"/{store.POOL}"
        sizes = self.host.ask(lambda c: self.disks.sizes(c, spec.disks)) if spec.disks else ()
        files = domain.Files.of(folder, spec.uuid, f"{folder}/{spec.elf.name}", disks=sizes)
        return domain.hosted(spec, files, told, name)

    def collect(self) -> int:
        """Remove files that no domain needs any more; how many bytes that was. Raises HostError."""

        def work(connection: Any) -> int:
            def kernels() -> set[str]:
                domains = (ElementTree.fromstring(dom.XMLDesc()) for dom in connection.listAllDomains())
                return {root.findtext("os/kernel") or "" for root in domains}

            def uuids() -> set[str]:
                return {dom.UUIDString() for dom in connection.listAllDomains()}

            return self.store.collect(connection, kernels, uuids) + self.disks.collect(connection)

        return self.host.ask(work, deadline_s=store.BRING_S)

    # ---- steps, with the connection -----------------------------------------------------------------

    def _why(self, error: HostError, spec: VmSpec) -> FloeError:
        """In words of what was asked for."""
        if "No space left on device" in error.message:
            return self.store.full()
        if in_use := self.disks.in_use(error):
            return in_use
        taken = _FORWARD.search(error.message)
        for forward in spec.forwards:
            if taken and int(taken[1]) == forward.host_port:
                problem = f"{forward.option()}: the port is in use on {self.host.name}, or is not allowed there"
                return HostError(problem, hint="another port")
        for card in spec.cards:
            if card.kind == "bridge" and f"'{card.name}': No such device" in error.message:
                hint = f"there: ip link add {card.name} type bridge && ip link set {card.name} up"
                return HostError(f"{self.host.name} has no bridge {card.name}", hint=hint)
        if (last := error.message.rpartition("qemu-system-x86_64: ")[2]) != error.message:
            return HostError(f"QEMU on {self.host.name} refuses: {last}", hint=error.hint, code=error.code)
        return error

    def _check_free(self, name: str) -> None:
        def look(connection: Any) -> None:
            try:
                vm = self._find(connection, name)[1]
            except NotFound:
                return
            there = f"--host {self.host.name}"
            how = "there is a running VM" if vm.alive else "there is a VM that has ended"
            free = f"floe stop {there} {name} && floe rm {there} {name}" if vm.alive else f"floe rm {there} {name}"
            raise FloeError(f"--name {name}: {how} of that name on {self.host.name}", hint=f"another name, or: {free}")

        self.host.ask(look)

    def _find(self, connection: Any, name: str) -> tuple[Any, There]:
        try:
            dom = connection.lookupByName(name)
        except binding().libvirtError as e:
            if e.get_error_code() != _NO_DOMAIN:
                raise
            there = f"--host {self.host.name}"
            raise NotFound(f"there is no VM {name} on {self.host.name}", hint=f"floe ps --all {there}") from None
        vm = self._there(connection, dom)
        if vm is None:
            problem = f"{name} is a domain on {self.host.name} that floe has not made, and does not touch"
            raise FloeError(problem, hint="another name")
        return dom, vm

    def _there(self, connection: Any, dom: Any) -> There | None:
        """None for another's, and for one that goes meanwhile."""
        libvirt = binding()
        try:
            root = ElementTree.fromstring(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            told = mark.of(root)
            if told is None:
                return None
            state, reason = dom.state()
            kind = root.find("os/type")
            vm = There(
                self.host.name,
                dom.name(),
                dom.UUIDString(),
                told,
                _state(libvirt, state, reason),
                "kvm" if root.get("type") == "kvm" else "tcg",
                (kind.get("machine") if kind is not None else "") or "?",
                disks=tuple(Disk(Path(name), readonly) for name, readonly in domain.names_of_disks(root)),
            )
        except libvirt.libvirtError as e:
            if e.get_error_code() == _NO_DOMAIN:
                return None
            raise
        return vm if vm.alive else self._ended(connection, dom, vm, reason)

    def _ended(self, connection: Any, dom: Any, vm: There, reason: int) -> There:
        """With how it ended, which is written down once it is known."""
        libvirt = binding()
        if vm.mark.cause:
            return replace(vm, code=vm.mark.code, cause=vm.mark.cause)
        said = self._said_code(connection, vm.uuid, wait=reason == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
        if said is not None:
            code, cause = said, _CAUSES.get(said, "exit")
        elif reason == libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED:
            code, cause = EXIT_INTERRUPTED, "interrupt"
        elif reason == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN:
            code, cause = EXIT_PANIC, "crash"  # a reset that nobody asked for is a triple fault
        else:
            return replace(vm, cause="unknown" if reason != libvirt.VIR_DOMAIN_SHUTOFF_FAILED else "failed")
        told = structs.replace(vm.mark, code=code, cause=cause, at=time.time())
        with contextlib.suppress(libvirt.libvirtError):  # it is removed; or the connection may only read
            _tell(dom, told)
        return replace(vm, mark=told, code=code, cause=cause)

    def _said_code(self, connection: Any, own: str, *, wait: bool) -> int | None:
        """The exit code that the guest has written."""
        said = store.read_when(lambda: self.store.read(connection, own + domain.EXIT), _CODE_S if wait else 0)
        return (said[-1] - 1) & 0x7F if said else None

    def _destroyed(self, connection: Any, dom: Any, vm: There) -> There:
        libvirt = binding()
        if vm.alive:
            try:
                dom.destroy()
            except libvirt.libvirtError as e:
                if e.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # it has just ended
                    raise
        return self._find(connection, vm.name)[1]

    def _claim(self, connection: Any, own: str, name: str) -> None:
        """From here on its UUID is ours: libvirt would take a second definition for a new one of the same domain."""
        try:
            self.store.write(connection, own + domain.CONSOLE, b"")
        except binding().libvirtError as e:
            if e.get_error_code() not in store.EXISTS:
                raise
            problem = (
                f"{name}: a VM with its UUID is just being made on {self.host.name}, or was begun there and given up"
            )
            raise FloeError(
                problem, hint=f"another --name, or, of what was given up: floe host gc {self.host.name}"
            ) from None

    def _begin(self, connection: Any, order: Order, path: str) -> None:
        libvirt = binding()
        own, folder = order.spec.uuid, self.store.folder(connection)
        named = [(blob, f"{own}{store.HANDED}{number}") for number, blob in enumerate(order.blobs)]
        for ending in (domain.SERIAL, domain.EXIT):
            self.store.write(connection, own + ending, b"")
        handed = [(blob.name, self.store.write(connection, file, blob.content)) for blob, file in named]
        sizes = self.disks.sizes(connection, order.spec.disks)
        files = domain.Files.of(folder, own, path, tuple(handed), sizes)
        dom = connection.defineXML(domain.hosted(order.spec, files, order.mark, order.name or ""))
        flags = libvirt.VIR_DOMAIN_START_PAUSED if order.paused else 0
        begin = partial(order.begin, connection, dom) if order.begin else partial(dom.createWithFlags, flags)
        self._run(connection, own, begin)
        self.store.forget(connection, (file for _, file in named))  # QEMU has read them

    def _run(self, connection: Any, own: str, begin: Callable[[], object]) -> None:
        """Begin it. What ends before libvirt is done with its start has run all the same, though libvirt, which ends a
        QEMU whose guest has, calls that a start that failed."""
        try:
            begin()
        except binding().libvirtError as e:
            if self._said_code(connection, own, wait="terminating on signal" in str(e)) is None:
                raise

    def _undo(self, connection: Any, own: str) -> None:
        """What is there of a VM that does not start."""
        libvirt = binding()
        with contextlib.suppress(libvirt.libvirtError):  # there is none, or the host is gone
            dom = connection.lookupByUUIDString(own)
            if dom.isActive():
                dom.destroy()
            dom.undefine()
        with contextlib.suppress(libvirt.libvirtError):  # the first error is the one to be told
            self._forget_files(connection, own)

    def _forget_files(self, connection: Any, own: str) -> None:
        names = self.store.names(connection)
        self.store.forget(connection, (name for name in names if name.startswith(f"{own}.")))


def _tell(dom: Any, told: Mark) -> None:
    libvirt = binding()
    kind, where = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    dom.setMetadata(kind, told.text(), mark.PREFIX, mark.NAMESPACE, where)


def environment_of(spec: VmSpec, blobs: Sequence[Blob]) -> str:
    """Mark.environment of a VM that is started so: the same for the same variables, secrets and arguments."""
    return environment(spec.uuid, guest_command_line(spec), blobs)


def environment(own: str, line: str, blobs: Sequence[Blob]) -> str:
    """The same, of a VM's UUID and its command line."""
    return mark.digest_of(own, line, {blob.name: blob.content for blob in blobs})


def _state(libvirt: Any, state: int, reason: int) -> str:
    if state == libvirt.VIR_DOMAIN_PAUSED:
        return "paused"
    if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED):
        failed = (libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)
        return "crashed" if state == libvirt.VIR_DOMAIN_CRASHED or reason in failed else "ended"
    return "running"


def _free(connection: Any, stem: str) -> str:
    """A name like this one that no domain has."""
    taken = {dom.name() for dom in connection.listAllDomains()}
    for number in range(1, 10000):
        name = stem if number == 1 else f"{stem}-{number}"
        if name not in taken:
            return name
    raise FloeError(f"no free name like {stem}")
