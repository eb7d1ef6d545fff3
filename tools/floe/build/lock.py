# SPDX-License-Identifier: MIT
"""packages.lock beside image.toml: what each package of [packages] was when it was first built, by SHA-256.

A build takes these very files, or fails. To take others, change the version in image.toml or remove the entry.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from floe.errors import BuildError, ConfigError
from floe.userfile import forget, read_file

FILE_NAME = "packages.lock"
_HEAD = "# Written by floe build: the packages of image.toml as they were first built. Keep it with the sources.\n"


@dataclass(frozen=True)
class Entry:
    """A package: `asked` is what image.toml says of it; files: SHA-256 by name (one archive, or mip's files)."""

    asked: str
    version: str
    files: dict[str, str]


@dataclass
class Lock:
    """The lock file of one image; path None for a script without image.toml, whose packages are not locked."""

    path: Path | None
    entries: dict[str, Entry] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def load(cls, folder: Path | None) -> Lock:
        """Raises ConfigError for a file that is none of ours."""
        path = folder / FILE_NAME if folder is not None else None
        if path is None or not path.exists():
            return cls(path)
        try:
            data = tomllib.loads(read_file(path).decode())
            entries = {name: _entry(table) for name, table in data.items()}
        except (ValueError, TypeError, KeyError, RecursionError, IsADirectoryError) as e:
            raise ConfigError(str(path), "", f"damaged: {e}", hint=f"remove {path}, and build again") from e
        return cls(path, entries)

    def get(self, name: str, asked: str) -> Entry | None:
        """What is locked of a package, if image.toml still asks for the same."""
        entry = self.entries.get(name)
        return entry if entry is not None and entry.asked == asked else None

    def check(self, name: str, entry: Entry) -> None:
        """Raises BuildError when a package is not what is locked; else it is locked from now on."""
        known = self.get(name, entry.asked)
        if known is None:
            self.entries[name] = entry
            self.changed = True
        elif known.files != entry.files:
            both = sorted(set(known.files) | set(entry.files))
            other = [file for file in both if known.files.get(file) != entry.files.get(file)]
            raise BuildError(
                f"{name} {entry.version} is not what {FILE_NAME} holds",
                evidence="\n".join(f"{f}: locked {_short(known, f)}, fetched {_short(entry, f)}" for f in other[:5]),
                hint=f"if the change is meant, remove [{name}] from {self.path}, and build again",
            )

    def save(self, wanted: set[str], say: Callable[[str], None]) -> None:
        """Write what changed; entries of packages that are no longer wanted go."""
        stale = set(self.entries) - wanted
        if self.path is None or not (self.changed or stale):
            return
        text = _HEAD + "".join(_text(name, self.entries[name]) for name in sorted(wanted & set(self.entries)))
        part = self.path.with_name(f".{FILE_NAME}.{os.getpid()}")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(self.path)
        except OSError as e:
            forget(part)
            say(f"{self.path} cannot be written: {e.strerror}: the packages are not locked")


def _entry(table: Any) -> Entry:
    entry = Entry(table["asked"], table["version"], dict(table["files"]))
    texts = (entry.asked, entry.version, *entry.files, *entry.files.values())
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a value is no string")
    if not re.fullmatch(r"[0-9A-Za-z.!+_-]+", entry.version):  # part of a folder's name in the cache
        raise ValueError(f"{entry.version!r} is no version")
    return entry


def _text(name: str, entry: Entry) -> str:
    quote = json.dumps  # a JSON string is a TOML string
    lines = [f"\n[{quote(name)}]", f"asked = {quote(entry.asked)}", f"version = {quote(entry.version)}"]
    lines += [f"files.{quote(file)} = {quote(digest)}" for file, digest in sorted(entry.files.items())]
    return "\n".join(lines) + "\n"


def _short(entry: Entry, file: str) -> str:
    return entry.files[file][:16] if file in entry.files else "nothing"
