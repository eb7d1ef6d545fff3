# SPDX-License-Identifier: MIT
"""A second QEMU, so that what a machine has installed is not the only one that is tried: Debian 13's 10.0, or Debian 12's
7.2 where 10 is installed. Its packages are pinned (qemu-10.0.toml, and the KVM lab's), fetched from the machine's own mirrors as those of the
Xen lab are, and unpacked below $XDG_CACHE_HOME/floe/qemu; it runs with its own C library. Nothing is installed.

    FLOE_QEMU=$(.venv/bin/python tests/support/otherqemu.py) .venv/bin/floe run APP
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from floe.errors import FloeError
from floe.kvmlab import linuximage
from floe.lab import assets, deb, packages
from floe.qemu.commandline import QEMU, find_qemu

HERE = Path(__file__).resolve().parent
LOADER = "ld-linux-x86-64.so.2"


def version(qemu: str | Path) -> str:
    """ "7.2", as the QEMU says it. Raises FloeError."""
    try:
        said = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except OSError as e:
        raise FloeError(f"{qemu} cannot be run: {e.strerror}") from e
    match = re.search(r"version (\d+\.\d+)", said.stdout)
    if match is None:
        raise FloeError(f"{qemu} does not say its version", evidence=said.stdout + said.stderr)
    return match[1]


def pins() -> Path:
    """Of the QEMU that the machine's own is not."""
    return HERE / "qemu-10.0.toml" if int(version(find_qemu()).split(".")[0]) < 10 else linuximage.PINS


def bring() -> Path:
    """Path of the second QEMU, which is fetched where it is not there yet. Raises FloeError."""
    path = pins()
    wanted = packages.load(path)
    needed = (*wanted.of(), *wanted.of("second"))
    digest = hashlib.sha256(path.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:16]
    root = _root()
    with assets.locked(root / "lock", _say):
        target = root / digest
        if not target.exists():
            (root / "debs").mkdir(exist_ok=True)
            _mirror(wanted.suite).fetch(needed, root / "debs")
            with assets.made(target) as scratch:
                unpack([root / "debs" / p.file for p in needed], scratch, target)
    return target / QEMU


def unpack(debs: Sequence[Path], folder: Path, target: Path) -> None:
    """Fill a folder, which will be moved to `target`, with the program, its libraries and its firmware."""
    for package in debs:
        files, links = deb.read(package, lambda path: _place(path) is not None)
        for path, content in files.items():
            place = folder / str(_place(path))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        for path, aim in links.items():
            place, name = folder / str(_place(path)), Path(aim).name
            if name != place.name:  # Debian 12's /lib64 names a file of the same name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(name)
    for file in (folder / "bin" / QEMU, folder / "lib" / LOADER):
        file.chmod(0o755)
    at = {name: shlex.quote(str(target / name)) for name in ("lib", f"bin/{QEMU}", "modules", "qemu", "seabios")}
    program = at[f"bin/{QEMU}"]  # under its own name, which it says in front of its messages
    words = f"{at['lib']}/{LOADER} --library-path {at['lib']} {program} -L {at['qemu']} -L {at['seabios']}"
    (folder / QEMU).write_text(f'#!/bin/sh\nQEMU_MODULE_DIR={at["modules"]} exec {words} "$@"\n')
    (folder / QEMU).chmod(0o755)


def _place(path: str) -> str | None:
    """Where a file of a package belongs, None for one that is not needed."""
    if path == f"usr/bin/{QEMU}":
        return f"bin/{QEMU}"
    if match := re.fullmatch(r"(?:usr/)?lib(?:64|/x86_64-linux-gnu)/([^/]+\.so[^/]*)", path):
        return f"lib/{match[1]}"
    if match := re.fullmatch(r"usr/lib/x86_64-linux-gnu/qemu/(accel-tcg-x86_64\.so)", path):
        return f"modules/{match[1]}"  # 7.2 has emulation in a module
    if path == "usr/lib/ipxe/qemu/efi-virtio.rom":
        return "qemu/efi-virtio.rom"
    if match := re.fullmatch(r"usr/share/((?:qemu|seabios)/[^/]+\.(?:bin|rom))", path):
        return match[1]
    return None


def renew() -> None:
    """Write what the mirrors have now into the pins. The set of packages stays: what is missing shows at a start."""
    for path in (*HERE.glob("qemu-*.toml"), linuximage.PINS):
        old = packages.load(path)
        mirror = _mirror(old.suite)
        text = path.read_text()
        with tempfile.TemporaryDirectory() as folder:
            for before, now in zip(old.packages, mirror.newest(old.packages), strict=True):
                mirror.fetch([now], Path(folder))
                digest = hashlib.sha256((Path(folder) / now.file).read_bytes()).hexdigest()
                renewed = replace(now, sha256=digest)
                text = text.replace(f'version = "{before.version}"\nsha256 = "{before.sha256}"', _pin(renewed))
        path.write_text(text)


def _pin(package: packages.Package) -> str:
    return f'version = "{package.version}"\nsha256 = "{package.sha256}"'


def _mirror(suite: str) -> packages.Mirror:
    return packages.Mirror(suite, _root() / "apt", _say, purpose="the tests' second QEMU")


def _root() -> Path:
    return assets.root().with_name("qemu")


def _say(text: str) -> None:
    print(f"otherqemu: {text}", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:] == ["renew"]:
        renew()
    else:
        print(bring())
