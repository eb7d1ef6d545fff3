# SPDX-License-Identifier: MIT
"""A disk that is full, or that may not be written, is called so, whatever of a build it hits; and what is too large or
too deep has one clear error."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from floe.build import pipeline, port_archive
from floe.cli import main as cli
from floe.errors import BuildError, DiskFull, FloeError
from floe.image import elf

SmallDisk = Callable[[str], AbstractContextManager[Path]]
KIB = [16, 64, 200, 500, 1000]  # the first fits nothing, the last all but the ELF


@pytest.mark.parametrize("kib", KIB)
def test_full_while_building(kib: int, small_disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text(f"x = {random.Random(kib).randbytes(100_000)!r}\n")
    with small_disk(f"{kib}k") as disk:
        monkeypatch.setattr(port_archive, "CACHE", disk)
        with pytest.raises(DiskFull) as caught:
            pipeline.build(tmp_path / "main.py")
    assert "the disk is full: " in caught.value.message
    assert str(disk) in caught.value.message
    assert caught.value.hint.startswith("df -h ")


def test_full_where_the_image_is_wanted(
    small_disk: SmallDisk, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    with small_disk("100k") as disk:
        code = cli.run(["build", str(tmp_path / "main.py"), "-o", str(disk / "out.elf")])
        assert list(disk.iterdir()) == []
    assert code == 125
    err = capfd.readouterr().err
    assert err.startswith(f"floe: the disk is full: {disk}")
    assert "Traceback" not in err


def test_a_cache_that_cannot_be_written(
    small_disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As another user's checkout, or one on a file system that is only read; root, too, may not write to the latter."""
    script = tmp_path / "main.py"
    script.write_text(f"x = {os.urandom(8)!r}\n")  # never compiled before
    with small_disk("100k") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        monkeypatch.setattr(port_archive, "CACHE", disk)
        assert cli.run(["run", str(script)]) == 125
    err = capfd.readouterr().err
    assert err.startswith(f"floe: cannot write to {disk}, where images are built: Read-only file system\n  try: ")


def refused(number: int, file: Path) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(file))

    return fail


def test_a_cache_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    monkeypatch.setattr(port_archive, "CACHE", tmp_path / "a cache")
    monkeypatch.setattr(pipeline, "_build", refused(errno.EACCES, tmp_path / "a cache" / "apps" / ".main-1"))
    with pytest.raises(BuildError, match="where images are built: Permission denied") as caught:
        pipeline.build(tmp_path / "main.py")
    assert f"sudo chown -R \"$USER\" '{tmp_path}/a cache'" in caught.value.hint
    monkeypatch.setattr(pipeline, "_build", refused(errno.EACCES, tmp_path / "main.py"))
    with pytest.raises(PermissionError):  # not the cache's: no word of it
        pipeline.build(tmp_path / "main.py")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[port_archive.Archive]:
    real = port_archive.load("sealed")
    folder = tmp_path / "sealed"
    folder.mkdir()
    yield port_archive.Archive("sealed", folder, real.modules, (), (), real.compiler)


def test_a_source_of_the_port_that_is_newer(
    archive: port_archive.Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "port" / "hal" / "clock.c"
    source.parent.mkdir(parents=True)
    (tmp_path / "modules").mkdir()
    source.write_text("")
    (tmp_path / "port" / "README.md").write_text("")
    monkeypatch.setattr(port_archive, "ROOT", tmp_path)
    assert archive.newer_source() is None
    (archive.folder / port_archive.CHECKED).touch()
    now = time.time()
    os.utime(source, (now - 60, now - 60))
    os.utime(tmp_path / "port" / "README.md", (now + 60, now + 60))
    assert archive.newer_source() is None
    os.utime(source, (now + 60, now + 60))
    assert archive.newer_source() == Path("port/hal/clock.c")


@pytest.mark.parametrize(
    "literal", ["'" + "abcdefghi " * 100_000 + "'", repr(random.Random(2).randbytes(400_000))], ids=["str", "bytes"]
)
def test_a_literal_of_a_megabyte_builds_in_seconds(literal: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(f"x = {literal}\nprint(len(x))\n")
    before = time.monotonic()
    pipeline.build(tmp_path / "main.py")
    assert time.monotonic() - before < 60  # minutes before, seconds on a quiet machine


DEEP = {
    "image.toml": "args = " + "[" * 20_000 + "]" * 20_000,
    "main.py": "x = " + "[" * 20_000 + "]" * 20_000,
}


@pytest.mark.parametrize("name", DEEP)
def test_too_deep(name: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    (tmp_path / "image.toml").write_text('name = "deep"\n')
    (tmp_path / name).write_text(DEEP[name] + "\n")
    with pytest.raises(FloeError) as caught:
        pipeline.build(tmp_path)
    assert name in caught.value.message
    assert "too" in caught.value.message


def test_an_elf_of_a_tebibyte(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    path = tmp_path / "big.elf"
    shutil.copy(pipeline.build(tmp_path / "main.py").path, path)
    with path.open("r+b") as f:
        f.truncate(1 << 40)
    with pytest.raises(FloeError, match="it has 1099511627776 bytes; an image has at most 2048 MiB"):
        elf.read(path)
