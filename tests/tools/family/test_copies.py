# SPDX-License-Identifier: MIT
"""tools/floe/family/copies.py: a copy's disks hold what its original's held, and have no name."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from floe.family import copies
from floe.family.copies import PrivateDisks
from floe.spec.disks import Disk

SIZE = 64 << 20


@pytest.fixture(params=["cloned", "copied"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a reflink where this file system has them, and without."""
    if request.param == "copied":
        monkeypatch.setattr(copies, "_FICLONE", 0)


@pytest.mark.usefixtures("way")
def test_a_disk_is_copied_with_its_holes_and_a_copy_is_too(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as f:
        f.truncate(SIZE)
        f.seek(40 << 20)
        f.write(b"data" * 1000)
    disk = Disk(path, size=SIZE, optional=True)
    first = PrivateDisks([disk])
    asyncio.run(first.fill([disk]))
    [own] = first.disks
    assert own.optional
    assert not own.size  # it is there: nothing is to be made
    with own.path.open("r+b") as f:
        f.write(b"mine")
    second = PrivateDisks([disk])
    asyncio.run(second.fill(first.disks))
    for copy, head in ((path, b"\0\0\0\0"), (own.path, b"mine"), (second.disks[0].path, b"mine")):
        with copy.open("rb") as f:
            assert f.read(4) == head
            assert f.seek(40 << 20) and f.read(8) == b"datadata"
            assert f.seek(0, os.SEEK_END) == SIZE
    assert sum(os.fstat(fd).st_blocks * 512 for fd in second.fds) < 1 << 20
    first.close()
    second.close()
    assert os.listdir(tmp_path) == ["disk.img"]


def test_a_disk_that_is_only_read_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 16))
    disks = PrivateDisks([Disk(path, readonly=True)])
    asyncio.run(disks.fill([Disk(path, readonly=True)]))
    assert (disks.disks, disks.fds) == ((Disk(path, readonly=True),), [])


def test_a_disk_that_is_gone_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 16))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        PrivateDisks([Disk(path), Disk(tmp_path / "gone")])
    assert os.listdir("/proc/self/fd") == before
