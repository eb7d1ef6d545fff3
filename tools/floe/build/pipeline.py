# SPDX-License-Identifier: MIT
"""From APP to a checked ELF: choose the contents, compile, link, seal, check, budget. A build whose inputs did not
change is found again by its digest and costs no compiler.

Owns build/apps: one folder per image and content, complete or not there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from floe.build import bytecode, config, contents, kernels, link, port_archive, sources
from floe.build.contents import Contents
from floe.build.description import describe, note_text
from floe.errors import BuildError, DiskFull, NotFound
from floe.image import elf, names
from floe.userfile import check_replaceable, forget

KEPT_BUILDS = 4  # folders of one image's older contents
ELF_NAME = "image.elf"
Profile = Literal["sealed", "dev"]
How = Literal["linked", "ready"]


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
    app: Path,
    *,
    profile: Profile | None = None,
    variant: str = "",
    how: How | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Built:
    """Build APP (a .py file or a folder with image.toml) and return the checked image in build/apps.

    profile: the one of image.toml if None. how: linked, or joined to a ready kernel; None: linked if there are gcc and
    ld. Raises NotFound, ConfigError, BuildError, DiskFull, ImageRefused, UsageError.
    """
    try:
        return _build(app, profile, variant, how, say)
    except OSError as e:
        if full := DiskFull.of(e, port_archive.CACHE):
            raise full from e
        if refused := _not_writable(e):
            raise refused from e
        raise


def _not_writable(error: OSError) -> BuildError | None:
    """What an error means, if it means that the cache is another user's, or on a file system that is only read."""
    cache, file = port_archive.CACHE, error.filename
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return None
    if not isinstance(file, str) or not Path(file).is_relative_to(cache):
        return None
    return cannot_write(error)


def cannot_write(error: OSError) -> BuildError:
    """Why nothing can be built: an error of writing to the cache."""
    cache = port_archive.CACHE
    ways = [f"in a checkout of your own, or with the wheel: {port_archive.ROOT / 'docs' / 'install.md'}"]
    if port_archive.INSTALLED:
        ways = ["XDG_CACHE_HOME=FOLDER names another place"]
    if error.errno != errno.EROFS:
        ways.append(f'if it is yours, and root has built in it: sudo chown -R "$USER" {shlex.quote(str(cache))}')
    return BuildError(f"cannot write to {cache}, where images are built: {error.strerror}", hint="\n".join(ways))


def _build(app: Path, profile: Profile | None, variant: str, how: How | None, say: Callable[[str], None]) -> Built:
    started = time.monotonic()
    settings = config.load(app, variant)
    chosen = contents.choose(settings, profile or settings.profile, say)
    # A dev build of a sealed image is for the desk: the budget is the product's.
    budget = settings.budget_elf if profile in (None, settings.profile) else 0
    how = how or ("linked" if link.is_possible() else "ready")
    kernel = kernels.choose(chosen, say) if how == "ready" else None
    apps = port_archive.CACHE / "apps"
    folder = apps / f"{settings.name}-{digest(chosen, kernel)[:16]}"
    reused = (folder / ELF_NAME).exists()
    if reused:
        with contextlib.suppress(OSError):  # another user's
            os.utime(folder)  # it counts as new: another build beside this one will not forget it now
    else:
        apps.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{settings.name}-", dir=apps) as scratch:
            work = Path(scratch) / "work"
            if kernel is not None:
                _make_ready(chosen, kernel, work)
            else:
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
    if budget and image.size > budget and kernel is not None:
        notes.append(f"{_excess(settings, image)}, which is for linked images: this one is on a ready kernel")
    elif budget and image.size > budget:
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


def digest(chosen: Contents, kernel: kernels.Entry | None = None) -> str:
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
    add(*archive.cflags, *archive.ldflags, *bytecode.FLAGS, *link.FROZEN_FLAGS, names.FORM)
    add(chosen.data.image if chosen.data else b"", json.dumps(describe(chosen, {}), sort_keys=True))
    add(sources.app_c(chosen), sources.app_s(chosen, 0))
    if kernel is not None:
        from floe.build import ready

        add(str(ready.FORMAT), kernel.sha256)
    return hashed.hexdigest()


def _make(chosen: Contents, folder: Path) -> None:
    """Fill the folder of an image: sources, objects, the sealed ELF, and the sizes of its objects."""
    _write_sources(chosen, folder)
    own = (folder / name for name in ("frozen_content.c", "floe_app.c", "floe_app.S"))
    objects = link.compile_sources(chosen.archive, folder, [*own, port_archive.MICROPYTHON / "py" / "objmodule.c"])
    out = folder / ELF_NAME
    link_map = folder / "link.map"
    link.link(chosen.archive, [str(file) for file in (*objects, *chosen.libraries)], out, link_map)
    names.pack(out)
    elf.seal(out)
    _write_objects(folder, link.sizes(link_map.read_text()))


def _make_ready(chosen: Contents, kernel: kernels.Entry, folder: Path) -> None:
    """Fill the folder of an image that is joined to a ready kernel."""
    from floe.build import ready  # late, with pyelftools: no linked image needs them

    folder.mkdir(parents=True)
    brought = ready.make(chosen, kernel, folder / ELF_NAME)
    elf.seal(folder / ELF_NAME)
    _write_objects(folder, brought)


def _write_objects(folder: Path, objects: dict[str, int]) -> None:
    (folder / "objects.json").write_text(json.dumps(objects, indent=1, sort_keys=True))


def _write_sources(chosen: Contents, folder: Path) -> None:
    """frozen_content.c, genhdr/moduledefs.h, floe_app.c, floe_app.S and the files that this includes.

    Raises BuildError, naming file and line for a syntax error."""
    folder.mkdir(parents=True, exist_ok=True)
    mpy = bytecode.compile_all(chosen.archive.mpy_cross, chosen.closure.frozen)
    (folder / "frozen_content.c").write_text(bytecode.frozen_c(chosen.archive, mpy.values()))
    bytecode.write_module_table(chosen.archive, chosen.closure.modules, folder)
    note = note_text(chosen, mpy)
    (folder / "note.json").write_text(note)
    if chosen.data:
        (folder / "romfs.img").write_bytes(chosen.data.image)
    (folder / "floe_app.c").write_text(sources.app_c(chosen))
    (folder / "floe_app.S").write_text(sources.app_s(chosen, len(note)))


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
