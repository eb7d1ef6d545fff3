# SPDX-License-Identifier: MIT
"""Images built on another image: `base` in image.toml. What the one leaves out the other has: its modules, its main
script, and the keys below. Its name, version, data, budget and variants stay its own.

A base is a folder, or the name of one of Floe's images.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floe.build.port_archive import ROOT

INHERITED = ("main", "memory", "profile", "ports", "allow", "args", "env", "imports", "secrets", "child_secrets",
             "disks", "fork", "packages")  # fmt: skip
IMAGES = ROOT / "images"
_MOST = 8  # bases one below the other


class BaseError(ValueError):
    """What is wrong with a base, and what to do."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


def find(folder: Path, name: str, below: tuple[Path, ...], file_name: str) -> Path:
    """The image.toml of a base that an image in `folder` names. below: the images on the way to this one."""
    for place in (folder / name, IMAGES / name):
        try:
            file = place.resolve() / file_name
            there = file.is_file()
        except (OSError, ValueError):
            there = False
        if there:
            if file in below:
                raise BaseError(f"'{name}' is built on this image", "leave out one of the two")
            if len(below) >= _MOST:
                raise BaseError(f"more than {_MOST} bases one below the other", "name the last one")
            return file
    names = ", ".join(sorted(path.parent.name for path in IMAGES.glob(f"*/{file_name}")))
    hint = "a folder with an image.toml" + (f", or one of Floe's images: {names}" if names else "")
    raise BaseError(f"no image '{name}'", hint)


def merge(own: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """An image's keys over those of its base that it takes; tables are merged key by key."""
    merged = {key: base[key] for key in INHERITED if key in base}
    for key, value in own.items():
        mine = merged.get(key)
        merged[key] = {**mine, **value} if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged


def missing(folder: Path, wants: tuple[str, ...]) -> str:
    """The first of the files that an image has to have for its base; "" if all are there."""
    return next((name for name in wants if not (folder / name).is_file()), "")
