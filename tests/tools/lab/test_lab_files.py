# SPDX-License-Identifier: MIT
"""What the labs are made of: pins, Debian packages, kernel images, cpio. Against files and tools that are wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.errors import ConfigError, FloeError, NotFound, UpstreamError
from floe.kvmlab import linuximage
from floe.lab import assets, bzimage, deb, packages
from floe.lab.cpio import Archive
from floe.lab.packages import Mirror, Package
from floe.lab.tree import Tree
from floe.xenlab import dom0image

# ---- cpio ---------------------------------------------------------------------------------------

# As written by GNU cpio 2.13 (-o -H newc -R 0:0, times and device 0, inodes renumbered) for a folder "d", a file "d/f" with "hi\n",
# and a link "d/l" to "f".
NEWC = (
    b"070701" b"00000001" b"000041ED" b"00000000" b"00000000" b"00000002" b"00000000" b"00000000" b"00000000" b"00000000"
    b"00000000" b"00000000" b"00000002" b"00000000" b"d\0"
    b"070701" b"00000002" b"000081A4" b"00000000" b"00000000" b"00000001" b"00000000" b"00000003" b"00000000" b"00000000"
    b"00000000" b"00000000" b"00000004" b"00000000" b"d/f\0\0\0hi\n\0"
    b"070701" b"00000003" b"0000A1FF" b"00000000" b"00000000" b"00000001" b"00000000" b"00000001" b"00000000" b"00000000"
    b"00000000" b"00000000" b"00000004" b"00000000" b"d/l\0\0\0f\0\0\0"
    b"070701" b"00000000" b"00000000" b"00000000" b"00000000" b"00000001" b"00000000" b"00000000" b"00000000" b"00000000"
    b"00000000" b"00000000" b"0000000B" b"00000000" b"TRAILER!!!\0\0\0\0"
)  # fmt: skip


def test_cpio_is_what_gnu_cpio_writes() -> None:
    out = Archive()
    out.file("d/f", b"hi\n")
    out.link("d/l", "f")
    out.folder("d")
    assert out.finish() == NEWC


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", ""])
def test_cpio_refuses_a_path_outside(path: str) -> None:
    with pytest.raises(ValueError, match="not a path below the root"):
        Archive().file(path, b"")


def test_cpio_device() -> None:
    out = Archive()
    out.character_device("dev/console", 5, 1)
    entry = out.finish()[116:]
    assert entry[14:22] == b"%08X" % 0o020600
    assert entry[78:94] == b"0000000500000001"


# ---- bzImage ------------------------------------------------------------------------------------

ELF = b"\x7fELF" + bytes(range(200)) * 5


def bz(payload: bytes, *, length: int | None = None) -> bytes:
    """A bzImage with one sector of setup code."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload) if length is None else length)
    return bytes(head) + bytes(16) + payload


SIZE = struct.pack("<I", len(ELF))


@pytest.mark.parametrize("packed", [lzma.compress(ELF) + SIZE, gzip.compress(ELF) + SIZE], ids=["xz", "gzip"])
def test_kernel_of_a_bzimage(packed: bytes) -> None:
    assert bzimage.kernel(bz(packed)) == ELF


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"MZ" + bytes(2000), "not a Linux bzImage"),
        (b"short", "not a Linux bzImage"),
        (bz(lzma.compress(ELF), length=1 << 20), "cut short"),
        (bz(lzma.compress(ELF)[:60]), "damaged: it ends too early"),
        (bz(b"\xfd7zXZ\0" + bytes(80)), "damaged"),
        (bz(gzip.compress(b"no program" * 20)), "not an ELF"),
        (bz(b"BZh9" + bytes(40)), "packed in a way unknown to floe"),
    ],
)
def test_bad_bzimage(image: bytes, words: str) -> None:
    with pytest.raises(UpstreamError, match=words):
        bzimage.kernel(image)


def test_kernel_that_needs_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = bz(b"\x28\xb5\x2f\xfd" + bytes(40))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="packed with zstd") as e:
        bzimage.kernel(image)
    assert e.value.hint == "sudo apt-get install zstd"


# ---- .deb ---------------------------------------------------------------------------------------


def ar(members: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def tar(files: dict[str, bytes], links: dict[str, str], mode: str = "w:xz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as t:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        for name, to in links.items():
            info = tarfile.TarInfo(f"./{name}")
            info.type, info.linkname = tarfile.SYMTYPE, to
            t.addfile(info)
    return buffer.getvalue()


def package_file(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    data = tar(files, links or {})
    return ar({"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data})


def test_deb(tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(package_file({"usr/bin/x": b"x", "usr/share/doc/y": b"y"}, {"usr/lib/l.so.1": "l.so.1.2"}))
    assert deb.read(path, lambda p: "doc" not in p) == ({"usr/bin/x": b"x"}, {"usr/lib/l.so.1": "l.so.1.2"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (package_file({"a": b"a" * 90000})[:-100], "is damaged"),
        (b"<html>not found</html>", "it is no Debian package"),
        (ar({"debian-binary": b"2.0\n"}), "it ends before its data"),
        (ar({"data.tar.zst": b"zz"}), "packed in a way unknown to floe: data.tar.zst"),
        (ar({"data.tar.xz": b"zz"}), "is damaged"),
    ],
)
def test_bad_deb(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(content)
    with pytest.raises(UpstreamError, match=words) as e:
        deb.read(path, lambda p: True)
    assert "run the same command again" in e.value.hint


def test_a_library_that_no_package_has(tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(
        package_file({"lib/x86_64-linux-gnu/a.so.1.2": b"A"}, {"usr/lib/x86_64-linux-gnu/a.so.1": "a.so.1.2"})
    )
    tree = Tree([path], "-", dom0image.MODULES)
    assert tree.library("a.so.1") == b"A"
    with pytest.raises(UpstreamError, match=r"lack the library b\.so"):
        tree.library("b.so")
    with pytest.raises(UpstreamError, match="have 0 files like boot/vmlinuz"):
        tree.kernel()


# ---- pins ---------------------------------------------------------------------------------------


def test_the_committed_pins_are_complete() -> None:
    pins = packages.load(dom0image.RECIPE.pins)
    names = [p.name for p in pins.of()]
    assert pins.suite == "bookworm"
    assert {"xen-hypervisor-4.17-amd64", "xen-utils-4.17", "busybox-static", "libc6"} <= set(names)
    assert len(set(names)) == len(names)
    assert [p.follow for p in pins.packages if p.name.startswith("linux-image")] == [
        "linux-image-amd64",
        "linux-image-cloud-amd64",
    ]


def test_the_kvm_lab_s_pins_are_complete() -> None:
    names = [p.name for p in linuximage.RECIPE.chosen()]
    assert {"qemu-system-x86", "seabios", "busybox-static", "libc6", "linux-image-6.1.0-56-amd64"} <= set(names)
    assert len(set(names)) == len(names)
    both = {p.file: p.sha256 for p in dom0image.RECIPE.chosen()}
    assert all(p.sha256 == both.get(p.file, p.sha256) for p in linuximage.RECIPE.chosen())


GOOD = f'suite = "s"\n[[package]]\nname = "a1"\nversion = "1"\nsha256 = "{"0" * 64}"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs suite and"),
        ("= 1", "Invalid"),
        (GOOD.replace('suite = "s"', ""), "needs suite"),
        (GOOD.replace('"1"', "1"), r"package\[0\].version: must be a non-empty string"),
        (GOOD.replace("0" * 64, "0" * 63), r"package\[0\].sha256: must be 64"),
        (GOOD.replace("a1", "../a"), "is no name of a package"),
        (GOOD + 'foo = "x"\n', r"package\[0\].foo: no such key"),
    ],
)
def test_bad_pins(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "packages.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        packages.load(path)


# ---- fetching, from an apt of ours --------------------------------------------------------------

APT = """#!/bin/sh
echo "$0 $*" >>{log}
case "$*" in
*indextargets*) printf '{targets}' ;;
*" update"*) {update} ;;
*" madison "*) printf '%s\\n' {offered} ;;
*" depends "*) echo "  Depends: linux-image-9-amd64" ;;
*" download "*) {download} ;;
esac
"""


Apt = Callable[..., tuple[Path, Mirror]]  # (offered, download=, update=, targets=): the folder of a Mirror, and it


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:

    def install(
        offered: str, download: str = ":", update: str = ":", targets: str = "http://m/debian/ /k.gpg\\n"
    ) -> tuple[Path, Mirror]:
        tools, debs = tmp_path / "bin", tmp_path / "debs"
        tools.mkdir()
        debs.mkdir()
        for name in ("apt-get", "apt-cache"):
            log = tmp_path / "apt.log"
            text = APT.format(log=log, targets=targets, update=update, offered=offered, download=download)
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
        return debs, Mirror("bookworm", tmp_path / "apt", print, purpose="the Xen lab", any_version="X --any-version")

    return install


CONTENT = b"a package"
ONE = Package("one", "2:1.0", hashlib.sha256(CONTENT).hexdigest())
OFFER = "' one | 2:1.0 | http://m/debian bookworm/main amd64 Packages'"
DOWNLOAD = "printf 'a package' >one_2%3a1.0_amd64.deb"


def test_fetch(apt: Apt, tmp_path: Path) -> None:
    targets = "http://other/ubuntu/ /u.gpg\\nhttp://m/debian/ /k.gpg\\nhttp://m/debian-security/ /k.gpg\\n"
    debs, mirror = apt(OFFER, DOWNLOAD, targets=targets)
    mirror.fetch([ONE], debs)
    assert (debs / ONE.file).read_bytes() == CONTENT
    sources = (tmp_path / "apt/bookworm/sources.list").read_text().splitlines()
    assert sources == [
        "deb [signed-by=/k.gpg] http://m/debian/ bookworm main",
        "deb [signed-by=/k.gpg] http://m/debian-security/ bookworm-security main",
    ]
    before = (tmp_path / "apt.log").read_text()
    mirror.fetch([ONE], debs)
    assert (tmp_path / "apt.log").read_text() == before  # it is there


def test_fetch_replaces_a_truncated_package(apt: Apt) -> None:
    debs, mirror = apt(OFFER, DOWNLOAD)
    (debs / ONE.file).write_bytes(CONTENT[:4])
    mirror.fetch([ONE], debs)
    assert (debs / ONE.file).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("settings", "words", "evidence", "hint"),
    [
        ({"offered": OFFER.replace("2:1.0", "2:1.1")}, "no longer has one 2:1.0", "it has: 2:1.1", "--any-version"),
        ({"offered": ""}, "no longer has one 2:1.0", "it has no version of it", "--any-version"),
        (
            {"offered": "", "update": "echo 'E: Temporary failure resolving m' >&2; exit 100"},
            "cannot download",
            "apt-get: Temporary failure resolving m",
            "check the network",
        ),
        (
            {"offered": OFFER, "download": "echo 'E: Failed to fetch http://m' >&2; exit 100"},
            "cannot download",
            "Failed to fetch",
            "check the network",
        ),
        (
            {"offered": OFFER, "download": "echo 'E: write (28: No space left on device)' >&2; exit 100"},
            "no room for the Xen lab",
            "No space left",
            "XDG_CACHE_HOME",
        ),
        ({"offered": OFFER, "download": DOWNLOAD.replace("'a ", "'b ")}, "is not the pinned one", "sha256", "again"),
        ({"offered": OFFER}, "apt-get fetched another file", "", ""),
    ],
    ids=["moved on", "gone", "no network", "no download", "full disk", "another content", "another name"],
)
def test_fetch_fails(apt: Apt, settings: dict[str, str], words: str, evidence: str, hint: str) -> None:
    debs, mirror = apt(**settings)
    with pytest.raises(FloeError, match=words) as e:
        mirror.fetch([ONE], debs)
    assert evidence in e.value.evidence
    assert hint in e.value.hint
    assert list(debs.iterdir()) == []


def test_a_full_disk_is_seen_before_the_download(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    debs, mirror = apt(OFFER, DOWNLOAD)
    usage = packages.shutil.disk_usage(debs)._replace(free=1000)
    monkeypatch.setattr(packages.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FloeError, match="no room for the Xen lab"):
        mirror.fetch([ONE], debs)


def test_any_version_follows_the_kernel(apt: Apt) -> None:
    kernel = "' linux-image-9-amd64 | 9.1 | http://m/debian bookworm/main amd64 Packages'"
    _, mirror = apt(f"{OFFER.replace('2:1.0', '2:1.1')} {kernel}")
    pinned = Package("linux-image-8-amd64", "8.1", "0" * 64, follow="linux-image-amd64")
    newest = mirror.newest([ONE, pinned])
    assert [(p.name, p.version, p.sha256) for p in newest] == [("one", "2:1.1", ""), ("linux-image-9-amd64", "9.1", "")]


def test_a_machine_without_debian(apt: Apt) -> None:
    with pytest.raises(UpstreamError, match="names no Debian mirror"):
        apt(OFFER, targets="http://m/fedora/ \\n")


def test_a_machine_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="no apt-get"):
        Mirror("bookworm", tmp_path / "apt", print, purpose="the Xen lab")


# ---- the cache ----------------------------------------------------------------------------------


def test_what_fails_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with assets.made(target) as scratch:
        (scratch / "f").write_text("old")
    (tmp_path / ".x-leftover").mkdir()
    with pytest.raises(FloeError, match="no room"), assets.made(target) as scratch:
        (scratch / "f").write_text("new")
        raise OSError(28, "No space left on device")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (target / "f").read_text() == "old"
    with assets.made(target) as scratch:
        (scratch / "f").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert [p.name for p in target.iterdir()] == ["f"]
