# SPDX-License-Identifier: MIT
"""The list of sources that are not ours: the pins of port/upstream.toml with the patches beside it, and the other
releases that can take their place. Standard library only; writes nothing."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from floe.errors import ConfigError

RELEASE = "FLOE_UPSTREAM"
STAMP = ".floe-pin"  # in a folder of sources: which ones they are


@dataclass(frozen=True)
class Patch:
    """A change to a source of upstream's, as `patch -p1` takes it."""

    path: Path
    content: bytes

    @property
    def mended(self) -> tuple[int, ...]:
        """The first version of upstream's that needs it no more, as its head's "Mended:" says; empty: none yet."""
        said = re.search(rb"^Mended: (\d[\d.]*)", self.content.partition(b"\n--- ")[0], re.MULTILINE)
        return _number(said[1].decode()) if said else ()


@dataclass(frozen=True)
class Origin:
    """Where a file comes from. kind is "debian" (suite, source) or "url" (url)."""

    kind: str
    file: str
    sha256: str
    suite: str = ""
    source: str = ""
    url: str = ""

    def __str__(self) -> str:
        return f"Debian {self.suite}" if self.kind == "debian" else self.url


@dataclass(frozen=True)
class Pin:
    """One pinned source. modules: empty if it is part of every image. patches: in the order they are applied."""

    name: str
    version: str
    licence: str
    modules: tuple[str, ...]
    origins: tuple[Origin, ...]
    patches: tuple[Patch, ...] = ()

    @property
    def stamps(self) -> dict[str, str]:
        """What the stamp file of this source holds, by the sha256 of the archive it came from."""
        digest = hashlib.sha256(b"\0".join(patch.content for patch in self.patches)).hexdigest()
        suffix = f" {digest}" if self.patches else ""
        return {origin.sha256: f"{self.version} {origin.sha256}{suffix}\n" for origin in self.origins}


def chosen_release() -> str:
    """The release that the environment asks for; empty: the pinned one."""
    return os.environ.get(RELEASE, "")


def unpacked_from(target: Path, pin: Pin) -> str:
    """The sha256 of the archive that lies unpacked there with all of its patches; "" where it does not."""
    try:
        stamp = (target / STAMP).read_text()
    except (OSError, UnicodeDecodeError):
        return ""
    return next((sha256 for sha256, text in pin.stamps.items() if text == stamp), "")


def load_pins(path: Path, release: str = "") -> list[Pin]:
    """Read upstream.toml and the patches beside it. release: sources that the list has for it take the place of those
    of the same name without one. Raises ConfigError naming file, entry and problem."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(str(path), "", "no such file") from None
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(str(path), "", str(e)) from e
    entries = data.get("upstream")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(str(path), "upstream", "no [[upstream]] entry")
    pins: dict[str, dict[str, Pin]] = {}
    for i, entry in enumerate(entries):
        of, pin = _pin(path, i, entry)
        if pins.setdefault(of, {}).setdefault(pin.name, pin) is not pin:
            raise ConfigError(str(path), f"upstream[{i}].name", f"a second '{pin.name}' of the same release")
    if release not in pins:
        there = ", ".join(filter(None, pins)) or "none"
        raise ConfigError(
            str(path),
            "release",
            f"no release '{release}'; there is: {there}",
            hint=f"{RELEASE} names one of them, or is not set",
        )
    return [_patched(path, pin, release) for pin in (pins.get("", {}) | pins[release]).values()]


def _pin(path: Path, index: int, entry: dict[str, Any]) -> tuple[str, Pin]:
    """An entry's release, and its source without patches."""
    key = f"upstream[{index}]"

    def text(table: dict[str, Any], name: str, where: str) -> str:
        value = table.get(name)
        if not isinstance(value, str) or not value:
            raise ConfigError(str(path), f"{where}.{name}", "must be a non-empty string")
        return value

    name = text(entry, "name", key)
    if name != os.path.basename(name) or name.startswith("."):
        raise ConfigError(str(path), f"{key}.name", f"'{name}' is no folder name")
    origins = []
    for j, raw in enumerate(entry.get("origin", [])):
        where = f"{key}.origin[{j}]"
        kind = text(raw, "kind", where)
        if kind not in ("debian", "url"):
            raise ConfigError(str(path), f"{where}.kind", f"'{kind}' is neither 'debian' nor 'url'")
        sha256 = text(raw, "sha256", where)
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ConfigError(str(path), f"{where}.sha256", "must be 64 lower-case hexadecimal digits")
        needed = ("suite", "source") if kind == "debian" else ("url",)
        more = {name: text(raw, name, where) for name in needed}
        origins.append(Origin(kind=kind, file=os.path.basename(text(raw, "file", where)), sha256=sha256, **more))
    if not origins:
        raise ConfigError(str(path), f"{key}.origin", "no origin")
    version, licence = text(entry, "version", key), text(entry, "licence", key)
    release = text(entry, "release", key) if "release" in entry else ""
    if not re.fullmatch("[a-z]*", release):
        raise ConfigError(str(path), f"{key}.release", f"'{release}' has more than lower-case letters")
    return release, Pin(name, version, licence, tuple(entry.get("modules", [])), tuple(origins))


def _patched(path: Path, pin: Pin, release: str) -> Pin:
    """A source with its patches: those for all releases, unless the source has what they mend; for one of the same
    name in the release's own folder, that one."""
    folder = path.parent / "patches" / pin.name
    files = {p.name: p for where in (folder, folder / release) for p in where.glob("*.patch")}
    patches = (Patch(files[name], files[name].read_bytes()) for name in sorted(files))
    return replace(pin, patches=tuple(p for p in patches if not (p.mended and p.mended <= _number(pin.version))))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version))
