# SPDX-License-Identifier: MIT
"""What an image consists of, as a CycloneDX 1.6 document (ECMA-424): `floe inspect --sbom`.

All of it stands in the image: its note and its own bytes. The same image gives the same document: no time of day, and
a serial number made from the image's digest. Written by hand: it is one dictionary, for which cyclonedx-python-lib
brings six packages; a test checks it against the schema that this library has.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from floe.image.elf import Image
from floe.image.signature import digest

_FORMAT = {"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.6"}
_IMAGE, _FLOE = "image", "floe"  # bom-ref; the others are NAME@VERSION

Component = dict[str, Any]


def document(image: Image) -> dict[str, Any]:
    """The document as JSON has it. Raises OSError."""
    held = image.content
    sha256 = digest(image.path)
    parts = [_floe(held), *(_upstream(part, held) for part in held["upstream"])]
    parts += [_package(part, held) for part in held["packages"]]
    return _FORMAT | {
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, sha256)}",
        "version": 1,
        "metadata": {
            "component": _image(held, sha256),
            "tools": {"components": [{"type": "application", "name": "floe", "version": held["floe"]}]},
        },
        "components": parts,
        "dependencies": [
            {"ref": _IMAGE, "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }


def _image(held: Mapping[str, Any], sha256: str) -> Component:
    said = {"profile": held["profile"], "main": held["main"], "ready-kernel": held.get("kernel", "")}
    data = [{"type": "file", "name": f"/rom/{name}"} for name in held["data"]]
    return {
        "type": "firmware",
        "bom-ref": _IMAGE,
        "name": held["name"],
        "version": held["version"],
        "hashes": _hashes(sha256),
        "properties": _properties((name, value) for name, value in said.items() if value),
    } | _within([*_files(held, {"app", "base"}), *data])


def _floe(held: Mapping[str, Any]) -> Component:
    """Our part of it: the port, its modules and drivers, and frozen Python."""
    return {
        "type": "framework",
        "bom-ref": _FLOE,
        "name": "floe",
        "version": held["floe"],
        "licenses": [{"license": {"id": "MIT"}}],
        "properties": _properties(
            [*(("module", name) for name in held["modules"]), *(("driver", name) for name in held["drivers"])]
        ),
    } | _within(_files(held, {"floe"}))


def _upstream(part: Mapping[str, Any], held: Mapping[str, Any]) -> Component:
    """sha256: of the archive of sources that it was made from."""
    made = _library(part) | {"licenses": [{"expression": part["licence"]}]}
    if patches := part.get("patches"):
        mended = [{"type": "unofficial", "resolves": [{"type": "defect", "name": name}]} for name in patches]
        made["pedigree"] = {"patches": mended, "notes": "files of port/patches in Floe's sources"}
    return made | _within(_files(held, {part["name"]}))


def _package(part: Mapping[str, Any], held: Mapping[str, Any]) -> Component:
    """Its metadata's licence may be any text."""
    licences = [{"license": {"name": part["licence"]}}] if part["licence"] else []
    return _library(part) | {"licenses": licences} | _within(_files(held, {f"{part['name']} {part['version']}"}))


def _library(part: Mapping[str, Any]) -> Component:
    made: Component = {"type": "library", "bom-ref": f"{part['name']}@{part['version']}"}
    made |= {"name": part["name"], "version": part["version"]}
    return made | ({"hashes": _hashes(part["sha256"])} if part.get("sha256") else {})


def _files(held: Mapping[str, Any], origins: set[str]) -> list[Component]:
    return [
        {"type": "file", "name": file["name"], "hashes": _hashes(file["sha256"])}
        for file in held["frozen"]
        if file["origin"] in origins
    ]


def _within(files: list[Component]) -> Component:
    return {"components": files} if files else {}


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _properties(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": f"floe:{name}", "value": value} for name, value in pairs]
