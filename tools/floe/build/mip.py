# SPDX-License-Identifier: MIT
"""Packages by their `mip` names, resolved when the image is built: micropython-lib's index, a repository on GitHub or
a server laid out like it, or a package.json by its address. The format is MicroPython's (docs/reference/packages.rst).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from floe.build import index
from floe.build.config import Package
from floe.errors import BuildError

INDEX = "https://micropython.org/pi/v2"
GITHUB = "https://raw.githubusercontent.com"
MAX_FILES = 500
MAX_DEPTH = 10
MAX_BYTES = 64 << 20  # of all files of a package and its dependencies


@dataclass
class _Walk:
    """What a package and its dependencies consist of: content by target. base: the index."""

    base: str
    files: dict[str, bytes] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    version: str = ""

    def package(self, name: str, version: str, depth: int = 0) -> None:
        if (name, version) in self.seen:
            return
        self.seen.add((name, version))
        if depth > MAX_DEPTH:
            raise BuildError(f"mip: {name}: its dependencies are more than {MAX_DEPTH} deep")
        address = self._address(name, version)
        try:
            data = json.loads(index.fetch(address))
            entries = [(str(target), str(short)) for target, short in data.get("hashes", ())]
            urls = [(str(target), str(url)) for target, url in data.get("urls", ())]
            needs = [(str(needed), str(of)) for needed, of in data.get("deps", ())]
        except (ValueError, TypeError, AttributeError, RecursionError) as e:
            raise BuildError(f"mip: {name}: {address} is no package of mip's: {e}") from e
        self.version = self.version or str(data.get("version") or version)
        for target, short in entries:
            content = self._take(target, f"{self.base}/file/{short[:2]}/{short}", address)
            if not hashlib.sha256(content).hexdigest().startswith(short) or len(short) < 8:
                raise BuildError(f"mip: {name}: {target} is not the file that the index names")
        for target, url in urls:
            where = _rewrite(url, version) if ":" in url else _beside(address, url)
            self._take(target, where, address)
        for needed, of in needs:
            self.package(needed, of or "latest", depth + 1)

    def _address(self, name: str, version: str) -> str:
        if name.startswith(("http://", "https://", "github:")):
            where = _rewrite(name, version)
            return where if where.endswith(".json") else f"{where.rstrip('/')}/package.json"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise BuildError(f"mip: '{name}' is no name of a package")
        return f"{self.base}/package/py/{name}/{version}.json"

    def _in_the_way(self, path: PurePosixPath) -> bool:
        """Whether another file would have to be a folder, or this one."""
        return any(str(p) in self.files for p in path.parents) or any(f.startswith(f"{path}/") for f in self.files)

    def _take(self, target: str, address: str, package: str) -> bytes:
        path = PurePosixPath(target)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise BuildError(f"mip: a file outside the package's folder: {target!r}")
        if not target.isprintable() or any(len(part.encode()) > 255 for part in path.parts):
            raise BuildError(f"mip: no name of a file: {target!r}")
        if len(self.files) >= MAX_FILES:
            raise BuildError(f"mip: more than {MAX_FILES} files")
        content = index.fetch(address, named_by=package)
        if self.files.setdefault(str(path), content) != content or self._in_the_way(path):
            raise BuildError(f"mip: two different files want the name {target}")
        if sum(map(len, self.files.values())) > MAX_BYTES:
            raise BuildError(f"mip: files of more than {MAX_BYTES >> 20} MiB")
        return content


def fetch(pin: Package, cache: Path, say: Callable[[str], None]) -> tuple[str, Path]:
    """Version of a package, and the folder below `cache` that holds its files and those of its dependencies.

    A version once fetched is not asked for again; "latest" always is. Raises BuildError."""
    base = (pin.index or os.environ.get("FLOE_MIP_INDEX") or INDEX).rstrip("/")
    key = hashlib.sha256(f"{base} {pin.mip}".encode()).hexdigest()[:16]
    store = cache / f"mip-{key}-{pin.version}"
    if pin.version != "latest" and store.exists():
        return pin.version, store
    say(f"fetching {pin.mip} {pin.version} by mip")
    walk = _Walk(base)
    walk.package(pin.mip, pin.version)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", walk.version):
        raise BuildError(f"mip: {pin.mip}: {walk.version!r} is no version")
    store = cache / f"mip-{key}-{walk.version}"
    if not store.exists():
        _keep(walk, store)
    return walk.version, store


def _keep(walk: _Walk, store: Path) -> None:
    """Fill the store at once or not at all."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mip-", dir=store.parent) as scratch:
        work = Path(scratch) / "package"
        for target, content in walk.files.items():
            path = work / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        work.mkdir(exist_ok=True)
        work.rename(store)


def _beside(address: str, url: str) -> str:
    try:
        return urllib.parse.urljoin(address, url)
    except ValueError as e:
        raise BuildError(f"mip: {url!r} is no address: {e}") from e


def _rewrite(url: str, version: str) -> str:
    """github:ORG/REPO[/PATH][@REF] as the address of its files; any other address as it is."""
    if not url.startswith("github:"):
        return url
    path, _, ref = url.removeprefix("github:").partition("@")
    parts = path.split("/")
    if len(parts) < 2 or not all(parts[:2]):
        raise BuildError(f"mip: {url}: not github:ORG/REPO")
    ref = ref or ("HEAD" if version in ("", "latest") else version)
    base = (os.environ.get("FLOE_MIP_GITHUB") or GITHUB).rstrip("/")
    return "/".join([base, *parts[:2], ref, *parts[2:]])
