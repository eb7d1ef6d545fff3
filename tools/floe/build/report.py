# SPDX-License-Identifier: MIT
"""What an image holds, as text for people and as JSON for programs. Returns strings; prints nothing."""

from __future__ import annotations

import json
from typing import Any

from floe.build.pipeline import Built
from floe.image.elf import Image

_LARGEST = 6


def kib(size: int) -> str:
    """A size as people read it: "812 B", "289.9 KiB", "32 MiB"."""
    if size < 1024:
        return f"{size} B"
    if size < 1 << 20:
        return f"{size / 1024:.1f} KiB"
    return f"{size / (1 << 20):.1f} MiB".replace(".0 MiB", " MiB")


def image_data(image: Image) -> dict[str, Any]:
    """What `floe inspect --json` prints: the note's content and what the ELF itself says."""
    return {
        **image.content,
        "elf": str(image.path),
        "elf_bytes": image.size,
        "entry": image.entry,
        "segments": [
            {
                "address": s.address,
                "file_bytes": s.file_bytes,
                "memory_bytes": s.memory_bytes,
                "protection": s.protection,
            }
            for s in image.segments
        ],
        "sections": image.sections,
    }


def built_data(built: Built, image: Image) -> dict[str, Any]:
    """What `floe build --json` prints: image_data() and how the build went. image: the exported copy."""
    return {
        **image_data(image),
        "objects": built.objects,
        "warnings": [*built.warnings, *built.notes],
        "reused": built.reused,
        "seconds": round(built.seconds, 3),
    }


def to_json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, sort_keys=True)


def built_text(built: Built, image: Image) -> str:
    """The few lines after a build."""
    c = image.content
    how = "nothing changed" if built.reused else f"built in {built.seconds:.2f} s"
    lines = [f"{image.path}: {c['name']} {c['version']}, {c['profile']}, {kib(image.size)}, {how}"]
    top = sorted(built.objects.items(), key=lambda item: -item[1])[:_LARGEST]
    lines += _held(c)
    lines.append(_row("largest", ", ".join(f"{name} {kib(size)}" for name, size in top)))
    return "\n".join(lines)


def image_text(image: Image) -> str:
    """All of `floe inspect`."""
    c = image.content
    made = f"floe {c['floe']}, {c['profile']}" + (", with the compiler" if c["compiler"] else "")
    made += f", on the ready kernel {c['kernel']}" if c.get("kernel") else ", linked"
    lines = [f"{image.path}: {c['name']} {c['version']}, {kib(image.size)}", _row("made by", made)]
    lines.append(_row("memory", kib(c["memory"])))
    lines.append(_row("entry", f"{image.entry:#x} (PVH)"))
    for s in image.segments:
        lines.append(
            _row(
                "segment", f"{s.protection}  {s.address:#010x}  {kib(s.memory_bytes)} ({kib(s.file_bytes)} in the file)"
            )
        )
    lines.append(_row("sections", ", ".join(f"{name} {kib(size)}" for name, size in image.sections.items())))
    lines += _held(c)
    for f in c["frozen"]:
        lines.append(_row("frozen", f"{f['name']}  {kib(f['mpy_bytes'])}  {f['origin']}  sha256 {f['sha256'][:16]}"))
    for name, size in c["data"].items():
        lines.append(_row("data", f"/rom/{name}  {kib(size)}"))
    for p in c["packages"]:
        lines.append(_row("package", f"{p['name']} {p['version']}, {p['licence']}, sha256 {p['sha256'][:16]}"))
    for u in c["upstream"]:
        lines.append(_row("upstream", f"{u['name']} {u['version']}, {u['licence']}"))
    return "\n".join(lines)


def _held(content: dict[str, Any]) -> list[str]:
    files = [f["name"] for f in content["frozen"]]
    lines = [
        _row("python", f"{len(files)} files: {_some(files)}"),
        _row("built in", f"{len(content['modules'])} modules: {_some(content['modules'])}"),
        _row("drivers", ", ".join(content["drivers"])),
    ]
    if content["data"]:
        lines.append(_row("data", f"{len(content['data'])} files, {kib(sum(content['data'].values()))}, at /rom"))
    return lines


def _some(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _row(label: str, text: str) -> str:
    return f"  {label:<9} {text}"
