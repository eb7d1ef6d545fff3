# SPDX-License-Identifier: MIT
"""A VM as a domain of libvirt's (libvirt.org/formatdomain.html) with an image as its kernel: one to be looked at
(`floe export`), and one of a host's, whose output and exit code go to files there.

On a host it is a microvm, as here, unless a q35 is asked for. The guest writes its exit code to isa-debugcon's port,
by which the byte gets into a file: isa-debug-exit would end QEMU with a status that nobody there keeps. What the guest
says goes to files by virtlogd, which bounds them.

The console is a channel of libvirt's with a UNIX socket, behind which QEMU has a virtconsole, by `<qemu:override>`: of
a virtserialport, which libvirt takes, QEMU drops all that is said while nobody reads; of libvirt's own console, a pty,
it drops what does not fit into some KiB, from the log too. Of the UNIX socket it drops what a connected client is too
slow for, but not from the log, which who wants all reads. A guest takes its family for gone whose virtserialport is
hung up: the line by which a snapshot is asked for is a virtconsole, too. A user network's ports have no element in
libvirt 9.0's XML, and go by `<qemu:commandline>`: QEMU makes devices that are written so before those that are JSON, as
libvirt's are, and the guest sees user cards first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from floe.errors import UsageError
from floe.fleet.mark import Mark
from floe.qemu import words
from floe.qemu.commandline import check_room
from floe.spec.disks import Disk
from floe.spec.guestline import guest_command_line
from floe.spec.network import Card
from floe.spec.vmspec import VmSpec

NETWORK = "default"  # libvirt's own, with DHCP
CARDS: tuple[str, ...] = ("user", "bridge")  # kinds that a host can have
CONSOLE, SERIAL, EXIT, SOCKET = ".console", ".serial", ".exit", ".sock"  # of files, behind a VM's UUID
_FAMILY_SOCKET = ".family"
DISK = "disk-"  # begins a disk's file, so that no UUID and no digest is one
HEAD = 64 << 10  # bytes in front of what the VM has as its disk: fleet/disks.py
QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
CHANNEL = "floe.console"
FAMILY = "floe.family"  # where a snapshot is asked for
_ALIAS, _FAMILY_ALIAS = "ua-floe-console", "ua-floe-family"  # libvirt takes names of others that begin so
_EXIT_PORT = "0xf4"
_EXIT_READS = "isa-debugcon.readback=255"  # as where nothing is: hal/power.c waits behind what is
# With it libvirt asks QEMU for each of some 300 features of the processor at each start, and QEMU's monitor reads byte
# by byte: 0.2 s of a processor. Without it libvirt reads all of them at once, as registers; a processor that named a
# feature of an MSR (rdctl-no, vmx-...) would not start then.
_CPU_BY_NAME = "cpu-unavailable-features"
_FIRST_SLOT = 0x10  # of user cards on a q35
_PREFIX = "opt/floe/"  # of names in fw_cfg: port/hal/fwcfg.c


@dataclass(frozen=True)
class Files:
    """Paths on the host: the image, what the guest says, the folder with disks, and what it is handed, by name; and how
    many bytes each disk has."""

    image: str
    console: str
    serial: str
    exit: str
    socket: str  # the console's
    folder: str
    blobs: tuple[tuple[str, str], ...] = ()
    disks: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, folder: str, own: str, image: str, blobs: tuple[tuple[str, str], ...] = (), disks: tuple[int, ...] = ()
    ) -> Files:
        """Those of a VM in a folder; own: its UUID."""
        console, serial, ended, sock = (f"{folder}/{own}{ending}" for ending in (CONSOLE, SERIAL, EXIT, SOCKET))
        return cls(image, console, serial, ended, sock, folder, blobs, disks)


def exported(spec: VmSpec, *, networked: bool) -> str:
    """The XML of a q35, with a card on libvirt's own network where it is networked. Raises UsageError."""
    root, devices = _machine(spec, "q35", str(spec.elf), (Card("bridge", NETWORK),) if networked else (), "restart")
    if networked:
        card = _add(devices, "interface", type="network")
        _add(card, "source", network=NETWORK)
        _add(card, "model", type="virtio")
    _add(devices, "serial", type="pty")
    _common(devices, "")
    return _text_of(root)


def hosted(spec: VmSpec, files: Files, mark: Mark, name: str) -> str:
    """The XML of a host's domain; spec.uuid is its UUID. Raises UsageError for what cannot be had there."""
    _check(spec)
    # A panic ends with a reset, too, and would be the next start for ever.
    root, devices = _machine(spec, spec.machine, files.image, spec.cards, "destroy")
    root.set("xmlns:qemu", QEMU)
    _text(root, "uuid", spec.uuid)
    next(root.iter("name")).text = name
    root.append(mark.element())
    if files.blobs:
        handed = _add(root, "sysinfo", type="fwcfg")
        for blob, path in files.blobs:
            _add(handed, "entry", name=_PREFIX + blob, file=path)
    address = "virtio-mmio" if spec.machine == "microvm" else ""
    _add(_add(devices, "serial", type="file"), "source", path=files.serial, append="on")
    ending = _add(devices, "serial", type="file")
    _add(ending, "source", path=files.exit, append="on")
    _add(_add(ending, "target", type="isa-debug"), "model", name="isa-debugcon")
    _add(ending, "address", type="isa", iobase=_EXIT_PORT)
    console = _add(devices, "channel", type="unix")
    _add(console, "source", mode="bind", path=files.socket)
    _add(console, "target", type="virtio", name=CHANNEL)
    _add(console, "alias", name=_ALIAS)
    _add(console, "log", file=files.console, append="on")
    _on(_add(devices, "controller", type="virtio-serial", index="0"), address)
    ours = [_ALIAS]
    if spec.children is not None:  # behind the console's device, by which the guest knows it
        family = _add(devices, "channel", type="unix")
        _add(family, "source", mode="bind", path=f"{files.folder}/{spec.uuid}{_FAMILY_SOCKET}")
        _add(family, "target", type="virtio", name=FAMILY)
        _add(family, "alias", name=_FAMILY_ALIAS)
        _add(family, "address", type="virtio-serial", controller="1", bus="0", port="1")
        _on(_add(devices, "controller", type="virtio-serial", index="1"), address)
        ours.append(_FAMILY_ALIAS)
    _common(devices, address)
    for index, (disk, size) in enumerate(zip(spec.disks, files.disks, strict=True)):
        drive = _disk(devices, disk, f"{files.folder}/{DISK}{disk.path}", size)
        _add(drive, "target", dev=f"vd{chr(ord('a') + index)}", bus="virtio")
        _on(drive, address)
    for card in spec.cards:
        if card.kind == "bridge":
            bridged = _add(devices, "interface", type="bridge")
            _add(bridged, "mac", address=card.mac)
            _add(bridged, "source", bridge=card.name)
            _add(bridged, "model", type="virtio")
            if card.mtu:
                _add(bridged, "mtu", size=str(card.mtu))
            _on(bridged, address)
    override = _add(root, "qemu:override")
    for alias in ours:
        frontend = _add(_add(override, "qemu:device", alias=alias), "qemu:frontend")
        _add(frontend, "qemu:property", name="driver", type="string", value="virtconsole")
    _add(_add(root, "qemu:capabilities"), "qemu:del", capability=_CPU_BY_NAME)
    line = _add(root, "qemu:commandline")
    # Nobody reads the PIT, and with KVM each of its ticks wakes a VM that waits: 250 idle ones took a processor. With
    # ACPI, which has the button, a microvm's firmware is SeaBIOS: QEMU 10's takes 4 s where KVM emulates ring 0.
    own = ["-machine", "pit=off", "-bios", "qboot.rom"] if spec.machine == "microvm" else []
    for word in [*own, "-global", _EXIT_READS, *_user_cards(spec)]:
        _add(line, "qemu:arg", value=word)
    return _text_of(root)


def handed(root: ElementTree.Element) -> dict[str, str]:
    """The names of what a host's domain is handed at its start, and in which file each lies then."""
    entries = root.findall("sysinfo/entry")
    return {entry.get("name", "").removeprefix(_PREFIX): entry.get("file", "") for entry in entries}


def _machine(
    spec: VmSpec, machine: str, image: str, cards: Sequence[Card], on_reboot: str
) -> tuple[ElementTree.Element, ElementTree.Element]:
    """What each has: the domain, and its devices, of which there is none yet."""
    root = ElementTree.Element("domain", type=spec.accel if spec.accel == "kvm" else "qemu")
    _text(root, "name", spec.name)
    _text(root, "memory", str(spec.memory >> 10), unit="KiB")
    if spec.small_pages:  # which memory by memfd has, but where a host's administrator wants it otherwise
        _add(_add(root, "memoryBacking"), "source", type="memfd")
    _text(root, "vcpu", "1")
    system = _add(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine=machine)
    _text(system, "kernel", image)
    _text(system, "cmdline", guest_command_line(spec, cards))
    _add(_add(root, "features"), "acpi")
    if spec.accel == "kvm":
        cpu = _add(root, "cpu", mode="host-passthrough")
        _add(cpu, "feature", policy="disable", name="arch-capabilities")
    else:
        _add(root, "cpu", mode="maximum")
    _text(root, "on_poweroff", "destroy")
    _text(root, "on_reboot", on_reboot)
    _text(root, "on_crash", "destroy")
    return root, _add(root, "devices")


def _common(devices: ElementTree.Element, address: str) -> None:
    _add(devices, "controller", type="usb", model="none")
    _add(devices, "memballoon", model="none")
    source = _add(devices, "rng", model="virtio")
    _text(source, "backend", "/dev/urandom", model="random")
    _on(source, address)


def _disk(devices: ElementTree.Element, disk: Disk, path: str, size: int) -> ElementTree.Element:
    """As qemu/words.py's blockdev() has one of this machine."""
    drive = _add(devices, "disk", type="file", device="disk")
    words = {"cache": "writeback", "discard": "unmap", "error_policy": "report", "rerror_policy": "report"}
    _add(drive, "driver", name="qemu", type="raw", io="threads", **words)
    source = _add(drive, "source", file=path)
    _add(_add(source, "slices"), "slice", type="storage", offset=str(HEAD), size=str(size))
    if disk.readonly:
        _add(drive, "readonly")
    return drive


def disks_of(root: ElementTree.Element) -> list[tuple[str, bool]]:
    """Of a domain's XML: each disk that is a file: its path, and whether it is only read."""
    found = ((drive.find("source"), drive.find("readonly")) for drive in root.findall("devices/disk"))
    return [(source.get("file", ""), readonly is not None) for source, readonly in found if source is not None]


def names_of_disks(root: ElementTree.Element) -> list[tuple[str, bool]]:
    """As disks_of(), of disks of the pool: their names."""
    found = ((path.rpartition("/")[2], readonly) for path, readonly in disks_of(root))
    return [(file.removeprefix(DISK), readonly) for file, readonly in found if file.startswith(DISK)]


def _user_cards(spec: VmSpec) -> list[str]:
    """QEMU's words for the cards that libvirt 9.0 forwards no ports to."""
    argv: list[str] = []
    forwards = spec.forwards
    for index, card in enumerate(spec.cards):
        if card.kind != "user":
            continue
        # libvirt's own devices have the low slots, and buses behind these, of which the guest learns later.
        pci = f"virtio-net-pci,disable-legacy=on,romfile=,bus=pcie.0,addr={_FIRST_SLOT + index:#x}"
        device = "virtio-net-device" if spec.machine == "microvm" else pci
        argv += ["-netdev", words.netdev(card, index, forwards, vhost=False)]
        argv += ["-device", f"{device},netdev=net{index}" + (f",mac={card.mac}" if card.mac else "")]
        forwards = ()
    return argv


def _check(spec: VmSpec) -> None:
    """Raises UsageError."""
    check_room(spec, 2 + (spec.children is not None))  # console, entropy and family
    kinds = [card.kind for card in spec.cards]
    if "user" in kinds and "bridge" in kinds[: len(kinds) - 1 - kinds[::-1].index("user")]:
        raise UsageError(
            "--net user comes behind a bridge: on another host user cards come first", hint="--net user first"
        )
    for forward in spec.forwards:
        if not forward.host_port:
            problem = "which port is free on another host is not known here"
            raise UsageError(f"{forward.option()}: {problem}", hint=f"-p PORT:{forward.guest_place()}")
        if forward.is_ip6:
            raise UsageError(f"{forward.option()}: QEMU's own network on another host forwards IPv4 alone")


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _on(device: ElementTree.Element, address: str) -> None:
    if address:
        _add(device, "address", type=address)


def _text(parent: ElementTree.Element, tag: str, content: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = content


def _text_of(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
