# SPDX-License-Identifier: MIT
"""Ordinary KVM on any machine: Debian's kernel under QEMU's emulation of SVM, with a second QEMU inside that uses it.

The kernel, its modules and busybox are the Xen lab's pinned packages; the inner QEMU is this machine's own, with its
libraries and firmware. All guests are run one after the other in one boot; what each said comes over the serial port.
"""

from __future__ import annotations

import base64
import contextlib
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from floe import qemu
from floe.kvm import image
from floe.lab import assets, packages
from floe.lab.cpio import Archive
from floe.lab.tree import Tree

MODULES = ("irqbypass", "ccp", "kvm", "kvm-amd")
FIRMWARE = ("qboot.rom", "bios-256k.bin", "linuxboot_dma.bin", "pvh.bin", "kvmvapic.bin")
FOLDERS = (Path("/usr/share/qemu"), Path("/usr/share/seabios"))
BOOT_S, GUEST_S = 60, 30
MICROVM = "microvm,acpi=off,pit=off,pic=off,rtc=auto,isa-serial=on,auto-kernel-cmdline=on,x-option-roms=off"
_MARK = re.compile(r"^== (\d+) (\d+) ([A-Za-z0-9+/=]*)\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """A guest to be run. bios "": the machine's own, which is SeaBIOS."""

    elf: Path
    args: tuple[str, ...] = ()
    machine: str = MICROVM
    bios: str = "qboot.rom"
    cpu: str = "host"


@dataclass(frozen=True)
class Ended:
    """status: the inner QEMU's. text: what came on the 16550 and the console."""

    status: int
    text: str


def command(case: Case) -> list[str]:
    """The inner QEMU's command line."""
    bus = "device" if case.machine.startswith("microvm") else "pci"
    serial = "virtio-serial-device" if bus == "device" else "virtio-serial-pci,disable-legacy=on"
    rng = "virtio-rng-device" if bus == "device" else "virtio-rng-pci,disable-legacy=on"
    words = qemu.guest_command_line(qemu.VmSpec(case.elf, args=case.args, cards=()))
    return [
        "qemu-system-x86_64", "-L", "/firmware", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "kvm", "-cpu", case.cpu, "-smp", "1", "-m", "32M", "-M", case.machine,
        *(["-bios", case.bios] if case.bios else []), "-global", "virtio-mmio.force-legacy=false",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-chardev", "file,id=s,path=/out,append=on",
        "-serial", "chardev:s", "-chardev", "file,id=c,path=/out,append=on", "-device", serial,
        "-device", "virtconsole,chardev=c", "-device", rng, "-kernel", f"/elf/{case.elf.parent.name}",
        "-append", words,
    ]  # fmt: skip


def run(cases: dict[str, Case], folder: Path) -> dict[str, Ended]:
    """Run all cases; a case whose guest never came is missing. Raises FloeError when the packages cannot be had."""
    kernel, tree = _kernel()
    (folder / "vmlinuz").write_bytes(kernel)
    (folder / "initrd").write_bytes(_initramfs(tree, list(cases.values())))
    argv = [
        qemu.find_qemu(), "-M", "q35", "-accel", "tcg", "-cpu", "EPYC,+svm,+npt", "-smp", "1", "-m", "1000M", "-display",
        "none", "-nodefaults", "-no-reboot", "-serial", "stdio", "-kernel", str(folder / "vmlinuz"), "-initrd",
        str(folder / "initrd"), "-append", "console=ttyS0 quiet mitigations=off panic=-1 tsc=reliable",
    ]  # fmt: skip
    log = folder / "serial"
    with log.open("wb") as out:
        ends = BOOT_S + GUEST_S * len(cases)
        with contextlib.suppress(subprocess.TimeoutExpired):  # the cases that are missing tell it
            subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL, timeout=ends, check=False
            )
    found = {int(m[1]): m for m in _MARK.finditer(log.read_text(errors="replace"))}
    return {
        name: Ended(int(found[i][2]), base64.b64decode(found[i][3]).decode("utf-8", "replace"))
        for i, name in enumerate(cases)
        if i in found
    }


def _kernel() -> tuple[bytes, Tree]:
    chosen = packages.load(image.PINS).of("linux")
    tree = Tree(assets.debs(image.RECIPE, chosen, print), "-", MODULES)
    return tree.one("boot/vmlinuz-.*"), tree


def _initramfs(tree: Tree, cases: list[Case]) -> bytes:
    out = Archive()
    for name in ("dev", "proc", "sys", "tmp"):
        out.folder(name)
    out.character_device("dev/console", 5, 1)
    out.file("bin/busybox", tree.one("bin/busybox"), 0o755)
    loaded = [
        name for name in MODULES if (module := tree.module(name)) is not None and not out.file(f"m/{name}", module)
    ]
    program = shutil.which(qemu.find_qemu()) or qemu.find_qemu()
    out.file("bin/qemu-system-x86_64", Path(program).read_bytes(), 0o755)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=20).stdout
    for library in sorted(set(re.findall(r"(/\S+) \(0x", listed))):
        out.file(library.lstrip("/"), Path(library).read_bytes(), 0o755)
    for name in FIRMWARE:
        path = next((at / name for at in FOLDERS if (at / name).exists()), None)
        if path is not None:
            out.file(f"firmware/{name}", path.read_bytes())
    for name, elf in {case.elf.parent.name: case.elf for case in cases}.items():
        out.file(f"elf/{name}", elf.read_bytes())
    lines = ["#!/bin/busybox sh", "export PATH=/bin", "/bin/busybox --install -s /bin", "mount -t proc p /proc",
             "mount -t sysfs s /sys", "mount -t devtmpfs d /dev", *(f"insmod /m/{name}" for name in loaded)]  # fmt: skip
    for index, case in enumerate(cases):
        lines.append(f"rm -f /out; timeout {GUEST_S - 5} {shlex.join(command(case))} </dev/null >/err 2>&1; s=$?")
        lines.append(f'cat /err >>/out; echo "== {index} $s $(base64 -w 0 /out)"')
    out.file("init", "\n".join([*lines, "poweroff -f", ""]).encode(), 0o755)
    return out.finish()
