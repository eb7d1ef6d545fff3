# SPDX-License-Identifier: MIT
"""What one VM takes of a snapshot: its memory as a file to map, the ELF in memory, disks of its own. All of it is
descriptors, and ends with who holds them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from floe.family.copies import PrivateDisks
from floe.snapshot.file import Snapshot, copy_data
from floe.spec.disks import Disk


class Material:
    """For one VM."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Copies what disks hold. Raises FloeError, OSError."""
        self.ram = self.elf = -1
        self.disks = PrivateDisks(())
        try:
            self.ram = snapshot.memory()
            self.elf = os.memfd_create("floe-elf", os.MFD_CLOEXEC)
            with os.fdopen(os.dup(self.elf), "wb") as file:
                file.write(snapshot.read("elf"))
            self._copy_disks(snapshot)
        except BaseException:
            self.close()
            raise

    @property
    def fds(self) -> list[int]:
        """What a hypervisor must inherit, by these numbers."""
        return [self.ram, self.elf, *self.disks.fds]

    def path(self, fd: int) -> Path:
        """A name for one of them, here and in whoever inherits it."""
        return Path(f"/dev/fd/{fd}")

    def _copy_disks(self, snapshot: Snapshot) -> None:
        own: list[Disk] = []
        for disk in snapshot.content.plan.disks:
            if not disk.readonly:
                part = snapshot.disk(len(self.disks.fds))
                fd = _unnamed(Path(snapshot.shown).absolute().parent)
                self.disks.fds.append(fd)
                os.ftruncate(fd, part.size)
                copy_data(snapshot.fd, part.at, part.size, fd, 0)
                disk = replace(disk, path=self.path(fd), size=0)
            own.append(disk)
        self.disks.disks = tuple(own)

    def close(self) -> None:
        """May be called more than once."""
        for fd in (self.ram, self.elf):
            if fd >= 0:
                os.close(fd)
        self.ram = self.elf = -1
        self.disks.close()


def _unnamed(folder: Path) -> int:
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # not in this file system, or not by this user
        fd, name = tempfile.mkstemp()
        os.unlink(name)
        return fd
