# SPDX-License-Identifier: MIT
"""tools/floe/bench/linux.py: modules of Debian 12 and 13, and what several processes fetch at a time; no network here."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import threading
import time
from pathlib import Path

import pytest

from floe.bench import linux
from floe.errors import NotFound

VERSION = "6.12.0-cloud-amd64"


def module(name: str, needs: str) -> bytes:
    return b"\x7fELF\0name=" + name.encode() + b"\0depends=" + needs.encode() + b"\0"


@pytest.fixture(params=["lib", "usr/lib"], ids=["debian-12", "debian-13"])
def modules(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel as Debian packs it: virtio is built in, virtio_pci needs a module that needs another."""
    monkeypatch.setattr(linux, "FOLDER", tmp_path / "linux")
    root = tmp_path / "linux" / "root"
    folder = root / request.param / "modules" / VERSION
    (folder / "kernel" / "drivers").mkdir(parents=True)
    (root / "boot").mkdir()
    (root / "boot" / f"vmlinuz-{VERSION}").touch()
    (root / "bin").mkdir()
    (root / "bin" / "busybox").write_bytes(b"busybox")
    (root / "bin" / "busybox").chmod(0o755)
    (folder / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")
    needs = {"virtio_pci": "virtio,virtio_pci_modern_dev", "virtio_pci_modern_dev": "virtio_ring", "virtio_ring": ""}
    for name, other in needs.items():
        path = folder / "kernel" / "drivers" / f"{name}.ko"
        if request.param == "lib":
            path.write_bytes(module(name, other))
        else:
            path.with_name(f"{name}.ko.xz").write_bytes(lzma.compress(module(name, other)))
    return folder


def test_modules_stand_behind_those_they_need_and_what_is_built_in_is_none(modules: Path) -> None:
    found = linux._modules(("virtio", "virtio_pci"))
    assert list(found) == ["virtio_ring", "virtio_pci_modern_dev", "virtio_pci"]
    assert found["virtio_ring"] == module("virtio_ring", "")  # unpacked


def test_a_module_that_is_not_there_is_told(modules: Path) -> None:
    with pytest.raises(NotFound, match=rf"Linux {VERSION} of Debian's has no module virtio_net"):
        linux._modules(("virtio_pci", "virtio_net"))


def test_a_kernel_without_modules_is_told(modules: Path) -> None:
    modules.rename(modules.with_name("another"))
    with pytest.raises(NotFound, match=rf"Linux {VERSION} has no modules"):
        linux._modules(("virtio_pci",))


def test_a_root_that_is_booted_stays_as_it_is_where_it_is_made_anew(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux, "_DRIVERS", ("virtio_pci",))
    path = linux.root_of("app", "first", {})
    with path.open("rb") as booted:
        assert linux.root_of("app", "second", {}) == path
        assert b"\nfirst\n" in gzip.decompress(booted.read())
    assert b"\nsecond\n" in gzip.decompress(path.read_bytes())
    assert list(path.parent.glob(".app*")) == []


def test_what_is_fetched_is_not_taken_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As processes do it: each opens the lock for itself."""
    monkeypatch.setattr(linux, "FOLDER", tmp_path / "linux")
    fetched: list[str] = []
    begun = threading.Event()

    def unpack(package: str) -> None:
        fetched.append(package)
        path = tmp_path / "linux" / "root" / "usr" / "sbin" / package
        path.parent.mkdir(parents=True)
        path.write_text("the half")
        begun.set()
        time.sleep(0.3)
        path.write_text("the whole")

    monkeypatch.setattr(linux, "_unpack", unpack)
    seen: list[str] = []
    assert not linux.is_there("no-such-server")
    threads = [threading.Thread(target=lambda: seen.append(linux.find("no-such-server").read_text())) for _ in range(3)]
    threads[0].start()
    assert begun.wait(60)
    assert linux.is_there("no-such-server")
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == ["the whole"] * 3
    assert fetched == ["no-such-server"]


def test_a_program_without_its_libraries_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Debian's packages one alone is fetched."""
    monkeypatch.setattr(linux, "FOLDER", tmp_path)
    monkeypatch.setattr(linux, "_unpack", lambda package: None)
    folder, library = tmp_path / "root" / "usr" / "bin", tmp_path / "libfloe-none.so"
    folder.mkdir(parents=True)
    source = tmp_path / "one.c"
    source.write_text("int one(void) { return 1; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", library], check=True, timeout=60)
    source.write_text("int one(void);\nint main(void) { return one(); }\n")
    argv = ["gcc", source, f"-L{tmp_path}", "-lfloe-none", f"-Wl,-rpath,{tmp_path}", "-o", folder / "floe-none"]
    subprocess.run(argv, check=True, timeout=60)
    assert linux.is_there("floe-none") and linux.find("floe-none") == folder / "floe-none"
    library.unlink()
    assert not linux.is_there("floe-none")
    with pytest.raises(NotFound, match="floe-none is not installed, and its package alone does not run") as caught:
        linux.find("floe-none")
    assert caught.value.hint == "apt-get install floe-none"
