# SPDX-License-Identifier: MIT
"""Debian packages: which ones (pins in TOML files), and bringing them into a folder, verified.

They come from the mirrors that the machine's apt configuration names, through an apt state of our own; nothing is
installed, and no root is needed.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from floe.errors import ConfigError, FloeError, NotFound, UpstreamError
from floe.setup.apt import AptState, machine_archives, source_line

_AMD64 = ("-o", "APT::Architecture=amd64", "-o", "APT::Update::Error-Mode=any", "-o", "Acquire::PDiffs=false")
_ROOM = 400 << 20  # bytes that the packages, the image and their like need on the disk
Say = Callable[[str], None]


@dataclass(frozen=True)
class Package:
    """A package of a certain version. sha256 "": whatever apt's signed lists say."""

    name: str
    version: str
    sha256: str
    follow: str = ""
    extra: str = ""
    arch: str = "amd64"

    @property
    def file(self) -> str:
        """As `apt-get download` names it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"


@dataclass(frozen=True)
class Pins:
    """A file of pins."""

    suite: str
    packages: tuple[Package, ...]

    def of(self, extra: str = "") -> tuple[Package, ...]:
        """The packages that are always needed, or those of an extra."""
        return tuple(p for p in self.packages if p.extra == extra)


def load(path: Path) -> Pins:
    """Read the pins. Raises ConfigError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(str(path), "", e.strerror or "cannot be read") from e
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(str(path), "", str(e)) from e
    keys = {"name": True, "version": True, "sha256": True, "follow": False, "extra": False, "arch": False}
    packages = []
    for index, entry in enumerate(data.get("package") or ()):
        where = f"package[{index}]"
        for key in (*entry, *(key for key, needed in keys.items() if needed)):
            if key not in keys:
                raise ConfigError(str(path), f"{where}.{key}", "no such key")
            if not isinstance(entry.get(key), str) or not entry[key]:
                raise ConfigError(str(path), f"{where}.{key}", "must be a non-empty string")
        if not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]):
            raise ConfigError(str(path), f"{where}.sha256", "must be 64 lower-case hexadecimal digits")
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", entry["name"]):
            raise ConfigError(str(path), f"{where}.name", f"'{entry['name']}' is no name of a package")
        packages.append(Package(**entry))
    if not packages or not isinstance(data.get("suite"), str):
        raise ConfigError(str(path), "", "needs suite and [[package]] entries")
    return Pins(data["suite"], tuple(packages))


class Mirror:
    """Debian's packages of one suite, as the machine's own mirrors have them. Owns the apt state in `folder`."""

    def __init__(self, suite: str, folder: Path, say: Say, *, purpose: str, any_version: str = "") -> None:
        """purpose: who needs them, for messages. any_version: the command that does not insist on the pins."""
        self.suite = suite
        self._purpose = purpose
        moved_on = f"{any_version}\nwhich takes the mirror's versions, checked by apt's signatures"
        self._moved_on = moved_on if any_version else "a newer floe, whose pins are newer"
        self._say = say
        self._apt = AptState(folder, say)
        self._updated = False
        if shutil.which("apt-get") is None:
            raise NotFound(
                f"this machine has no apt-get, which fetches Debian's packages for {purpose}",
                hint="use a machine with Debian",
            )
        lines = [
            source_line("deb", uri, signed_by, suite if uri.rstrip("/").endswith("/debian") else f"{suite}-security")
            for uri, signed_by in machine_archives()
            if uri.rstrip("/").endswith(("/debian", "/debian-security"))
        ]
        if not lines:
            raise UpstreamError("the machine's apt configuration names no Debian mirror", hint="apt-get indextargets")
        self._apt.prepare(suite, "".join(lines))

    def newest(self, packages: Iterable[Package]) -> tuple[Package, ...]:
        """The same packages in the versions that the mirror has now."""
        self._update()
        followed = [replace(p, name=self._dependency(p.follow)) if p.follow else p for p in packages]
        offered = self._offered([p.name for p in followed])
        return tuple(replace(p, version=self._there(p, offered)[0], sha256="") for p in followed)

    def fetch(self, packages: Sequence[Package], folder: Path) -> None:
        """Put the packages' files into `folder`; those that are there and right stay. Raises UpstreamError."""
        missing = [p for p in packages if not _right(folder / p.file, p)]
        if not missing:
            return
        check_room(folder, purpose=self._purpose)
        offered = self._offered([p.name for p in missing])
        if any(p.version not in offered.get(p.name, ()) for p in missing):
            self._update()
            offered = self._offered([p.name for p in missing])
        for p in missing:
            if p.version not in self._there(p, offered):
                raise UpstreamError(
                    f"the mirror no longer has {p.name} {p.version}",
                    evidence=f"it has: {', '.join(offered[p.name])}",
                    hint=self._moved_on,
                )
        self._say(f"downloading {len(missing)} packages of Debian {self.suite}")
        try:
            self._get("download", *(f"{p.name}={p.version}" for p in missing), cwd=folder)
        except UpstreamError as e:
            if "No space left" in e.message or "enough free space" in e.message:
                raise _full(folder, _ROOM, self._purpose) from e
            raise _download(e, self._purpose) from e
        for p in missing:
            _verify(folder / p.file, p)

    def _update(self) -> None:
        if not self._updated:
            self._say(f"reading Debian {self.suite}'s list of packages")
            try:
                self._get("update")
            except UpstreamError as e:
                raise _download(e, self._purpose) from e
            self._updated = True

    def _get(self, *words: str, cwd: Path | None = None, tool: str = "apt-get") -> str:
        return self._apt.get(self.suite, *_AMD64, *words, cwd=cwd, tool=tool)

    def _offered(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Versions by package, newest first."""
        found: dict[str, list[str]] = {}
        for line in self._get("madison", *names, tool="apt-cache").splitlines():
            columns = [column.strip() for column in line.split("|")]
            if len(columns) == 3 and "Packages" in columns[2] and columns[1] not in found.setdefault(columns[0], []):
                found[columns[0]].append(columns[1])
        return found

    def _there(self, package: Package, offered: dict[str, list[str]]) -> list[str]:
        if versions := offered.get(package.name):
            return versions
        raise UpstreamError(
            f"the mirror no longer has {package.name} {package.version}",
            evidence="it has no version of it",
            hint=self._moved_on,
        )

    def _dependency(self, name: str) -> str:
        """The package that a package without content stands for."""
        said = self._get("depends", "--no-recommends", "--no-suggests", name, tool="apt-cache")
        for line in said.splitlines():
            if match := re.match(r"\s*Depends: (linux-image-\S+)", line):
                return match[1]
        raise UpstreamError(f"the mirror has no package {name}")


def _right(path: Path, package: Package) -> bool:
    """Whether the file is there and is the pinned one. A wrong one is removed."""
    try:
        with path.open("rb") as f:
            if package.sha256 and hashlib.file_digest(f, "sha256").hexdigest() == package.sha256:
                return True
        path.unlink()  # without a pin only apt can tell, and it does so while it downloads
    except FileNotFoundError:
        pass
    return False


def _verify(path: Path, package: Package) -> None:
    try:
        with path.open("rb") as f:
            actual = hashlib.file_digest(f, "sha256").hexdigest()
    except FileNotFoundError:
        raise UpstreamError(f"apt-get fetched another file than {path.name}") from None
    if package.sha256 and actual != package.sha256:
        path.unlink()
        raise UpstreamError(
            f"{path.name} is not the pinned {package.name} {package.version}",
            evidence=f"sha256 pinned:  {package.sha256}\nsha256 fetched: {actual}",
            hint="run the same command again; if it stays so, do not use the file",
        )


def _download(e: UpstreamError, purpose: str) -> UpstreamError:
    return UpstreamError(
        f"cannot download {purpose}'s packages",
        evidence=f"apt-get: {e.message}",
        hint="check the network and the machine's apt sources, then run the same command again",
    )


def check_room(folder: Path, need: int = _ROOM, *, purpose: str) -> None:
    """Raises FloeError when the disk has less than `need` bytes for us."""
    if shutil.disk_usage(folder).free < need:
        raise _full(folder, need, purpose)


def _full(folder: Path, need: int, purpose: str) -> FloeError:
    return FloeError(
        f"no room for {purpose} below {folder}: it takes {need >> 20} MiB",
        evidence=f"errno {errno.ENOSPC}: No space left on device",
        hint=f"df -h {folder}\nor set XDG_CACHE_HOME to a folder on another disk",
    )
