# SPDX-License-Identifier: MIT
"""From Debian's packages to what boots: a kernel, and an initramfs: busybox, KVM's modules, QEMU and its firmware."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from floe.lab import assets
from floe.lab.cpio import Archive
from floe.lab.tree import VIRTIO, Tree
from floe.qemu.commandline import QEMU

PINS = Path(__file__).with_name("packages.toml")
INIT = Path(__file__).parent / "inside" / "init"
# In the order of loading.
MODULES = (*VIRTIO, "irqbypass", "ccp", "kvm", "kvm-amd")
FIRMWARE = ("qboot.rom", "bios-256k.bin", "linuxboot_dma.bin", "pvh.bin", "kvmvapic.bin")
_WANTED = rf"bin/{QEMU}|share/(qemu|seabios)/({'|'.join(FIRMWARE)})"


def build(packages: Iterable[Path]) -> dict[str, bytes]:
    """vmlinux and linux.cpio, by these names. Raises UpstreamError."""
    tree = Tree(packages, _WANTED, MODULES)
    return {"vmlinux": tree.kernel(), "linux.cpio": _initramfs(tree)}


def _initramfs(tree: Tree) -> bytes:
    out = Archive()
    for path in ("dev", "proc", "sys", "run", "tmp", "etc"):
        out.folder(path)
    out.character_device("dev/console", 5, 1)
    tree.add_programs(out, {QEMU: tree.one(f"bin/{QEMU}")})
    tree.add_modules(out, MODULES)
    for name in FIRMWARE:
        out.file(f"share/qemu/{name}", tree.one(f"share/(qemu|seabios)/{name}"))
    out.file("lab/agent", assets.AGENT.read_bytes(), 0o755)
    out.file("init", INIT.read_bytes(), 0o755)
    return out.finish()


RECIPE = assets.Recipe(
    purpose="the KVM lab",
    any_version="floe lab kvm up --any-version",
    pins=PINS,
    extras=("", "linux"),
    build=build,
    code=(Path(__file__), INIT),
    shown={"linux-image": "linux", "qemu-system-x86": "inner qemu"},
)
