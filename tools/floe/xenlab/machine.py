# SPDX-License-Identifier: MIT
"""What the Xen lab is: Xen and a small dom0, both Debian's; started and ended."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from floe.lab import boot
from floe.lab.boot import LabFailed, escaped
from floe.xenlab import dom0image
from floe.xenlab.lab import LAB

__all__ = ["DESIGN", "LabFailed", "down", "up"]

_DOM0_MIB = 320
_XEN_MIB = 96  # what the hypervisor keeps for itself
# No SMAP, RDTSCP or NRIPS: QEMU's emulation of them brings down a PV dom0 or its guests. RDRAND: dom0 need not wait
# for entropy.
_CPU = "qemu64,+svm,+npt,+rdrand"
_XEN_ARGS = (
    f"console=com1 com1=115200,8n1 dom0_mem={_DOM0_MIB}M,max:{_DOM0_MIB}M dom0_max_vcpus=1 bootscrub=0 spec-ctrl=no "
    "guest_loglvl=all"
)
# rootfstype: tmpfs, the default, ends at half of the memory.
_LINUX_ARGS = (
    "console=hvc0 rootfstype=ramfs quiet loglevel=4 swiotlb=1024 mitigations=off apparmor=0 audit=0 rodata=off "
    "tsc=unstable"
)


def _boot(files: Path) -> list[str]:
    modules = f"{escaped(files / 'vmlinux')} {_LINUX_ARGS},{escaped(files / 'dom0.cpio')}"
    return ["-kernel", str(files / "xen"), "-append", _XEN_ARGS, "-initrd", modules]


def _farewell(grace_s: int) -> str:
    return (
        "[ $(xl list | wc -l) -gt 2 ] || exit 0; echo guests; "
        f"timeout {grace_s} xl shutdown -a -w >/dev/null 2>&1"
    )  # fmt: skip


def _hint(problem: str) -> str:
    if "cannot run guests" in problem:
        return "another QEMU: its emulation has to know AMD's virtualisation with nested paging (svm, npt); 7.2 does"
    return ""


DESIGN = boot.Design(
    lab=LAB,
    recipe=dom0image.RECIPE,
    system="Xen and dom0",
    cpu=_CPU,
    own=(_DOM0_MIB + _XEN_MIB) << 20,
    default_memory=1 << 30,
    boot=_boot,
    farewell=_farewell,
    hint=_hint,
)
up, down = partial(boot.up, DESIGN), partial(boot.down, DESIGN)
