# SPDX-License-Identifier: MIT
"""What one VM takes of a snapshot: its memory as a file to map, the ELF in memory, disks of its own. All of it is
descriptors, and ends with who holds them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from floe.family.capture import Captured
from floe.family.copies import PrivateDisks
from floe.snapshot.file import Snapshot, copy_data
from floe.spec.disks import Disk
from floe.spec.vmspec import VmSpec


class Material:
    """For one VM, which goes on from a snapshot, or from what was captured just now."""

    def __init__(self) -> None:
        self.ram = self.elf = -1
        self.disks = PrivateDisks(())

    @classmethod
    def of(cls, snapshot: Snapshot) -> Material:
        """Copies what disks hold. Raises FloeError, OSError."""
        made = cls()
        try:
            made.ram = snapshot.memory()
            made.elf = os.memfd_create("floe-elf", os.MFD_CLOEXEC)
            with os.fdopen(os.dup(made.elf), "wb") as file:
                file.write(snapshot.read("elf"))
            parts = [snapshot.disk(n) for n in range(sum(not d.readonly for d in snapshot.content.plan.disks))]
            folder = Path(snapshot.shown).absolute().parent
            made._copy_disks(snapshot.content.plan.disks, [(snapshot.fd, p.at, p.size) for p in parts], folder)
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def of_captured(cls, captured: Captured) -> Material:
        """In the same way, but that the ELF is the one that the VM was started from."""
        made = cls()
        try:
            made.ram = os.dup(captured.ram)
            found = [(fd, 0, os.fstat(fd).st_size) for fd in captured.disks.fds]
            made._copy_disks(captured.spec.disks, found, Path(tempfile.gettempdir()))
        except BaseException:
            made.close()
            raise
        return made

    @property
    def fds(self) -> list[int]:
        """What a hypervisor must inherit, by these numbers; the memory first."""
        return [fd for fd in (self.ram, self.elf, *self.disks.fds) if fd >= 0]

    def given_to(self, spec: VmSpec) -> VmSpec:
        """The VM with its files, by names that are good here and in whoever inherits them."""
        image = _path(self.elf) if self.elf >= 0 else spec.elf
        return replace(spec, elf=image, disks=self.disks.disks)

    def _copy_disks(self, disks: Sequence[Disk], found: Sequence[tuple[int, int, int]], folder: Path) -> None:
        """found: file, place and size of what each of them holds that is written."""
        own: list[Disk] = []
        for disk in disks:
            if not disk.readonly:
                source, at, size = found[len(self.disks.fds)]
                fd = _unnamed(folder)
                self.disks.fds.append(fd)
                os.ftruncate(fd, size)
                copy_data(source, at, size, fd, 0)
                disk = replace(disk, path=_path(fd), size=0)
            own.append(disk)
        self.disks.disks = tuple(own)

    def close(self) -> None:
        """May be called more than once."""
        for fd in (self.ram, self.elf):
            if fd >= 0:
                os.close(fd)
        self.ram = self.elf = -1
        self.disks.close()


def _path(fd: int) -> Path:
    return Path(f"/dev/fd/{fd}")


def _unnamed(folder: Path) -> int:
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # not in this file system, or not by this user
        fd, name = tempfile.mkstemp()
        os.unlink(name)
        return fd
