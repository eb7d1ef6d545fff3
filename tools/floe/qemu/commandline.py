# SPDX-License-Identifier: MIT
"""QEMU's command line for a VM. Starts nothing: vm.py does.

Order of devices is the order in which guests see them: console, entropy, network cards and disks as given.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass

from floe.errors import NotFound, UsageError, VmError
from floe.qemu import accel, words
from floe.spec.guestline import guest_command_line
from floe.spec.vmspec import VmSpec, Wires, capture_files, for_paste

QEMU = "qemu-system-x86_64"
CHOICE = "FLOE_QEMU"  # the environment's word for another one than PATH has
IOMMU = "q35-iommu"  # q35, and an IOMMU by which the guest keeps devices to its data (port/boot/iommu.c)
MACHINES = ("microvm", "q35", "pc", IOMMU)
FIRMWARE = "qboot.rom"  # PVH without a BIOS's start-up time; part of Debian's qemu-system-data

# What the machine need not have costs start time. rtc=auto: a KVM guest reads the host's clock through kvmclock,
# and an emulated RTC costs it 7 ms at start. The words virtio_mmio.device= reach the guest by auto-kernel-cmdline.
_MACHINE = {
    "microvm": "microvm,acpi=off,pit=off,pic=off,rtc=auto,isa-serial=on,auto-kernel-cmdline=on,x-option-roms=off",
    "q35": "q35,usb=off,sata=off,smbus=off,vmport=off,hpet=off",
    "pc": "pc,usb=off,vmport=off,hpet=off",
}
_MACHINE[IOMMU] = _MACHINE["q35"]
_VERSION_S = 10.0
_RAM = {
    "microvm": "microvm.ram",
    "q35": "pc.ram",
    "pc": "pc.ram",
    IOMMU: "pc.ram",
}  # the name of the memory that a machine makes itself
_SAME_NAME = "x-use-canonical-path-for-ramblock-id=off"  # in a migration it is known by that name too
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_SANDBOX_HELPED = "on,obsolete=deny,resourcecontrol=deny"
_HEADS = 128  # bytes: a frame's Ethernet, IPv4 and TCP headers are in them
_MAX_DEVICES = {
    "microvm": 8,
    "q35": 16,
    "pc": 16,
    IOMMU: 16,
}  # what the machine has room for; VIRTIO_DEV_MAX in virtio.h


@dataclass(frozen=True)
class Endpoints:
    """QEMU's character devices behind the guest's console, its 16550, QMP and its family ("" for none), as -chardev
    has them.

    qmp: the guest waits there for qmp.negotiate().
    lossless: the console is held back while its reader is behind; the end of its input then closes it for good.
    copied: the guest is what copying.Copying.expect() takes. packets: a descriptor, as Wires has it."""

    console: str
    serial: str
    qmp: str = ""
    lossless: bool = True
    family: str = ""
    copied: bool = False
    packets: str = ""
    ram: str = ""  # as Wires has it
    ram_shared: bool = False
    once: str = ""

    @classmethod
    def for_paste(cls) -> Endpoints:
        """For a command line that a person pastes into a shell: console on the terminal, 16550 on standard error."""
        return cls("stdio,id=console,signal=off", "file,id=serial,path=/dev/stderr", lossless=False)

    @classmethod
    def for_wires(cls, wires: Wires) -> Endpoints:
        """For sockets that QEMU inherits; the guest finds its console connected when it starts."""
        more = ",server=on,wait=on" if wires.listening else ""
        return cls(
            f"socket,id=console,fd={wires.console}{more}",
            f"socket,id=serial,fd={wires.serial}{more}",
            f"socket,id=qmp,fd={wires.events}{more}",
            family=f"socket,id=family,fd={wires.family}{more}" if wires.family else "",
            copied=wires.copied,
            packets=wires.packets,
            ram=wires.ram,
            ram_shared=wires.ram_shared,
            once=wires.once,
        )


def find_qemu() -> str:
    """Path of QEMU: $FLOE_QEMU, or the one that PATH has. Raises NotFound."""
    if chosen := os.environ.get(CHOICE, ""):
        path = shutil.which(chosen)
        if path is None:
            hint = f"{CHOICE}=/usr/bin/{QEMU}\nor unset {CHOICE}, for the one in PATH"
            raise NotFound(f"{CHOICE}={chosen}: there is no such program", hint=hint)
        return os.path.abspath(path)
    path = shutil.which(QEMU)
    if path is None:
        raise NotFound(f"{QEMU} is not installed", hint="sudo apt-get install qemu-system-x86")
    return path


def version() -> str:
    """QEMU's own, as "7.2.22 (Debian ...)". Raises NotFound, VmError."""
    return _version(find_qemu())


@functools.cache
def _version(qemu: str) -> str:
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=_VERSION_S, check=True)
    except (OSError, subprocess.SubprocessError) as e:
        raise VmError(f"{qemu} --version: {e}") from None
    return done.stdout.partition("\n")[0].removeprefix("QEMU emulator version ")


def command_line(spec: VmSpec, endpoints: Endpoints, files: list[str] | None = None) -> list[str]:
    """The command that boots `spec`. `files`: words.py's for secrets and env files, where they are not to be
    named as they are. Raises NotFound without QEMU, UsageError when the arguments are too long."""
    argv = [
        find_qemu(), "-nodefaults", "-no-user-config",
        "-display", "none",
        "-M", _MACHINE[spec.machine],
        "-bios", FIRMWARE,
    ]  # fmt: skip
    check_room(spec, 2 + bool(endpoints.family))
    argv += accel.arguments(spec.accel)
    helped = any(card.kind == "bridge" and card.fd < 0 for card in spec.cards)  # QEMU calls its helper, which is setuid
    argv += ["-smp", "1", "-m", f"{spec.memory >> 10}K", "-sandbox", _SANDBOX_HELPED if helped else _SANDBOX]
    # A reset ends QEMU: vm.py tells one that was asked for from a crash, and starts QEMU again for the former.
    argv += ["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    argv += ["-chardev", endpoints.serial, "-serial", "chardev:serial"]
    if spec.machine == IOMMU:  # before the devices that it is for
        argv += ["-device", "intel-iommu", "-global", "virtio-device.iommu_platform=on"]
    # QEMU drops what the reader of a virtconsole is too slow for, and discards what is sent to a closed virtserialport.
    ports, port = (2, "virtserialport,nr=1,name=floe.console") if endpoints.lossless else (1, "virtconsole")
    argv += ["-chardev", endpoints.console, *_virtio(spec.machine, "serial", f"max_ports={ports}")]
    argv += ["-device", f"{port},chardev=console"]
    argv += _virtio(spec.machine, "rng")
    if endpoints.family:  # behind the console's device, by which the guest knows it
        argv += ["-chardev", endpoints.family, *_virtio(spec.machine, "serial", "id=family,max_ports=2")]
        argv += ["-device", "virtserialport,bus=family.0,nr=1,name=floe.family,chardev=family"]
    first = ["-incoming", "defer"] if endpoints.copied else []
    if endpoints.ram:
        name, share = _RAM[spec.machine], "on" if endpoints.ram_shared else "off"
        file = f"memory-backend-file,id={name},mem-path={words.escaped(endpoints.ram)},size={spec.memory >> 10}K"
        first += ["-object", f"{file},share={share},{_SAME_NAME}", "-machine", f"memory-backend={name}"]
    argv += [endpoints.once + word for word in first]
    if endpoints.qmp:
        argv += ["-S", "-chardev", endpoints.qmp, "-mon", "chardev=qmp,mode=control"]
    first_user = next((i for i, card in enumerate(spec.cards) if card.kind == "user"), -1)
    for index, card in enumerate(spec.cards):
        forwards = spec.forwards if index == first_user else ()
        captured, vhost = spec.capture is not None, spec.accel == "kvm" and spec.machine != IOMMU
        argv += ["-netdev", words.netdev(card, index, forwards, vhost=vhost, captured=captured)]
        argv += _virtio(spec.machine, "net", f"netdev=net{index}" + (f",mac={card.mac}" if card.mac else ""))
    argv += ["-uuid", spec.uuid] if spec.uuid else []
    if files is None:
        spec, files = for_paste(spec), words.blobs_by_path(spec.secrets, spec.env_files)
    argv += files
    for index, path in enumerate(capture_files(spec)):
        argv += ["-object", f"filter-dump,id=dump{index},netdev=net{index},file={words.escaped(str(path))}"]
    if endpoints.packets:  # the heads alone; QEMU drops the rest of it all once nobody reads
        argv += ["-object", f"filter-dump,id=packets,netdev=net0,maxlen={_HEADS},file=/dev/fd/{endpoints.packets}"]
    for index, disk in enumerate(spec.disks):
        argv += ["-blockdev", words.blockdev(disk, index)]
        # Or QEMU would stop the VM when the host's disk is full; the guest is told instead.
        argv += _virtio(spec.machine, "blk", f"drive=disk{index},werror=report,rerror=report")
    if spec.machine == "microvm":
        argv += ["-global", "virtio-mmio.force-legacy=false"]
    return [*argv, "-kernel", str(spec.elf), "-append", guest_command_line(spec)]


def check_room(spec: VmSpec, beside: int) -> None:
    """Whether the machine has room for cards and disks beside so many other devices. Raises UsageError."""
    most = _MAX_DEVICES[spec.machine] - beside
    if len(spec.cards) + len(spec.disks) > most:
        raise UsageError(
            f"{len(spec.cards)} network cards, {len(spec.disks)} disks: {spec.machine} has room for {most} in all",
            hint="--machine q35" if spec.machine == "microvm" else "",
        )


def _virtio(machine: str, device: str, options: str = "") -> list[str]:
    """A modern virtio device on the machine's own bus."""
    parts = [f"virtio-{device}-device"] if machine == "microvm" else [f"virtio-{device}-pci", "disable-legacy=on"]
    if machine != "microvm" and device == "net":
        parts.append("romfile=")
    return ["-device", ",".join([*parts, options] if options else parts)]
