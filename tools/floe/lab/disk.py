# SPDX-License-Identifier: MIT
"""Files of this machine as disks in a lab's Linux: hot-plugged into its QEMU as virtio-blk.

A guest's write goes to the file at once, its flush is an fdatasync here: nothing is copied in or back. A disk that is
plugged is a file in the lab's folder `disks`, which its holder has locked: what a dead holder left is unplugged by the
next who comes by.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path

from floe.errors import FloeError, VmError
from floe.lab.connection import Lab
from floe.lab.leases import Lease, lock
from floe.qemu import words
from floe.spec.disks import Disk

_PLUG_S = 10.0
_UNPLUG_S = 5.0
_SWEEP_S = 15.0  # who looks for what the dead have left may hold a new file for as long as that takes
# Linux finds the device by itself, a fraction of a second after device_add.
_FIND = """
n=0
until dev=$(grep -lx {serial} /sys/block/vd*/serial 2>/dev/null); do
    [ $((n += 1)) -le 400 ] || exit
    usleep 20000
done
dev=${{dev#/sys/block/}}
echo "/dev/${{dev%%/*}}"
"""


class LabDisk(Lease):
    """A disk in a lab's Linux; close() unplugs it."""

    def __init__(self, lab: Lab, fd: int, path: Path, target: str) -> None:
        super().__init__(fd, path)
        self._lab = lab
        self.target = target  # "/dev/vda"

    def close(self) -> None:
        if self._fd < 0:
            return
        with contextlib.suppress(FloeError, OSError):  # a lab that is gone holds no disk
            _unplug(self._lab, self._path)
        super().close()


def plug(lab: Lab, disk: Disk) -> LabDisk:
    """Make a file a disk of the lab. Raises NotFound when it is down, VmError with QEMU's or Linux's words."""
    lab.running()
    unplug_dead(lab)
    name = f"floe-{secrets.token_hex(6)}"  # at most 20 characters: it is the serial number too
    path = lab.folder() / "disks" / name
    fd = lock(path, wait_s=_SWEEP_S)
    if fd is None:
        raise VmError(f"another floe holds {path}", hint=f"floe lab {lab.name} down")
    try:
        node = json.loads(words.blockdev(disk, 0)) | {"node-name": name}
        with lab.qmp() as qmp:
            qmp.execute("blockdev-add", **node)
            # Or QEMU would stop the lab when this machine's disk is full; the guest is told instead.
            errors = {"werror": "report", "rerror": "report"}
            qmp.execute("device_add", driver="virtio-blk-pci", id=name, drive=name, serial=name, **errors)
        target = lab.call(_FIND.format(serial=name), deadline_s=_PLUG_S).strip()
        if not target.startswith("/dev/"):
            raise VmError(f"{lab.title}'s {lab.linux} does not find the disk {disk.path}", evidence=lab.evidence())
        return LabDisk(lab, fd, path, target)
    except BaseException:
        with contextlib.suppress(FloeError, OSError):
            _unplug(lab, path)
        os.close(fd)
        raise


def unplug_dead(lab: Lab) -> None:
    """Unplug what those who died have left."""
    folder = lab.folder() / "disks"
    for path in folder.iterdir() if lab.is_up() and folder.is_dir() else ():
        if (fd := lock(path)) is not None:
            try:
                _unplug(lab, path)
            except FloeError:
                continue  # Linux does not let it go: for the next who comes by
            finally:
                os.close(fd)


def _unplug(lab: Lab, path: Path) -> None:
    """Linux lets the device go, then QEMU the file. Raises VmError when there is one still."""
    with lab.qmp() as qmp:
        with contextlib.suppress(VmError):  # there is none: it was never added
            qmp.execute("device_del", id=path.name)
            qmp.wait("DEVICE_DELETED", lambda data: data.get("device") == path.name, _UNPLUG_S)
        try:
            qmp.execute("blockdev-del", **{"node-name": path.name})
        except VmError:
            nodes = qmp.execute("query-named-block-nodes", flat=True)
            if any(node["node-name"] == path.name for node in nodes):
                raise
    path.unlink(missing_ok=True)
