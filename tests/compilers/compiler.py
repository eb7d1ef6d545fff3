# SPDX-License-Identifier: MIT
"""A gcc of another Debian release, unpacked into a folder and made to run there with its own libraries.

No root is needed and nothing is installed. It compiles and links what Floe's images are made of, which needs no
headers or libraries of the host.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from floe.lab import deb, packages

TRIPLET = "x86_64-linux-gnu"
# What gcc starts by name: from its own folder, and from binutils.
INNER = ("cc1", "collect2")
BINUTILS = ("as", "ld", "ar", "nm")


def unpack(version: int, folder: Path, way: Path) -> Path:
    """The folder with `gcc`, `as`, `ld` of gcc VERSION to be put on the PATH. Raises FloeError without a network.

    folder: what is unpacked, kept from run to run. way: an empty folder through which it is reached; its path has no
    blank, at which gcc splits the names that it makes of its own."""
    pins = packages.load(Path(__file__).with_name(f"gcc-{version}.toml"))
    downloads = folder / "deb"
    if not (folder / "complete").exists():
        downloads.mkdir(parents=True, exist_ok=True)
        mirror = packages.Mirror(pins.suite, folder / "apt", lambda text: None, purpose="the tests' compilers")
        mirror.fetch(pins.packages, downloads)
        for package in pins.packages:
            _extract(downloads / package.file, folder / "root")
        (folder / "complete").touch()
    root, scripts = way / "root", way / "bin"
    root.symlink_to(folder / "root")
    scripts.mkdir()
    inner = root / "usr/lib/gcc" / TRIPLET / str(version)
    libexec = root / "usr/libexec/gcc" / TRIPLET / str(version)
    for name in INNER:
        _script(scripts / name, root, libexec / name if (libexec / name).exists() else inner / name)
    for name in BINUTILS:
        _script(scripts / name, root, root / "usr/bin" / f"{TRIPLET}-{name}")
    _script(scripts / "gcc", root, root / "usr/bin" / f"{TRIPLET}-gcc-{version}", f"-B{scripts}", f"-B{inner}")
    return scripts


def _extract(package: Path, root: Path) -> None:
    files, links = deb.read(package, lambda path: path.startswith(("usr/bin/", "usr/lib", "lib")))
    for name, content in files.items():
        path = root / _merged(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    for name, target in links.items():
        path = root / _merged(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target if not target.startswith("/") else f"{root}{target}")


def _merged(name: str) -> str:
    """/lib is /usr/lib."""
    return name if name.startswith("usr/") else f"usr/{name}"


def _script(path: Path, root: Path, program: Path, *first: str) -> None:
    """A script at `path` that runs a program of the root with the root's loader and libraries."""
    libraries = f"{root}/usr/lib/{TRIPLET}:{root}/usr/lib"
    loader = root / "usr/lib" / TRIPLET / "ld-linux-x86-64.so.2"
    words = [str(loader), "--library-path", libraries, "--argv0", str(program), str(program), *first]
    path.write_text(f'#!/bin/sh\nGCC_EXEC_PREFIX={shlex.quote(f"{root}/usr/lib/gcc/")} exec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)
