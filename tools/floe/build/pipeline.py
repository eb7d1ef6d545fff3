# SPDX-License-Identifier: MIT
"""From APP to a checked ELF: choose the contents, compile, link, seal, check, budget. A build whose inputs did not
change is found again by its digest and costs no compiler.

Owns build/apps: one folder per image and content, complete or not there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from floe.build import bytecode, config, contents, port_archive, sources
from floe.build.contents import Contents
from floe.build.description import describe
from floe.errors import BuildError, DiskFull, NotFound
from floe.image import elf
from floe.userfile import check_replaceable, forget

KEPT_BUILDS = 4  # folders of one image's older contents
TOOL_TIMEOUT_S = 300
_BUSY = "run the same command again, on a machine that is less busy"
ELF_NAME = "image.elf"
Profile = Literal["sealed", "dev"]


@dataclass(frozen=True)
class Built:
    """An image on disk. objects: bytes in the ELF by object file. reused: the inputs had not changed. notes: what
    concerns the product, and not a run of it."""

    config: config.ImageConfig
    image: elf.Image
    objects: dict[str, int]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    reused: bool
    seconds: float

    @property
    def path(self) -> Path:
        return self.image.path


def build(
    app: Path, *, profile: Profile | None = None, variant: str = "", say: Callable[[str], None] = lambda text: None
) -> Built:
    """Build APP (a .py file or a folder with image.toml) and return the checked image in build/apps.

    profile: the one of image.toml if None. Raises NotFound, ConfigError, BuildError, DiskFull, ImageRefused,
    UsageError.
    """
    try:
        return _build(app, profile, variant, say)
    except OSError as e:
        if full := DiskFull.of(e, port_archive.BUILD):
            raise full from e
        raise


def _build(app: Path, profile: Profile | None, variant: str, say: Callable[[str], None]) -> Built:
    started = time.monotonic()
    settings = config.load(app, variant)
    chosen = contents.choose(settings, profile or settings.profile, say)
    # A dev build of a sealed image is for the desk: the budget is the product's.
    budget = settings.budget_elf if profile in (None, settings.profile) else 0
    apps = port_archive.BUILD / "apps"
    folder = apps / f"{settings.name}-{digest(chosen)[:16]}"
    reused = (folder / ELF_NAME).exists()
    if not reused:
        apps.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{settings.name}-", dir=apps) as scratch:
            work = Path(scratch) / "work"
            _make(chosen, work)
            try:
                work.rename(folder)
            except OSError as e:
                if e.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                # Another build of the same content was faster: its folder is as good.
        _forget_old(apps, settings.name, folder)
    image = elf.read(folder / ELF_NAME)
    objects = json.loads((folder / "objects.json").read_text())
    notes = []
    if budget and image.size > budget:
        measured, mine = settings.budget_compiler, chosen.archive.compiler
        if not measured or f"{mine}.".startswith(f"{measured}."):
            raise _over_budget(settings, image, objects)
        notes.append(f"{_excess(settings, image)}, which is for {measured}: this is {mine}")
    warnings = (*chosen.closure.warnings, *_stale(chosen))
    return Built(settings, image, objects, warnings, tuple(notes), reused, time.monotonic() - started)


def _stale(chosen: Contents) -> list[str]:
    newer = chosen.archive.newer_source()
    return [f"{newer} changed after the port archive was built: make setup brings it up to date"] if newer else []


def export(built: Built, out: Path) -> elf.Image:
    """Copy the image to `out`, at once or not at all, and return it as it is there."""
    check_replaceable(out)
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        shutil.copyfile(built.path, part)
        part.chmod(0o755)
        part.replace(out)
    except OSError as e:
        forget(part)
        if full := DiskFull.of(e, out.absolute().parent):
            raise full from e
        raise NotFound(f"cannot write {out}: {e.strerror}", hint="name another file with -o") from e
    return elf.read(out)


def digest(chosen: Contents) -> str:
    """A name for the bytes of the image: changes when anything that goes into it does."""
    hashed = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            hashed.update(len(raw).to_bytes(8, "little") + raw)

    archive = chosen.archive
    for target, file in sorted(chosen.closure.frozen.items()):
        add(target, str(file.optimise), file.path.read_bytes())
    for path in (*chosen.libraries, archive.folder / "link.ld", archive.mpy_cross):
        with path.open("rb") as opened:
            add(hashlib.file_digest(opened, "sha256").digest())
    add(*archive.cflags, *archive.ldflags, *bytecode.FLAGS)
    add(chosen.data.image if chosen.data else b"", json.dumps(describe(chosen, {}), sort_keys=True))
    add(sources.app_c(chosen), sources.app_s(chosen, 0))
    return hashed.hexdigest()


def _make(chosen: Contents, folder: Path) -> None:
    """Fill the folder of an image: sources, objects, the sealed ELF, and the sizes of its objects."""
    _write_sources(chosen, folder)
    objects = _compile(chosen, folder)
    out = folder / ELF_NAME
    link_map = folder / "link.map"
    flags = [*chosen.archive.ldflags, f"-Wl,-Map={link_map}"]
    files = [*objects, *chosen.libraries]
    _run(["gcc", "-m64", *flags, *map(str, files), "-lgcc", "-o", str(out)], "linking")
    elf.seal(out)
    (folder / "objects.json").write_text(json.dumps(sizes(link_map.read_text()), indent=1, sort_keys=True))


def _write_sources(chosen: Contents, folder: Path) -> None:
    """frozen_content.c, genhdr/moduledefs.h, floe_app.c, floe_app.S and the files that this includes.

    Raises BuildError, naming file and line for a syntax error."""
    (folder / "genhdr").mkdir(parents=True, exist_ok=True)
    mpy = bytecode.compile_all(chosen.archive.mpy_cross, chosen.closure.frozen)
    (folder / "frozen_content.c").write_text(bytecode.frozen_c(chosen.archive, mpy.values()))
    definitions = folder / "moduledefs.collected"
    definitions.write_text(chosen.archive.module_definitions(chosen.closure.modules))
    (folder / "genhdr" / "moduledefs.h").write_text(bytecode.module_table(definitions))
    described = describe(chosen, {target: path.stat().st_size for target, path in mpy.items()})
    note = json.dumps(described, separators=(",", ":"), sort_keys=True)
    (folder / "note.json").write_text(note)
    if chosen.data:
        (folder / "romfs.img").write_bytes(chosen.data.image)
    (folder / "floe_app.c").write_text(sources.app_c(chosen))
    (folder / "floe_app.S").write_text(sources.app_s(chosen, len(note)))


def _compile(chosen: Contents, folder: Path) -> list[Path]:
    """The object files of an image's own sources, and of the one of upstream's that depends on its modules."""
    include = [f"-I{folder}", f"-ffile-prefix-map={folder}/=", f"-ffile-prefix-map={port_archive.ROOT}/="]
    flags = {
        folder / "frozen_content.c": ["-Dinf=__builtin_inf()"],  # mpy-tool writes 1e999 as it prints in Python
        port_archive.MICROPYTHON / "py" / "objmodule.c": ["-w"],
        folder / "floe_app.c": [],
        folder / "floe_app.S": [f"-Wa,-I,{folder}"],
    }

    def compile_one(source: Path) -> Path:
        # The map of sizes tells objects by their names: floe_app.S is the data.
        out = folder / ("floe_data.o" if source.suffix == ".S" else f"{source.stem}.o")
        argv = ["gcc", *include, *chosen.archive.cflags, *flags[source], "-c", "-o", str(out), str(source)]
        _run(argv, f"compiling {source.name}")
        return out

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, flags))


def _run(argv: list[str], step: str) -> None:
    try:
        done = subprocess.run(
            argv,
            cwd=port_archive.ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TOOL_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise NotFound(f"{argv[0]} is not installed", hint="floe doctor") from None
    except subprocess.TimeoutExpired as e:
        raise BuildError(f"{step}: {argv[0]} did not end within {TOOL_TIMEOUT_S} s", hint=_BUSY) from e
    if done.returncode:
        if "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr:
            raise DiskFull(_fullest())
        said = [
            line for line in done.stderr.splitlines() if "error" in line or "undefined" in line
        ] or done.stderr.splitlines()
        raise BuildError(
            f"{step} failed", evidence="\n".join(said[:8]), hint="make setup brings the port archive up to date"
        )


def _fullest() -> str:
    """Which of the two folders that gcc writes to has less room."""
    return str(
        min((port_archive.BUILD, Path(tempfile.gettempdir())), key=lambda folder: shutil.disk_usage(folder).free)
    )


def sizes(link_map: str) -> dict[str, int]:
    """Bytes that each object file brings into the ELF's file, from GNU ld's map; largest first.

    Sections without content in the file (.bss, stacks) are not counted.
    """
    total: dict[str, int] = {}
    for (output, address, size, file), (_, following, _, _) in pairwise([*_pieces(link_map), ("", 0, 0, "")]):
        if file and not re.search(r"bss|stacks|\.monitor\.ro|DISCARD|COMMON", output):
            # Merged strings stand with the first file that has them; a newer ld shows the others' size before that.
            room = following - address if following >= address else size
            total[file] = total.get(file, 0) + min(size, room)
    return dict(sorted(((k, v) for k, v in total.items() if v), key=lambda item: (-item[1], item[0])))


def _pieces(link_map: str) -> Iterator[tuple[str, int, int, str]]:
    """Output section, address, size and object file, "" for padding, of each line of a map that takes an address."""
    output = ""
    pending = ""
    for line in link_map.partition("Linker script and memory map")[2].splitlines():
        if re.match(r"[./]\S", line):
            output = line.split()[0]
        text, pending = pending + line, ""
        if re.fullmatch(r" \.\S+", text):
            pending = text  # the name was too long: the rest is on the next line
            continue
        match = re.match(r" (?:\.\S+|\*fill\*)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s*(.*)", text)
        if match:
            yield output, int(match[1], 16), int(match[2], 16), re.sub(r".*[(/]([^()/]+)\)?$", r"\1", match[3])


def _excess(settings: config.ImageConfig, image: elf.Image) -> str:
    over = image.size - settings.budget_elf
    return f"{settings.name} is {image.size} bytes, {over} over the budget of {settings.budget_elf}"


def _over_budget(settings: config.ImageConfig, image: elf.Image, objects: dict[str, int]) -> BuildError:
    top = sorted(objects.items(), key=lambda item: -item[1])[:5]
    return BuildError(
        _excess(settings, image),
        evidence="\n".join(f"{size:>8}  {name}" for name, size in top),
        hint=f"raise budget.elf in {settings.file}, or leave something out (see: floe build --json)",
    )


def _forget_old(apps: Path, name: str, current: Path) -> None:
    """Remove all but the newest folders of this image, and what interrupted builds left."""
    pattern = re.compile(re.escape(name) + r"-[0-9a-f]{16}")
    others = [p for p in apps.iterdir() if pattern.fullmatch(p.name) and p != current]
    for old in sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)[KEPT_BUILDS:]:
        shutil.rmtree(old, ignore_errors=True)
