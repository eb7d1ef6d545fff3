# SPDX-License-Identifier: MIT
"""What `make wheel` runs: one file that pip installs, with all that an image takes and no compiler needed. It holds the
command and the labs' data, the ready kernels and mpy-cross, and, for machines with gcc, the port archives and headers.

What a build takes from a checkout lies in it as in a checkout, below floe/wheel (port_archive.ROOT).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from floe.bootdisk import image as bootable
from floe.build import bases, bytecode, config, contents, kernels, link, port_archive, report, sources
from floe.errors import BuildError, FloeError, NotFound, UsageError
from floe.oci import image
from floe.setup.pins import RELEASE, STAMP, chosen_release, load_pins

PLATFORM = "linux_x86_64"  # mpy-cross and a container's first process are linked statically: any glibc, and others
PIP_TIMEOUT_S = 300
_ARCHIVE_FILES = (
    *("libfloe.a", "libdisk.a", "libready.a", "link.ld", "app.cflags", "app.ldflags", "compiler"),
    *("genhdr/moduledefs.collected", "genhdr/qstrdefs.preprocessed.h"),
)
_UPSTREAM_FILES = ("py/makemoduledefs.py", "py/makeqstrdata.py", "tools/manifestfile.py", "tools/mpy-tool.py")
_BASES = ("function", "prefork", "web")  # images that others are built on by name
_LICENCES = ("LICENSE", "COPYING")


def main(argv: list[str]) -> int:
    """Command line of `python -m floe.cli.wheel`; exit code 0 or that of the error."""
    parser = argparse.ArgumentParser(prog="floe.cli.wheel", description="Make a wheel of this checkout.")
    parser.add_argument("-o", "--output", type=Path, default=port_archive.ROOT / "dist", help="the folder to put it in")
    try:
        made = make(parser.parse_args(argv).output)
    except FloeError as e:
        print(e.render(), file=sys.stderr)
        return e.exit_code
    print(f"floe: wrote {made}, {report.kib(made.stat().st_size)}")
    return 0


def make(folder: Path) -> Path:
    """Make the wheel in a folder, where it replaces one of the same version.

    Raises BuildError, NotFound, UsageError."""
    if port_archive.INSTALLED:
        raise NotFound("a wheel is made from a checkout; this floe is an installed one")
    if release := chosen_release():
        problem = f"a wheel holds the first release of port/upstream.toml, and {RELEASE} says {release}"
        raise UsageError(problem, hint=f"env -u {RELEASE} make wheel")
    tools = port_archive.ROOT / "tools"
    with tempfile.TemporaryDirectory(prefix="floe-wheel-") as scratch:
        stage = Path(scratch)
        shutil.copytree(tools / "floe", stage / "floe", ignore=shutil.ignore_patterns("__pycache__"))
        for file in files():
            target = stage / "floe" / "wheel" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(port_archive.ROOT / file, target)
        shutil.copy(tools / "pyproject.toml", stage)
        shutil.copy(port_archive.ROOT / "LICENSE", stage)
        (stage / "setup.cfg").write_text(f"[bdist_wheel]\nplat_name = {PLATFORM}\n")
        return _pack(stage, folder)


def files() -> list[Path]:
    """What a build takes from a checkout, relative to its top."""
    found = {*_python(), *_bases(), *_licences(), *_of_archives(), *_headers()}
    kernels.index(lambda text: print(f"floe: {text}", file=sys.stderr))
    found |= set(_relative(sorted(kernels.READY.glob("*.elf"))))
    found |= set(_relative([kernels.READY / kernels.INDEX, port_archive.ROOT / "port" / "upstream.toml"]))
    found |= set(_relative([image.ENTRY, bootable.HANDOVER]))
    return sorted(found)


def _python() -> Iterator[Path]:
    """The base manifest's files, and upstream's scripts."""
    yield from _relative(sorted((port_archive.ROOT / "frozen").rglob("*.py")))
    yield from _relative(sorted((port_archive.MICROPYTHON / "extmod" / "asyncio").glob("*.py")))
    yield from _relative(port_archive.MICROPYTHON / name for name in _UPSTREAM_FILES)


def _bases() -> Iterator[Path]:
    for name in _BASES:
        files = sorted((bases.IMAGES / name).rglob("*.*"))
        yield from _relative(file for file in files if "__pycache__" not in file.parts)


def _licences() -> Iterator[Path]:
    """And what else is told of upstream's sources."""
    for pin in load_pins(port_archive.ROOT / "port" / "upstream.toml"):
        folder = port_archive.UPSTREAM / pin.name
        yield from _relative(folder / name for name in (*_LICENCES, STAMP) if (folder / name).is_file())
        yield from _relative(patch.path for patch in pin.patches)  # an image says which there are


def _of_archives() -> Iterator[Path]:
    for profile in ("sealed", "dev"):
        archive = port_archive.load(profile)
        yield from _relative(archive.folder / name for name in _ARCHIVE_FILES)
        yield from _relative([archive.mpy_cross])


def _headers() -> Iterator[Path]:
    """What the files of an application include: asked of the compiler, for an image with everything."""
    with tempfile.TemporaryDirectory(prefix="floe-headers-") as scratch:
        script = Path(scratch) / "main.py"
        script.write_text("print(1)\n")
        for profile in ("sealed", "dev"):
            chosen = contents.choose(config.load(script), profile, lambda text: None)
            folder = Path(scratch) / profile
            bytecode.write_module_table(chosen.archive, chosen.closure.modules, folder)
            compiled = bytecode.compile_all(chosen.archive.mpy_cross, chosen.closure.frozen)
            (folder / "frozen_content.c").write_text(bytecode.frozen_c(chosen.archive, compiled.values()))
            (folder / "floe_app.c").write_text(sources.app_c(chosen))
            own = [folder / "frozen_content.c", folder / "floe_app.c", port_archive.MICROPYTHON / "py" / "objmodule.c"]
            for included in link.includes(chosen.archive, folder, own):
                if not included.is_absolute():
                    yield included
                elif included.is_relative_to(port_archive.MICROPYTHON):
                    yield included.relative_to(port_archive.ROOT)


def _relative(paths: Iterable[Path]) -> Iterator[Path]:
    return (path.relative_to(port_archive.ROOT) for path in paths)


def _pack(stage: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-P", "-m", "pip", "wheel", "-q", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=folder) as out:
        argv = [*pip, "--no-deps", "--no-build-isolation", "-w", out, str(stage)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
            raise BuildError("pip could not make the wheel", evidence=tail, hint="make setup")
        made = next(Path(out).glob("floe-*.whl"))
        return made.replace(folder / made.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
