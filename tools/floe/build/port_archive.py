# SPDX-License-Identifier: MIT
"""The port archive of one profile, as port/port.mk leaves it under build/port/<profile>, or under
build/<release>/port for another release of upstream's than the pinned one (setup/pins.py)."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from floe.errors import BuildError, NotFound
from floe.setup.pins import Pin, chosen_release, load_pins

_PACKAGE = Path(__file__).resolve().parents[1]
_WHEEL = _PACKAGE / "wheel"  # in an installed wheel: what a build takes from a checkout (cli/wheel.py)
INSTALLED = _WHEEL.is_dir()
ROOT = _WHEEL if INSTALLED else _PACKAGE.parents[1]
RELEASE = "" if INSTALLED else chosen_release()  # a wheel has one
BUILD = ROOT / "build" / RELEASE  # in a wheel nobody writes there
UPSTREAM = BUILD / "upstream"
MICROPYTHON = UPSTREAM / "micropython"


def _cache() -> Path:
    """Where builds leave what they may find again; $XDG_CACHE_HOME is $HOME/.cache if not set."""
    if not INSTALLED:
        return BUILD
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "floe"


CACHE = _cache()
CHECKED = "checked"  # in an archive's folder; its time is when make last began to bring it up to date
_SOURCES = {".c", ".h", ".S", ".mk", ".ld", ".toml", ".patch"}

_REGISTER = re.compile(r"(MP_REGISTER_MODULE|MP_REGISTER_EXTENSIBLE_MODULE)\(MP_QSTR_(\w+),\s*(\w+)\);")
_DELEGATE = re.compile(r"MP_REGISTER_MODULE_DELEGATION\((\w+),\s*(\w+)\);")


@dataclass(frozen=True)
class CModule:
    """A module written in C. extensible: a Python module of the same name takes its place."""

    name: str
    symbol: str
    extensible: bool


@dataclass(frozen=True)
class Archive:
    """libfloe.a and what is needed to link an application with it. profile: "sealed" or "dev"; compiler: what made
    it, as "gcc 12.2.0"."""

    profile: str
    folder: Path
    modules: dict[str, CModule]
    cflags: tuple[str, ...]
    ldflags: tuple[str, ...]
    compiler: str

    @property
    def library(self) -> Path:
        return self.folder / "libfloe.a"

    @property
    def disk_library(self) -> Path:
        """What an image with disks links before libfloe.a: file systems, and the files that differ for them."""
        return self.folder / "libdisk.a"

    @property
    def ready_library(self) -> Path:
        """What a ready kernel links before the others: its Python comes as .mpy files."""
        return self.folder / "libready.a"

    @property
    def mpy_cross(self) -> Path:
        return self.folder.parent.parent / "mpy-cross"

    def newer_source(self) -> Path | None:
        """A source that changed after make looked at all of them (setup.make_port), relative to the top folder."""
        if INSTALLED:
            return None
        made = next((p for p in (self.folder / CHECKED, self.library) if p.exists()), None)
        if made is None:
            return None
        when = made.stat().st_mtime
        for top in ("port", "modules"):
            for folder, folders, names in os.walk(ROOT / top):
                folders.sort()
                for name in sorted(names):
                    path = os.path.join(folder, name)
                    if os.path.splitext(name)[1] in _SOURCES and os.stat(path).st_mtime > when:
                        return Path(path).relative_to(ROOT)
        return None

    def module_definitions(self, names: set[str]) -> str:
        """The lines of moduledefs.collected for these modules only, sorted: input of makemoduledefs.py."""
        text = (self.folder / "genhdr" / "moduledefs.collected").read_text()
        kept = {match[0] for match in _REGISTER.finditer(text) if match[2] in names}
        symbols = {self.modules[name].symbol for name in names}
        kept |= {match[0] for match in _DELEGATE.finditer(text) if match[1] in symbols}
        return "".join(f"{line}\n" for line in sorted(kept))


def load(profile: str, build: Path = BUILD) -> Archive:
    """The archive of a profile. Raises NotFound when it was never built."""
    folder = build / "port" / profile
    for path in (
        folder / "libfloe.a",
        folder / "libdisk.a",
        folder / "libready.a",
        folder / "app.cflags",
        folder / "app.ldflags",
        folder / "compiler",
        build / "mpy-cross",
    ):
        if not path.exists():
            raise NotFound(f"the {profile} port archive is not built", evidence=f"missing: {path}", hint="make setup")
    text = (folder / "genhdr" / "moduledefs.collected").read_text()
    modules = {m[2]: CModule(m[2], m[3], m[1] == "MP_REGISTER_EXTENSIBLE_MODULE") for m in _REGISTER.finditer(text)}
    if "sys" not in modules:
        raise BuildError(f"{folder}/genhdr/moduledefs.collected lists no module 'sys'", hint="make clean setup")
    flags = [tuple(shlex.split((folder / name).read_text())) for name in ("app.cflags", "app.ldflags")]
    return Archive(profile, folder, modules, flags[0], flags[1], (folder / "compiler").read_text().strip())


def pins() -> list[Pin]:
    """The upstream projects that the archives are made from. Raises ConfigError."""
    return load_pins(ROOT / "port" / "upstream.toml", RELEASE)
