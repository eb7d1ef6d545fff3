# SPDX-License-Identifier: MIT
"""Bytes of an image: of each of its parts, and what an import adds to a script that has none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.build import pipeline, port_archive

FIGURES = (
    Figure("elf", "ELF", "bytes"),
    Figure("added", "added by the import", "bytes"),
    Figure("part", "part of the ELF", "bytes"),
)
# Folders of the port archive, the first that an object lies below: what they are.
_PARTS = {
    "py": "interpreter",
    "extmod": "MicroPython's modules in C",
    "shared": "MicroPython's modules in C",
    "lib/libm_dbl": "floating point",
    "lwip": "network",
    "modules/lwip": "network",
    "modules/netdev": "network",
    "modules/packet": "packet engine",
    "mbedtls": "TLS",
    "modules/tls": "TLS",
    "modules/virtio": "virtio drivers",
    "modules/xen": "Xen drivers",
    "port/xen": "Xen drivers",
    "modules": "Floe's modules in C",
    "port": "boot, monitor, memory, libc",
    "disk": "file systems",
}
_IN_PARTS = ("hello", "web")  # the least that boots, and a server
_OF_THE_APP = {"frozen_content.o": "Python as bytecode", "floe_data.o": "files of the script"}
REST = "names, notes and gaps between them"
_IMAGES = ("hello", "web", "microdot", "dns", "mqtt", "redis")
_EMPTY = "no import"
_FEW = ("json", "re", "asyncio", "socket", "ssl")
_IMPORTS = (
    *_FEW, "argparse", "collections", "contextlib", "csv", "dataclasses", "datetime", "enum", "functools", "hashlib",
    "itertools", "logging", "os", "pathlib", "random", "requests", "statistics", "struct", "tempfile", "tomllib",
    "unittest", "urllib.parse", "uuid",
)  # fmt: skip


def prepare(options: Options) -> Experiment:
    names = ("hello", "web") if options.quick else _IMAGES
    images = [port_archive.ROOT / "images" / name for name in names]
    there = [folder for folder in images if folder.is_dir()]
    contenders = [Contender(f"images/{folder.name}", partial(_image, folder)) for folder in there]
    contenders.append(Contender(_EMPTY, partial(_import, "")))
    imports = _FEW if options.quick else _IMPORTS
    contenders += [Contender(f"import {name}", partial(_import, name), against=_EMPTY) for name in imports]
    left_out = [LeftOut(f"images/{one.name}", "an installed floe has it not") for one in images if one not in there]
    if port_archive.INSTALLED:
        left_out.append(LeftOut("sizes by part", "an installed floe does not know the folders of its objects"))
    if options.quick:
        further = f"{len(_IMAGES) - 2} further images and {len(_IMPORTS) - len(_FEW)} imports"
        left_out.append(LeftOut(further, "--quick builds a few"))
    return Experiment(
        "size",
        "Size",
        "Bytes of the ELF of images and of its parts; what one import adds to a script that has none. A build has one "
        "size, so there is one round.",
        FIGURES,
        tuple(contenders),
        rounds=1,
        seconds=60 if options.quick else 240,
        left_out=tuple(left_out),
        note="An import costs what it is the first to need: two of them cost less than their sum.",
    )


def _image(folder: Path, turn: Turn) -> Iterator[Reading]:
    built = pipeline.build(folder)
    yield Reading({"elf": built.path.stat().st_size})
    if not port_archive.INSTALLED and folder.name in _IN_PARTS:
        for part, size in parts(built).items():
            yield Reading({"part": size}, part)


def _import(name: str, turn: Turn) -> Iterator[Reading]:
    size, empty = (_size_of(text) for text in (f"import {name}\n" if name else "", ""))
    yield Reading({"elf": size} | ({"added": size - empty} if name else {}))


def _size_of(script: str) -> int:
    """All have one name, so that the builds which are kept are few."""
    with tempfile.TemporaryDirectory(prefix="floe-bench-") as scratch:
        path = Path(scratch) / "bench_import.py"
        path.write_text(script)
        return pipeline.build(path).path.stat().st_size


def parts(built: pipeline.Built) -> dict[str, int]:
    """Bytes by part, the largest first; together they are the ELF. Of objects with one name in two folders, the first
    folder of the table has both."""
    archive = port_archive.load(str(built.image.content["profile"])).folder
    order = list(_PARTS)
    where: dict[str, int] = {}  # by object: the place of its folder in the table
    for path in archive.rglob("*.o"):
        inside = str(path.parent.relative_to(archive))
        place = next((n for n, folder in enumerate(order) if f"{inside}/".startswith(f"{folder}/")), None)
        if place is not None:
            where[path.name] = min(place, where.get(path.name, place))
    found: dict[str, int] = {}
    for name, size in built.objects.items():
        part = _OF_THE_APP.get(name) or (_PARTS[order[where[name]]] if name in where else REST)
        found[part] = found.get(part, 0) + size
    found[REST] = found.get(REST, 0) + built.path.stat().st_size - sum(built.objects.values())
    return dict(sorted(found.items(), key=lambda part: -part[1]))
