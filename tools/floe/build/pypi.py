# SPDX-License-Identifier: MIT
"""The packages of [packages]: from PyPI or by mip, fetched once into a cache, verified, unpacked, never installed, and
held to packages.lock. What brings and unpacks them is imported late: most builds have none to fetch."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from floe.build.config import ImageConfig, Package
from floe.build.lock import Entry, Lock
from floe.build.resolve import Frozen, Root
from floe.errors import BuildError, UpstreamError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Unpacked:
    """A package ready to freeze. sha256: of the archive, or of mip's files; licence as its metadata says."""

    name: str
    version: str
    sha256: str
    licence: str
    root: Root


def fetch_all(config: ImageConfig, cache: Path, say: Say) -> list[Unpacked]:
    """The packages of an image. Raises BuildError when one cannot be had or is another than is pinned or locked."""
    lock = Lock.load(config.file.parent if config.file is not None else None)
    found = [_fetch(name, pin, lock, cache, say) for name, pin in config.packages.items()]
    lock.save(set(config.packages), say)
    return found


def merged(packages: Iterable[Unpacked]) -> list[Root]:
    """One place to look in for all packages: several may have parts of one folder (umqtt/simple.py, umqtt/robust.py).
    Where two have the same file, the first one's is taken."""
    files: dict[str, Frozen] = {}
    labels = []
    for package in packages:
        labels.append(package.root.label)
        files = {**package.root.files, **files}
    return [Root(", ".join(labels), "packages", files)] if labels else []


def _fetch(name: str, pin: Package, lock: Lock, cache: Path, say: Say) -> Unpacked:
    if pin.mip:
        return _by_mip(name, pin, lock, cache, say)
    asked = pin.version
    store = cache / f"{name}-{pin.version}"
    if not store.exists():
        say(f"fetching {name} {pin.version} from PyPI")
        _download(name, pin, store, say)
    archive = next(path for path in sorted((store / "file").iterdir()))
    with archive.open("rb") as f:
        sha256 = hashlib.file_digest(f, "sha256").hexdigest()
    if pin.sha256 and sha256 != pin.sha256:
        raise BuildError(
            f"{archive.name} is not the pinned {name} {pin.version}",
            evidence=f"sha256 pinned:  {pin.sha256}\nsha256 fetched: {sha256}",
            hint=f"correct packages.{name}.sha256, or remove {store} to fetch it again",
        )
    lock.check(name, Entry(asked, pin.version, {archive.name: sha256}))
    tree = store / "tree"
    code = tree / "src" if (tree / "src").is_dir() else tree
    label = f"{name} {pin.version}"
    return Unpacked(name, pin.version, sha256, _licence(tree), Root.of_folder(code, label, label))


def _by_mip(name: str, pin: Package, lock: Lock, cache: Path, say: Say) -> Unpacked:
    from floe.build import mip

    asked = f"{pin.mip} {pin.version} {pin.index}".strip()
    locked = lock.get(name, asked)
    wanted = Package(version=locked.version if locked else pin.version, mip=pin.mip, index=pin.index)
    version, store = mip.fetch(wanted, cache, say)
    files = {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.rglob("*")
        if path.is_file()
    }
    lock.check(name, Entry(asked, version, files))
    digest = hashlib.sha256("".join(f"{target} {files[target]}\n" for target in sorted(files)).encode()).hexdigest()
    label = f"{name} {version}"
    return Unpacked(name, version, digest, "unknown", Root.of_folder(store, label, label))


def _download(name: str, pin: Package, store: Path, say: Say) -> None:
    """Fill store/file (what the index has) and store/tree (unpacked), at once or not at all."""
    from floe.build import index
    from floe.setup.archive import unpack

    store.parent.mkdir(parents=True, exist_ok=True)
    file = index.find(name, pin.version)
    content = index.fetch(file.url)
    actual = hashlib.sha256(content).hexdigest()
    if file.sha256 and actual != file.sha256:
        raise BuildError(
            f"{file.name} was damaged on its way",
            evidence=f"sha256 of the index: {file.sha256}\nsha256 fetched:      {actual}",
            hint="run the same command again; if it stays so, the index has another file than its sha256 says",
        )
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=store.parent) as scratch:
        work = Path(scratch) / "package"
        (work / "file").mkdir(parents=True)
        archive = work / "file" / Path(file.name).name
        archive.write_bytes(content)
        try:
            unpack(archive, work / "tree", lambda link: say(f"{name} {pin.version}: left out: {link}"))
        except UpstreamError as e:
            again = "run the same command again: the index names no sha256 to tell a damaged download by"
            so = "another version of the package: the index has the file so, its sha256 is right"
            raise BuildError(e.message, evidence=e.evidence, hint=so if file.sha256 else again) from e
        work.rename(store)


def _licence(tree: Path) -> str:
    """The licence a package's metadata names, "unknown" if it names none."""
    from email.parser import HeaderParser

    for metadata in [
        *sorted(tree.glob("*.dist-info/METADATA")),
        tree / "PKG-INFO",
        *sorted(tree.glob("*.egg-info/PKG-INFO")),
    ]:
        if metadata.is_file():
            headers = HeaderParser().parsestr(metadata.read_text(encoding="utf-8", errors="replace"))
            named = headers.get("License-Expression") or headers.get("License") or ""
            classified = [c for c in headers.get_all("Classifier", []) if c.startswith("License ::")]
            return named.splitlines()[0] if named else re.sub(r".*:: ", "", classified[0]) if classified else "unknown"
    return "unknown"
