# SPDX-License-Identifier: MIT
"""tools/floe/cli/disk.py: disks made, read and written on the host; nothing is lost where there is no room."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path

import pytest

from floe.spec.disks import Disk
from floe.spec.vmspec import VmSpec
from floe.vm.vm import Vm
from tests.support import tiny
from tests.support.command import failure, floe

FILE_SYSTEMS = ["littlefs2", "FAT"]
needs_mtools = pytest.mark.skipif(shutil.which("mformat") is None, reason="SKIP: mtools is not installed")


def run(*words: str | Path) -> str:
    """What `floe disk` says. It must succeed."""
    done = floe("disk", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(params=FILE_SYSTEMS)
def file_system(request: pytest.FixtureRequest) -> str:
    if request.param == "FAT" and shutil.which("mformat") is None:
        pytest.skip("SKIP: mtools is not installed")
    return str(request.param)


@pytest.fixture
def disk(file_system: str, tmp_path: Path) -> Path:
    path = tmp_path / "my disk.img"
    said = run("create", path, "--size", "4M", *(["--fat"] if file_system == "FAT" else []))
    assert said == f"{path}: 4M, {file_system}\n"
    return path


def files(path: Path) -> dict[str, int]:
    """Files on a disk and their sizes."""
    return {e["path"]: e["size"] for e in json.loads(run("ls", path, "-r", "--json")) if not e["folder"]}


def test_a_tree_there_and_back(disk: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "empty").mkdir(parents=True)
    (tree / "a" / "b").mkdir(parents=True)
    content = {"x.txt": b"", "a/Größe und Länge.bin": os.urandom(300_001), "a/b/deep": b"deep"}
    for name, data in content.items():
        (tree / name).write_bytes(data)
    run("cp", "-r", disk, tree, ":/")
    assert files(disk) == {f"/tree/{name}": len(data) for name, data in content.items()}
    run("cp", "-r", disk, ":/tree", tmp_path / "back")
    assert {str(p.relative_to(tmp_path / "back")) for p in (tmp_path / "back").rglob("*")} == {
        str(p.relative_to(tree)) for p in tree.rglob("*")
    }
    for name, data in content.items():
        assert (tmp_path / "back" / name).read_bytes() == data
    assert "3 files of 300005 bytes" in run("check", disk)
    assert run("ls", disk, ":/tree/a") == run("ls", disk, "/tree/a")
    assert run("ls", disk, "/tree/a").split() == ["300001", "Größe", "und", "Länge.bin", "0", "b/"]


def test_a_file_is_replaced_whole_or_not_at_all(disk: Path, tmp_path: Path) -> None:
    note, large = tmp_path / "note", tmp_path / "large"
    for text in ("old", "new and longer"):
        note.write_text(text)
        run("cp", disk, note, ":/note.txt")
    with large.open("wb") as f:
        f.truncate(5 << 20)
    for target in (":/note.txt", ":/other"):
        said, hint = failure("disk", "cp", disk, large, target, code=125)[0::2]
        assert said == f"{disk} has no room for {target[2:]}"
        assert hint == f"floe disk grow {disk} SIZE, or remove files in a VM"
    assert files(disk) == {"/note.txt": 14}
    run("cp", disk, ":/note.txt", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "new and longer"


def test_what_is_not_there_is_said(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for words, code, said in (
        (("ls", disk, "/none"), 127, f"{disk} has no /none"),
        (("cp", disk, ":/none", tmp_path / "x"), 127, f"{disk} has no /none"),
        (("cp", disk, tmp_path / "none", ":/"), 127, f"no such file: {tmp_path / 'none'}"),
        (("cp", disk, tmp_path / "file", ":/none/"), 127, "the disk has no folder /none/"),
        (("cp", disk, tmp_path / "folder", ":/"), 125, f"{tmp_path / 'folder'} is a folder"),
        (("cp", disk, "a", "b"), 125, "copies go from this machine to the disk or back"),
        (("cp", disk, tmp_path / "file", ":/../x"), 125, "/../x: a path on a disk has no .."),
        (("create", disk, "--size", "4M"), 125, f"{disk} is there already"),
        (("create", tmp_path / "n", "--size", "4"), 125, "'4' is not a size"),
        (("check", tmp_path / "none"), 127, f"no such disk: {tmp_path / 'none'}"),
    ):
        assert failure("disk", *words, code=code)[0] == said
    assert not (tmp_path / "x").exists() and files(disk) == {}


def test_a_disk_in_use_is_left_alone(disk: Path, tmp_path: Path) -> None:
    elf = tiny.build(tmp_path, tiny.HANG)
    with Vm(VmSpec(elf, cards=(), disks=(Disk(disk),))) as vm:
        vm.pump(lambda: False, 0.5)
        for words in (("ls", disk), ("grow", disk), ("cp", disk, elf, ":/")):
            assert failure("disk", *words, code=125)[0] == f"the disk {disk} is in use"
    with Vm(VmSpec(elf, cards=(), disks=(Disk(disk, readonly=True),))) as vm:
        vm.pump(lambda: False, 0.5)
        assert run("ls", disk) == ""
        assert failure("disk", "cp", disk, elf, ":/", code=125)[0] == f"the disk {disk} is in use"


def test_grow(tmp_path: Path) -> None:
    path, note = tmp_path / "d", tmp_path / "note"
    note.write_text("kept")
    run("create", path, "--size", "64K")
    run("cp", path, note, ":/")
    assert run("grow", path, "8M") == f"{path}: littlefs2, 65536 bytes before, now 8388608\n"
    os.truncate(path, 16 << 20)
    assert f"; 8388608 bytes of the disk are not used, floe disk grow {path} takes them" in run("check", path)
    assert run("grow", path) == f"{path}: littlefs2, 8388608 bytes before, now 16777216\n"
    assert run("grow", path) == f"{path}: littlefs2, 16777216 bytes before, now 16777216\n"
    assert files(path) == {"/note": 4}
    assert failure("disk", "grow", path, "4M", code=125)[0] == f"{path} has 16M already"
    os.truncate(path, 8 << 20)
    said, hint = failure("disk", "check", path, code=125)[0::2]
    assert said == f"{path} has 8388608 bytes, its littlefs2 16777216: the end is lost"
    assert hint == "take it from a copy"


@needs_mtools
def test_a_fat_does_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "d"
    run("create", path, "--size", "4M", "--fat")
    assert failure("disk", "grow", path, "8M", code=125)[0] == f"{path} holds a FAT, which does not grow"
    assert path.stat().st_size == 4 << 20


def test_blank_unknown_and_damaged(tmp_path: Path) -> None:
    path = tmp_path / "d"
    path.write_bytes(bytes(1 << 20))
    assert failure("disk", "ls", path, code=125)[0] == f"{path} is blank"
    path.write_bytes(b"something" + bytes((1 << 20) - 9))
    assert failure("disk", "ls", path, code=125)[0] == f"{path} holds neither littlefs2 nor FAT"
    path.unlink()
    run("create", path, "--size", "1M")
    with path.open("r+b") as f:
        for block in (0, 4096):  # behind the superblock's own words, which its checksum covers
            f.seek(block + 32)
            f.write(b"\xff" * 16)
    said = failure("disk", "check", path, code=125)[0]
    assert said == f"{path}: its littlefs2 is damaged"


# ---- names ------------------------------------------------------------------------------------------


def resum(log: bytearray) -> None:
    """Mend the checksums of a log of littlefs' metadata (its SPEC.md)."""
    at, tag, crc = 4, 0xFFFFFFFF, zlib.crc32(log[:4])
    while at + 4 <= len(log):
        tag ^= int.from_bytes(log[at : at + 4], "big")
        if tag >> 31:
            return
        crc, kind, length = zlib.crc32(log[at : at + 4], crc), tag >> 20, tag & 0x3FF
        if kind & 0x780 == 0x500:
            log[at + 4 : at + 8] = (crc ^ 0xFFFFFFFF).to_bytes(4, "little")
            tag, crc = tag ^ (kind & 1) << 31, 0
        else:
            length = 0 if length == 0x3FF else length
            crc = zlib.crc32(log[at + 4 : at + 4 + length], crc)
        at += 4 + length


def renamed(path: Path, old: str, new: str) -> None:
    """Give a file on a disk a name that no file system takes, as an attacker would."""
    data = bytearray(path.read_bytes())
    if what_is_on_bytes(data) == "FAT":  # a long name lies in pieces of five characters and more
        for start in range(0, len(old), 5):
            was, to = old[start : start + 5].encode("utf-16le"), new[start : start + 5].encode("utf-16le")
            assert was in data
            data = data.replace(was, to)
    for at in range(0, len(data), 4096):
        block = data[at : at + 4096]
        if old.encode() in block:
            block = block.replace(old.encode(), new.encode())
            resum(block)
            data[at : at + 4096] = block
    path.write_bytes(data)


def what_is_on_bytes(data: bytes) -> str:
    return "FAT" if data[510:512] == b"\x55\xaa" else "littlefs2"


@pytest.mark.parametrize("name", ["../../evil", "/absolutes", "in/another"])
def test_a_name_that_leads_elsewhere(tmp_path: Path, name: str, file_system: str) -> None:
    path = tmp_path / "d"
    run("create", path, "--size", "1M", *(["--fat"] if file_system == "FAT" else []))
    source = tmp_path / "s"
    source.mkdir()
    (source / "XXYXXYevil").write_text("x")
    run("cp", "-r", path, source, ":/")
    renamed(path, "XXYXXYevil", name)
    out = tmp_path / "o" / "in"
    out.mkdir(parents=True)
    for words in (("cp", "-r", path, ":/s", out), ("ls", "-r", path), ("check", path)):
        assert failure("disk", *words, code=125)[0].startswith(f"{path}")
    assert [p for p in (tmp_path / "o").rglob("*") if p.is_file()] == []


@needs_mtools
@pytest.mark.parametrize("name", ["*.txt", "[a]", "a?b", "a:b", "a\\b", "x.", "x ", "con", "NUL.txt"])
def test_a_name_that_is_none_on_a_fat(tmp_path: Path, name: str) -> None:
    path, source = tmp_path / "d", tmp_path / name
    run("create", path, "--size", "1M", "--fat")
    source.write_text("x")
    assert (
        failure("disk", "cp", path, source, ":/", code=125)[0]
        == f"{path}: {name!r} is no name for a FAT, or not for mtools"
    )
    assert files(path) == {}


def test_a_name_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    path, source = tmp_path / "d", tmp_path / "a\x1b]0;title\x07\nb"
    run("create", path, "--size", "1M")
    source.write_text("x")
    run("cp", path, source, ":/")
    assert run("ls", path) == "           1 a^[]0;title^G^Jb\n"
