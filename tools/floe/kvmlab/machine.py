# SPDX-License-Identifier: MIT
"""What the KVM lab is: a small Linux on an emulated AMD processor that has SVM with nested paging."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from floe.kvmlab import linuximage
from floe.kvmlab.lab import LAB
from floe.lab import boot
from floe.lab.boot import LabFailed

__all__ = ["DESIGN", "LabFailed", "down", "up"]

_LINUX_MIB = 320  # of its own, with all files
_CPU = "EPYC,+svm,+npt"
# rootfstype: tmpfs, the default, ends at half of the memory.
_LINUX_ARGS = (
    "console=ttyS0 rootfstype=ramfs quiet loglevel=4 mitigations=off apparmor=0 audit=0 rodata=off tsc=reliable "
    "panic=-1"
)


def _boot(files: Path) -> list[str]:
    return ["-kernel", str(files / "vmlinux"), "-append", _LINUX_ARGS, "-initrd", str(files / "linux.cpio")]


def _hint(problem: str) -> str:
    if "nested paging" in problem or "kvm-amd" in problem:
        return "another QEMU: its emulation has to know AMD's virtualisation with nested paging (svm, npt); 7.2 does"
    return ""


DESIGN = boot.Design(
    lab=LAB,
    recipe=linuximage.RECIPE,
    system="Linux with KVM",
    cpu=_CPU,
    own=_LINUX_MIB << 20,
    default_memory=512 << 20,
    boot=_boot,
    hint=_hint,
)
up, down = partial(boot.up, DESIGN), partial(boot.down, DESIGN)
