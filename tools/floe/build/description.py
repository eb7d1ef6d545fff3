# SPDX-License-Identifier: MIT
"""What an image holds, in words: the JSON of the ELF's Floe note, which `floe inspect` prints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floe import __version__
from floe.build import kernels, port_archive
from floe.build.contents import Contents
from floe.setup.pins import unpacked_from

# What upstream keeps in lib/ of MicroPython's own archive: no pin of theirs in upstream.toml.
_DISK_UPSTREAM = (("littlefs", "2.8", "BSD-3-Clause"), ("FatFs", "R0.13c", "BSD-1-Clause"))


def note_text(contents: Contents, mpy: Mapping[str, Path], kernel: kernels.Entry | None = None) -> str:
    """The content of the note as text. mpy: the bytecode by the file's name in the image."""
    described = describe(contents, {target: path.stat().st_size for target, path in mpy.items()}, kernel)
    return json.dumps(described, separators=(",", ":"), sort_keys=True)


def describe(contents: Contents, mpy_sizes: Mapping[str, int], kernel: kernels.Entry | None = None) -> dict[str, Any]:
    """The content of the note. mpy_sizes: bytes of bytecode by the file's name in the image. kernel: the ready kernel
    it is on, with all that this holds."""
    config = contents.config
    held = contents.closure.modules if kernel is None else set(kernel.modules)
    more: dict[str, Any] = ({"kernel": kernel.name} if kernel else {}) | ({"fork": True} if contents.forks else {})
    more |= {"child_secrets": list(config.child_secrets)} if config.child_secrets else {}
    return more | {
        "format": 1,
        "floe": __version__,
        "name": config.name,
        "version": config.version,
        "profile": "dev" if contents.repl else "sealed",
        "compiler": contents.archive.profile == "dev",
        "main": config.main.name,
        "memory": config.memory,
        "secrets": list(config.secrets),
        "modules": sorted(held),
        "drivers": [driver.removesuffix("_driver").replace("_", "-") for driver in contents.drivers],
        "frozen": [
            {
                "name": target,
                "origin": file.origin,
                "mpy_bytes": mpy_sizes.get(target, 0),
                "sha256": hashlib.sha256(file.path.read_bytes()).hexdigest(),
            }
            for target, file in sorted(contents.closure.frozen.items())
        ],
        "data": contents.data.files if contents.data else {},
        "packages": [
            {"name": package.name, "version": package.version, "licence": package.licence, "sha256": package.sha256}
            for package in contents.packages
        ],
        "upstream": _upstream(held),
    }


def _upstream(modules: set[str]) -> list[dict[str, Any]]:
    """Each upstream project that has code in an image with these modules: name, version and licence, the archive that
    it was unpacked from, and the patches to it, by their names."""
    found: list[dict[str, Any]] = []
    for pin in port_archive.pins():
        if not pin.modules or modules & set(pin.modules):
            part = {"name": pin.name, "version": pin.version, "licence": pin.licence}
            sha256 = unpacked_from(port_archive.UPSTREAM / pin.name, pin)
            patches = [patch.path.stem for patch in pin.patches]
            found.append(part | ({"sha256": sha256} if sha256 else {}) | ({"patches": patches} if patches else {}))
    if "vfs" in modules:
        found += [{"name": name, "version": version, "licence": licence} for name, version, licence in _DISK_UPSTREAM]
    return found
