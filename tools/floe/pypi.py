# SPDX-License-Identifier: MIT
"""Pinned packages from PyPI, through pip: downloaded once into a cache, verified, unpacked, never installed."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from floe.archive import unpack
from floe.config import Package
from floe.errors import BuildError, UpstreamError
from floe.resolve import Root

PIP_TIMEOUT_S = 300
_PIP = [sys.executable, "-I", "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "--no-input"]


@dataclass(frozen=True)
class Unpacked:
    """A package ready to freeze. sha256 is the downloaded file's; licence as its metadata says."""

    name: str
    version: str
    sha256: str
    licence: str
    root: Root


def fetch(name: str, pin: Package, cache: Path, say: Callable[[str], None]) -> Unpacked:
    """One pinned package. Raises BuildError when it cannot be had or is another file than the pin says."""
    store = cache / f"{name}-{pin.version}"
    if not store.exists():
        say(f"fetching {name} {pin.version} from PyPI")
        _download(name, pin, cache, store)
    archive = next(path for path in sorted((store / "file").iterdir()))
    with archive.open("rb") as f:
        sha256 = hashlib.file_digest(f, "sha256").hexdigest()
    if pin.sha256 and sha256 != pin.sha256:
        raise BuildError(
            f"{archive.name} is not the pinned {name} {pin.version}",
            evidence=f"sha256 pinned:  {pin.sha256}\nsha256 fetched: {sha256}",
            hint=f"correct packages.{name}.sha256, or remove {store} to fetch it again",
        )
    tree = store / "tree"
    code = tree / "src" if (tree / "src").is_dir() else tree
    label = f"{name} {pin.version}"
    return Unpacked(name, pin.version, sha256, _licence(tree), Root.of_folder(code, label, label))


def _download(name: str, pin: Package, cache: Path, store: Path) -> None:
    """Fill store/file (what pip fetched) and store/tree (unpacked), at once or not at all."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=cache) as scratch:
        work = Path(scratch) / "package"
        (work / "file").mkdir(parents=True)
        wanted = f"{name}=={pin.version}"
        # A wheel needs no code of the package to be run; a source archive is the second choice.
        tries = [_pip(wanted, work, "--only-binary=:all:"), ""]
        if tries[0]:
            tries[1] = _pip(wanted, work, "--no-binary=:all:")
        if tries[1]:
            raise BuildError(
                f"cannot fetch {name} {pin.version} from PyPI",
                evidence=tries[0] if "No matching distribution" in tries[1] else tries[1],
                hint="check name and version under [packages] in image.toml, and the network",
            )
        archive = next((work / "file").iterdir())
        try:
            if archive.suffix == ".whl":
                with zipfile.ZipFile(archive) as wheel:
                    wheel.extractall(work / "tree")
            else:
                unpack(archive, work / "tree")
        except (UpstreamError, zipfile.BadZipFile, tarfile.TarError) as e:
            raise BuildError(f"{archive.name} is damaged: {e}", hint="run the same command again") from e
        work.rename(store)


def _pip(wanted: str, work: Path, kind: str) -> str:
    """Run pip; "" or its complaint."""
    try:
        done = subprocess.run(
            [*_PIP, kind, "--dest", str(work / "file"), wanted],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"pip did not end within {PIP_TIMEOUT_S} s"
    if done.returncode == 0:
        return ""
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "\n".join(said) or done.stderr.strip() or f"pip ended with {done.returncode}"


def _licence(tree: Path) -> str:
    """The licence a package's metadata names, "unknown" if it names none."""
    for metadata in [*sorted(tree.glob("*.dist-info/METADATA")), tree / "PKG-INFO"]:
        if metadata.exists():
            headers = HeaderParser().parsestr(metadata.read_text(encoding="utf-8"))
            named = headers.get("License-Expression") or headers.get("License") or ""
            classified = [c for c in headers.get_all("Classifier", []) if c.startswith("License ::")]
            return named.splitlines()[0] if named else re.sub(r".*:: ", "", classified[0]) if classified else "unknown"
    return "unknown"
