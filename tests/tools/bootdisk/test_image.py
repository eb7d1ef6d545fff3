# SPDX-License-Identifier: MIT
"""`floe build --disk`: what is on a disk, the same bytes each time, and what it refuses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.command import floe

SECTOR = 512


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a script") / "app.py"
    path.write_text("print('hello')\n")
    return path


def build(script: Path, form: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    done = floe("build", script, "--disk", form, "-o", folder / "app.elf")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == sorted(["app.elf", f"app.{form}"])
    return folder / f"app.{form}"


def on_fat(fat: str, name: str) -> bytes:
    return subprocess.run(["mtype", "-i", fat, f"::{name}"], capture_output=True, check=True, timeout=60).stdout


def test_the_elf_is_on_it_byte_for_byte(script: Path, tmp_path: Path) -> None:
    disk = build(script, "raw", tmp_path / "out")
    start = int.from_bytes(disk.read_bytes()[2 * SECTOR + 128 + 32 :][:8], "little")
    fat = f"{disk}@@{start * SECTOR}"
    assert on_fat(fat, "/floe/app.elf") == disk.with_suffix(".elf").read_bytes()
    assert on_fat(fat, "/floe/grub.cfg").endswith(b"module2 /floe/app.elf \nboot\n")
    assert on_fat(fat, "/EFI/BOOT/BOOTX64.EFI")[:2] == b"MZ"


@pytest.mark.parametrize("form", ["qcow2", "iso"])
def test_a_disk_is_the_same_each_time(script: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever time, and with SOURCE_DATE_EPOCH's in it."""
    one = build(script, form, tmp_path / "one").read_bytes()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert build(script, form, tmp_path / "two").read_bytes() == one
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert build(script, form, tmp_path / "three").read_bytes() != one


def test_the_name_of_a_disk_may_be_given(script: Path, tmp_path: Path) -> None:
    """And what was there is replaced."""
    (tmp_path / "my.qcow2").write_text("old")
    done = floe("build", script, "--disk", "qcow2", "-o", tmp_path / "my.qcow2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my.qcow2").read_bytes()[:4] == b"QFI\xfb"
    assert (tmp_path / "my.elf").read_bytes()[:4] == b"\x7fELF"


def test_missing_programs_are_named(script: Path, tmp_path: Path) -> None:
    """Those of Debian's packages, in one line to type, and nothing is left half made."""
    (tmp_path / "bin").mkdir()
    for name in ("gcc", "ld", "as", "grub-mkimage"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    environment = os.environ | {"PATH": str(tmp_path / "bin")}
    for form, lacking in (("raw", "mtools"), ("iso", "mtools, xorriso"), ("vhd", "mtools, qemu-utils")):
        done = floe("build", script, "--disk", form, "-o", tmp_path / "a.elf", env=environment)
        assert done.returncode == 127
        assert f"floe: --disk {form} takes programs that are not here: {lacking}\n" in done.stderr
        assert f"apt-get install --no-install-recommends {lacking.replace(',', '')}\n" in done.stderr
        assert not (tmp_path / f"a.{form}").exists()


def test_secrets_are_for_nobody_to_hand_over(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_text('name = "app"\nsecrets = ["key"]\n')
    (tmp_path / "main.py").write_text("import floe\nprint(floe.secret('key'))\n")
    done = floe("build", tmp_path, "--disk", "raw", "-o", tmp_path / "app.elf")
    assert done.returncode == 125
    assert "floe: app takes secrets (key), and nobody hands them over to a boot disk\n" in done.stderr
    assert not (tmp_path / "app.raw").exists()


def test_what_is_no_file_is_not_replaced(script: Path, tmp_path: Path) -> None:
    (tmp_path / "a.raw").mkdir()
    done = floe("build", script, "--disk", "raw", "-o", tmp_path / "a.elf")
    assert done.returncode == 125
    assert f"floe: {tmp_path / 'a.raw'} is a folder\n" in done.stderr


@pytest.mark.parametrize(("form", "kib"), [("raw", 600), ("qcow2", 5000), ("iso", 4000)])
def test_a_full_disk_leaves_the_elf_alone(
    form: str, kib: int, script: Path, small_disk: Callable[[str], AbstractContextManager[Path]]
) -> None:
    """Whichever of the programs meets it."""
    with small_disk(f"{kib}k") as disk:
        done = floe("build", script, "--disk", form, "-o", disk / "app.elf")
        assert [path.name for path in disk.iterdir()] == ["app.elf"]
    assert done.returncode == 125
    assert "floe: the disk is full: " in done.stderr
    assert "Traceback" not in done.stderr
