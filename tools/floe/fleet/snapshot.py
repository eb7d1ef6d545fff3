# SPDX-License-Identifier: MIT
"""A running VM of a host as a file, and VMs that go on from it on a host with the same hypervisor.

The guest is asked over its family's line, at which nobody is else: it stands between two steps of its script until it
is told that it was kept, or, in another machine, who it is now. Its state is what libvirt's core dump has of it, which
is QEMU's migration stream; with a head and a domain in front of it that is an image which libvirt restores. The file is
one of snapshot/file.py, whose `devices` are all of the stream.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import shlex
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

from floe.errors import FloeError, HostError, UsageError, VmError
from floe.family.capture import Captured, not_kept
from floe.family.copies import PrivateDisks
from floe.family.frames import KEPT, BrokenFrame, Decoder, Frame, Kind, encode, numbers
from floe.family.member import identity
from floe.fleet import connection, domain, why
from floe.fleet.binding import binding
from floe.fleet.connection import Host
from floe.fleet.console import Line
from floe.fleet.driver import Elsewhere
from floe.fleet.mark import Mark
from floe.fleet.store import BRING_S, IMAGE, STATE
from floe.fleet.vms import Order, There, Vms
from floe.image import elf
from floe.snapshot import file
from floe.snapshot.file import Snapshot
from floe.spec import network
from floe.spec.handover import described
from floe.spec.network import Card
from floe.spec.ports import Forward, forward_of
from floe.spec.vmspec import DEFAULT_HYPERVISOR, VmSpec

T = TypeVar("T")
HYPERVISOR = "libvirt"  # VmSpec.hypervisor of what was kept
TOP = 1  # a VM's number in its family of one
_STEP_S = 30.0  # until a script is between two steps
_ANSWER_S = 20.0
_LOOK_S = 0.2
_STREAM = b"QEVM"  # QEMU_VM_FILE_MAGIC, migration/savevm.c
# virQEMUSaveHeader (libvirt, src/qemu/qemu_saveimage.h) of version 2: magic, version, bytes of the domain's XML,
# whether it ran, compression, where a cookie is, zeros.
_HEAD = struct.Struct("<16s5I56x")
_MAGIC, _VERSION, _RUNNING = b"LibvirtQemudSave", 2, 1


@dataclass(frozen=True)
class _Whole:
    """A VM that can be kept."""

    vm: There
    plan: VmSpec
    key: dict[str, str]


def keep(vms: Vms, name: str, path: Path) -> int:
    """Write the file; how many bytes of disk it takes. The VM goes on in any case. Raises FloeError, HostError."""
    whole = vms.on(name, _checked)
    uuid, digest = whole.vm.uuid, whole.vm.mark.image
    image = vms.host.ask(lambda c: vms.store.read(c, digest + IMAGE), deadline_s=BRING_S)
    if hashlib.sha256(image).hexdigest() != digest:
        raise HostError(f"{vms.host.name} gave another image than {name} has")
    try:
        with _Guest(vms, whole.vm) as guest:
            guest.kept(lambda: _dump(vms, whole.vm))
        stream = _to_its_end(connection.started(lambda: _dumped(vms, whole.vm)))  # libvirt removes no file meanwhile
    finally:
        with suppress(FloeError):  # the first error is the one to be told
            _to_its_end(connection.started(lambda: vms.host.ask(lambda c: _forgotten(vms, c, uuid + STATE))))
    with _image_file(image) as elf_path, tempfile.TemporaryFile() as nothing:
        captured = Captured(
            replace(whole.plan, elf=elf_path), nothing.fileno(), stream, PrivateDisks(()), whole.key["version"], ()
        )
        try:
            return file.write(path, captured, blobs=(), app=whole.vm.mark.app, key=whole.key)
        except OSError as e:
            raise FloeError(f"cannot write {path}: {e.strerror}") from e


def check(snapshot: Snapshot, host: Host, **asked: str) -> None:
    """Raises UsageError where it cannot go on there, with all that differs. asked: what the user wants to be so;
    VmError for an accelerator that does not serve there; FloeError for what no snapshot has."""
    plan = snapshot.content.plan
    if plan.hypervisor != HYPERVISOR:
        hint = f"floe run --from {shlex.quote(snapshot.shown)}, without --host and FLOE_HOST"
        raise UsageError(f"{snapshot.shown} was not made on a host of libvirt's", hint=hint)
    is_ours = plan.machine in Elsewhere.machines and plan.accel in ("tcg", "kvm")
    if not is_ours or not all(map(_can_be_asked_for, plan.cards)) or plan.disks or plan.secrets:
        hint = f"make it anew: floe snapshot --host {host.name} NAME FILE"
        raise FloeError(f"{snapshot.shown} was not made by floe snapshot", hint=hint)
    Elsewhere(host).choose_accel(plan.accel)
    if asked.get("hypervisor") == DEFAULT_HYPERVISOR:  # which libvirt's is
        del asked["hypervisor"]
    here = host.ask(lambda c: _key(c, plan.machine, plan.accel)) | {n: value for n, value in asked.items() if value}
    snapshot.check_alike(here, host.name)


def go_on(vms: Vms, snapshot: Snapshot, forwards: Sequence[Forward], name: str | None, uuid: str) -> There:
    """Start a VM that goes on from it, which check() found to be possible. name None: one that is free, made of the
    image's. Raises what Vms.start() does; VmError."""
    image, content = snapshot.read("elf"), snapshot.content
    with _image_file(image) as path:
        made = elf.read(path).content
        spec = replace(content.plan, elf=path, name=str(made["name"]), uuid=uuid, forwards=tuple(forwards))
        told = Mark(
            app=content.app,
            profile=str(made["profile"]),
            image="",
            memory=spec.memory,
            ports=[forward.told() for forward in forwards],
            verified=bool(spec.verified),
        )

        def load(connection: Any, dom: Any) -> None:
            _restored(vms, connection, dom, snapshot.state.devices)

        starting = connection.started(lambda: vms.start(Order(spec, image, told, name, begin=load)))
        try:
            vm = _to_its_end(starting)
        except KeyboardInterrupt:
            if starting.exception() is None:
                _removed(vms, starting.result())
            raise
    try:
        with _Guest(vms, vm) as guest:
            guest.become(replace(spec, name=vm.name), lambda: vms.on(vm.name, lambda c, dom, vm: dom.resume()))
        return replace(vms.find(vm.name), new_disks=vm.new_disks)
    except BaseException:
        _removed(vms, vm)
        raise


def _removed(vms: Vms, vm: There) -> None:
    """It did not come to anything."""
    with suppress(FloeError, KeyboardInterrupt):  # the first error is the one to be told
        _to_its_end(connection.started(lambda: vms.remove(vm.name, force=True)))


def _to_its_end(work: Future[T], interrupt: Callable[[], None] = lambda: None) -> T:
    """What it comes to. Ctrl-C calls `interrupt`, and is raised when it has ended all the same."""
    interrupted = None
    while True:
        try:
            result = work.result()
            break
        except KeyboardInterrupt as e:
            interrupted = e
            interrupt()
        except FloeError:
            if interrupted is not None:
                raise interrupted from None
            raise
    if interrupted is not None:
        raise interrupted
    return result


class _Guest:
    """A guest's family, as far as it is asked of it."""

    def __init__(self, vms: Vms, vm: There) -> None:
        """Raises FloeError where another asks it just now; HostError."""
        self._name = vm.name
        self._heard: queue.Queue[bytes] = queue.Queue()
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self._given_up = threading.Event()
        self._line = Line(vms, vm, domain.FAMILY, self._heard.put)

    def __enter__(self) -> _Guest:
        return self

    def __exit__(self, *exc: object) -> None:
        self._line.close()

    def kept(self, dump: Callable[[], None]) -> None:
        """Have dump() called while it stands. From when it stands Ctrl-C waits until it goes on."""
        _to_its_end(connection.started(lambda: self._kept(dump)), self._given_up.set)

    def _kept(self, dump: Callable[[], None]) -> None:
        self._send(Kind.SNAPSHOT)
        late = f"the script of {self._name} did not come to a point between two steps within {_STEP_S:g} s"
        first = self._next((Kind.FORK, Kind.SNAPSHOT), _STEP_S, late)
        if first.kind is Kind.SNAPSHOT or first.payload != KEPT:
            raise not_kept(first.number() if first.kind is Kind.SNAPSHOT else errno.EPROTO)
        self._given_up.clear()
        result = -errno.EAGAIN
        try:
            self._send(Kind.PREPARED)
            self._next((Kind.FROZEN,), _ANSWER_S, f"{self._name} does not stand still")
            dump()
            result = 1
        finally:
            self._send(Kind.RESULT, numbers(result))

    def become(self, spec: VmSpec, resume: Any) -> None:
        """It is a copy that stands: let it be this one, and its script go on."""
        self._send(Kind.HOLD)
        self._send(Kind.RESULT, numbers(0) + identity(TOP, 0, spec).encode())
        resume()
        self._next((Kind.HOLD,), _ANSWER_S, f"{spec.name} did not become a machine of its own")
        self._send(Kind.GO)
        self._next((Kind.GO,), _ANSWER_S, f"{spec.name} does not go on")

    def _send(self, kind: Kind, payload: bytes = b"") -> None:
        self._line.send(encode(kind, payload))

    def _next(self, kinds: tuple[Kind, ...], seconds: float, late: str) -> Frame:
        """The next frame of these kinds. Raises VmError."""
        end = time.monotonic() + seconds
        while True:
            is_late = time.monotonic() >= end
            while self._frames:  # what has come is looked at first
                if (frame := self._frames.pop(0)).kind in kinds:
                    return frame
            if self._given_up.is_set():
                raise VmError("nobody waits for the state any more")
            if is_late:
                raise VmError(late)
            with suppress(queue.Empty):
                data = self._heard.get(timeout=_LOOK_S)
                if not data:
                    raise VmError(f"{self._name} has ended, or its host is gone")
                try:
                    self._frames += self._decoder.feed(data)
                except BrokenFrame as e:
                    raise VmError(f"{self._name} sent {e}") from None


def _checked(connection: Any, dom: Any, vm: There) -> _Whole:
    """Raises FloeError for a VM that cannot be kept."""
    if not vm.alive:
        raise FloeError(f"{vm.name} has ended", hint=f"floe start --host {vm.host} {vm.name}")
    if vm.state != "running":
        raise FloeError(f"{vm.name} is {vm.state} on {vm.host}", hint=f"there: virsh resume {vm.name}")
    root = ElementTree.fromstring(dom.XMLDesc(binding().VIR_DOMAIN_XML_INACTIVE))
    if root.find(f"devices/channel/target[@name='{domain.FAMILY}']") is None:
        problem = f"{vm.name} does not fork, and cannot be copied: nothing in it imports vm"
        raise UsageError(problem, hint="fork = true in its image.toml")
    if vm.disks:
        hint = f"floe host disk pull {vm.host} {vm.disks[0].path} keeps a disk, once no VM writes it"
        raise UsageError(f"{vm.name} has disks, and is not kept on another host", hint=hint)
    if names := domain.handed(root):
        problem = f"{vm.name} was handed {described(names)} at its start, which {vm.host} does not keep"
        raise UsageError(problem, hint="without --host the file holds them; or hand them over as arguments")
    if root.find("devices/interface") is not None:
        raise UsageError("a VM with a network card of kind bridge is not copied", hint="--net user")
    machine = "microvm" if vm.machine == "microvm" else "q35"
    cards, switches = _cards(root)
    plan = VmSpec(
        elf=Path(vm.mark.image + IMAGE),
        memory=vm.mark.memory,
        machine=machine,
        accel=vm.accel,
        cards=cards,
        forwards=tuple(forward_of(told) for told in vm.mark.ports),
        switches=switches,
        hypervisor=HYPERVISOR,
        name=vm.name,
        children=0,
        verified=vm.mark.image if vm.mark.verified else "",
    )
    return _Whole(vm, plan, _key(connection, machine, vm.accel))


def _cards(root: ElementTree.Element) -> tuple[tuple[Card, ...], tuple[str, ...]]:
    """The cards of a domain of ours that has user cards alone, and the other words of its command line. Of the name
    servers that this tells any card may have any: whose each is QEMU's words tell."""
    args = [one.get("value", "") for one in root.iter(f"{{{domain.QEMU}}}arg")]
    nets, devices = ([_options(one) for one in args if one.startswith(kind)] for kind in ("user,", "virtio-net-"))
    line = (root.findtext("os/cmdline") or "").split(" ")
    words, rest = [_options(word) for word in line[: len(nets)]], line[len(nets) :]
    words6 = [_options(word) for word in rest[: len(nets)] if word.startswith("ip6=")]
    cards = []
    for net, device, word, word6 in zip(nets, devices, words, words6 or [{}] * len(nets), strict=True):
        own = (
            {"gw": net.get("host"), "dns": net.get("dns")} if "/" in word.get("ip", "") else {}
        )  # else the guest asks for them
        values = {"ip": word.get("ip"), **own, "ip6": word6.get("ip6"), "mac": device.get("mac")}
        cards.append(network.parse_card(",".join(["user", *(f"{k}={v}" for k, v in values.items() if v)])))
    return tuple(cards), tuple(rest[len(words6) :])


def _options(words: str) -> dict[str, str]:
    """Of a card, as QEMU and the guest are told them: `a=b,c=d`."""
    pairs = (word.partition("=") for word in words.split(","))
    return {key: value for key, equals, value in pairs if equals}


def _can_be_asked_for(card: Card) -> bool:
    """Whether --net can have made it. What it says becomes words of the command line of a host's QEMU."""
    spares = [f"+{count}" if count else "" for count in (card.spare, card.spare6)]
    values = {"ip": card.ip + spares[0], "gw": card.gateway, "dns": card.dns, "mac": card.mac}
    values["ip6"] = card.ip6 + spares[1]
    try:
        return network.parse_card(",".join(["user", *(f"{k}={v}" for k, v in values.items() if v)])) == card
    except UsageError:
        return False


def _key(connection: Any, machine: str, accel: str) -> dict[str, str]:
    """What must be the same where it is to go on."""
    cpu = ElementTree.fromstring(connection.getCapabilities()).find("host/cpu")
    seen = "" if cpu is None or accel != "kvm" else f"{cpu.findtext('vendor')} {cpu.findtext('model')}"
    version = f"{connection.getType()} {why.dotted(connection.getVersion())}"
    return {"hypervisor": HYPERVISOR, "version": version, "machine": machine, "accel": accel, "cpu": seen}


def _dump(vms: Vms, vm: There) -> None:
    """Write all of its state into a file there. It stands meanwhile, and runs then."""
    path = f"{{}}/{vm.uuid}{STATE}"
    vms.on(vm.name, lambda c, dom, vm: dom.coreDump(path.format(vms.store.folder(c)), 0), deadline_s=BRING_S)


def _forgotten(vms: Vms, connection: Any, name: str) -> None:
    vms.store.names(connection)  # looks at the files: libvirt has made it without its pool
    vms.store.forget(connection, [name])


def _dumped(vms: Vms, vm: There) -> bytes:
    """What _dump() has written. Raises HostError."""

    def read(connection: Any) -> bytes:
        vms.store.names(connection)  # looks at the files: libvirt has made one without its pool
        return vms.store.read(connection, vm.uuid + STATE)

    stream = vms.host.ask(read, deadline_s=BRING_S)
    if not stream.startswith(_STREAM):
        hint = "there, in /etc/libvirt/qemu.conf: no dump_image_format"
        raise HostError(f"{vms.host.name} does not give the state of {vm.name} as it is", hint=hint)
    return stream


def _restored(vms: Vms, connection: Any, dom: Any, stream: bytes) -> None:
    """Its domain, which is defined, has this state, and stands."""
    libvirt = binding()
    described = dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE).encode() + b"\0"
    name = dom.UUIDString() + STATE
    head = _HEAD.pack(_MAGIC, _VERSION, len(described), _RUNNING, 0, 0)
    try:
        path = vms.store.write(connection, name, head + described + stream)
        connection.restoreFlags(path, None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
    finally:
        with suppress(libvirt.libvirtError):  # the host is gone; what ended it is told
            vms.store.forget(connection, [name])


@contextmanager
def _image_file(image: bytes) -> Iterator[Path]:
    """A file of this process's."""
    fd = os.memfd_create("floe-elf", os.MFD_CLOEXEC)
    with os.fdopen(fd, "wb") as made:
        made.write(image)
        made.flush()
        yield Path(f"/proc/self/fd/{fd}")
