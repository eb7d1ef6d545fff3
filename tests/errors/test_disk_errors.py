# SPDX-License-Identifier: MIT
"""Everything that can be wrong with a disk of `floe run`, each with its words and its exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from floe.errors import FloeError
from floe.spec import disks
from floe.spec.disks import Disk
from floe.spec.vmspec import VmSpec
from floe.vm.vm import Vm
from tests.support import tiny
from tests.support.command import failure, floe


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("import vfs\nprint(vfs.mount())\n")
    return path


def disk(path: Path, size: int = 1 << 20) -> Path:
    with path.open("wb") as f:
        f.truncate(size)
    return path


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (":ro", "--disk :ro: names no file"),
        ("", "--disk : names no file"),
        ("d:size=lots", "--disk d:size=lots: 'lots' is not a size"),
        ("d:size=", "--disk d:size=: '' is not a size"),
        ("d:size=1K", "--disk d:size=1K: '1K' is less than 64K"),
        ("d:ro:size=1M", "--disk d:ro:size=1M: a new disk that cannot be written is of no use"),
    ],
)
def test_values(app: Path, value: str, cause: str) -> None:
    said, _, hint = failure("run", "--disk", value, app, code=125)
    assert said == cause
    assert hint.startswith("--disk FILE") or "--disk FILE" in hint


def test_missing(app: Path, tmp_path: Path) -> None:
    said, _, hint = failure("run", "--disk", tmp_path / "none", app, code=127)
    assert said == f"no such disk: {tmp_path}/none"
    assert hint == f"--disk {tmp_path}/none:size=16M creates it"
    hint = failure("run", "--disk", tmp_path / "a b", app, code=127)[2]
    assert hint == f"--disk '{tmp_path}/a b:size=16M' creates it"
    said, _, hint = failure("run", "--disk", f"{tmp_path / 'none'}:optinal", app, code=127)
    assert said == f"no such disk: {tmp_path}/none:optinal"
    assert hint == "after the name come :ro, :size=16M, :optional"


def test_a_folder(app: Path, tmp_path: Path) -> None:
    assert failure("run", "--disk", tmp_path, app, code=125)[0] == f"{tmp_path} is a folder, not a disk"
    assert failure("run", "--disk", f"{tmp_path}:ro", app, code=125)[0] == f"{tmp_path} is a folder, not a disk"


def test_neither_file_nor_device(app: Path) -> None:
    said, _, _ = failure("run", "--disk", "/dev/null", app, code=125)
    assert said == "/dev/null is neither a file nor a block device"


def test_not_whole_sectors(app: Path, tmp_path: Path) -> None:
    path = disk(tmp_path / "odd", (1 << 20) + 100)
    said, _, hint = failure("run", "--disk", path, app, code=125)
    assert said == f"the disk {path} has 1048676 bytes, which is no whole number of sectors of 512"
    assert hint == f"truncate -s 1049088 {path}"


@pytest.mark.parametrize("size", [0, 512, 65024])
def test_too_small(app: Path, tmp_path: Path, size: int) -> None:
    path = disk(tmp_path / "small", size)
    said, _, hint = failure("run", "--disk", path, app, code=125)
    assert said == f"the disk {path} has {size} bytes; a disk has at least 64K"
    # A file that holds something may be no disk at all.
    assert hint == ("floe disk create FILE --size 16M makes a disk" if size else f"truncate -s 16M {path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="SKIP: only root becomes nobody, and makes a loop device")
def test_a_folder_that_one_cannot_enter(tmp_path: Path) -> None:
    """Also for a disk that is to be made there."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    code = (
        "import os\nfrom pathlib import Path\nfrom floe.errors import FloeError\nfrom floe.spec import disks\n"
        "os.setresuid(65534, 65534, 65534)\n"
        f"disk = disks.Disk(Path({str(closed / 'a disk')!r}), size=1 << 20)\n"
        "for call in (disks.provide, lambda _: disks.claimed(disk.path, readonly=True).__enter__()):\n"
        "    try:\n        call((disk,))\n    except FloeError as e:\n        print(e.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [
        f"cannot create the disk {closed}/a disk: Permission denied",
        f"cannot open the disk {closed}/a disk: Permission denied",
    ], done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="SKIP: only root makes a loop device")
def test_a_block_device_that_is_read_only(tmp_path: Path) -> None:
    """It opens for writing all the same."""
    path = disk(tmp_path / "d")
    made = subprocess.run(
        ["losetup", "-r", "-f", "--show", path], capture_output=True, text=True, timeout=20, check=False
    )
    if made.returncode:
        pytest.skip(f"SKIP: no loop device: {made.stderr.strip()}")
    loop = made.stdout.strip()
    try:
        with pytest.raises(FloeError) as error:
            disks.check_host((Disk(Path(loop)),))
        assert (error.value.message, error.value.hint) == (f"{loop} cannot be written", f"--disk {loop}:ro")
        disks.check_host((Disk(Path(loop), readonly=True),))
    finally:
        subprocess.run(["losetup", "-d", loop], timeout=20, check=False)


def test_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, whose os.open refuses: root may do everything."""

    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FloeError) as error:
        disks.check_host((Disk(disk(tmp_path / "d")),))
    assert error.value.message == f"cannot open the disk {tmp_path}/d: Permission denied"
    assert error.value.hint == f"--disk {tmp_path}/d:ro if it need not be written"


def test_a_file_without_a_size(app: Path) -> None:
    assert failure("run", "--disk", "/proc/version:ro", app, code=125)[0] == (
        "/proc/version cannot be a disk: Invalid argument"
    )


def test_no_place_to_create_it(app: Path, tmp_path: Path) -> None:
    said, _, _ = failure("run", "--disk", f"{tmp_path}/no/such/d:size=1M", app, code=125)
    assert said == f"cannot create the disk {tmp_path}/no/such/d: No such file or directory"


def test_the_same_file_twice(app: Path, tmp_path: Path) -> None:
    path = disk(tmp_path / "d")
    (tmp_path / "link").symlink_to(path)
    said, _, _ = failure("run", "--disk", path, "--disk", tmp_path / "link", app, code=125)
    assert said == f"--disk {tmp_path}/link: the same file is given twice"


def test_too_many(app: Path, tmp_path: Path) -> None:
    flags = [word for n in range(9) for word in ("--disk", f"{tmp_path}/d{n}:size=1M")]
    assert failure("run", *flags, app, code=125)[0] == "9 disks; a guest has at most 8"
    said, _, hint = failure("run", *flags[:14], app, code=125)
    assert said == "0 network cards, 7 disks: microvm has room for 6 in all"
    assert hint == "--machine q35"


def test_an_image_without_the_driver(app: Path, tmp_path: Path) -> None:
    app.write_text("print('ran')\n")
    said, _, hint = failure("run", "--disk", disk(tmp_path / "d"), app, code=125)
    assert said == f"--disk {tmp_path}/d: app has no file systems: nothing in it imports vfs"
    assert hint == "a --variant that has disks, disks = true in image.toml, or floe run --dev"


def test_in_use(app: Path, tmp_path: Path) -> None:
    path = disk(tmp_path / "d")
    with Vm(VmSpec(tiny.build(tmp_path, tiny.HANG), cards=(), disks=(Disk(path),))) as vm:
        vm.pump(lambda: False, 0.5)  # QEMU takes its locks
        for value in (path, f"{path}:ro"):
            said, evidence, hint = failure("run", "--disk", value, app, code=125)
            assert said == f"the disk {path} is in use"
            assert f"by: qemu-system-x86 (pid {vm.pid})" in evidence
            assert hint == "end that VM, or give the disk to both with :ro"
    assert floe("run", "--disk", path, app).returncode == 0


def test_two_may_read(app: Path, tmp_path: Path) -> None:
    path = disk(tmp_path / "d")
    with Vm(VmSpec(tiny.build(tmp_path, tiny.HANG), cards=(), disks=(Disk(path, readonly=True),))) as vm:
        vm.pump(lambda: False, 0.5)
        assert floe("run", "--disk", f"{path}:ro:optional", app).returncode == 0  # blank
        assert failure("run", "--disk", path, app, code=125)[0] == f"the disk {path} is in use"


def test_a_dry_run_creates_nothing(app: Path, tmp_path: Path) -> None:
    done = floe("run", "--dry-run", "--disk", f"{tmp_path}/d:size=1M", app)
    assert done.returncode == 0
    assert f'"filename": "{tmp_path}/d"' in done.stdout
    assert not (tmp_path / "d").exists()
