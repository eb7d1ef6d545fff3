# SPDX-License-Identifier: MIT
"""gcc and ld: an application's few files compiled as the port was, linked with its archives, and what each object
brought into the ELF."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from floe.build import port_archive
from floe.build.port_archive import Archive
from floe.errors import BuildError, DiskFull, NotFound

TOOLS = ("gcc", "ld")
OWN_HEADERS = "@own-headers@"  # in app.cflags (port.mk)
# mpy-tool writes 1e999 as it prints in Python. Linked by itself, the file loses the names of its constants: no function
# is among them, and each would have its line in the image's table of symbols.
FROZEN_FLAGS = ("-Dinf=__builtin_inf()", "-r", "-nostdlib", "-Wl,--discard-all")
TOOL_TIMEOUT_S = 300
# An installed floe has the archives of its wheel.
_REMEDY = "--ready" if port_archive.INSTALLED else "make setup brings the port archive up to date"
_BUSY = "run the same command again, on a machine that is less busy"


def is_possible() -> bool:
    """Whether this machine has the tools."""
    return all(shutil.which(tool) for tool in TOOLS)


def compile_sources(archive: Archive, folder: Path, sources: Iterable[Path]) -> list[Path]:
    """Compile files of an application as the port was; their objects, in the application's folder. Raises BuildError,
    NotFound, DiskFull."""
    include = [f"-I{folder}", f"-ffile-prefix-map={folder}/=", f"-ffile-prefix-map={port_archive.ROOT}/="]
    own = {
        "frozen_content.c": [*FROZEN_FLAGS],
        "objmodule.c": ["-c", "-w"],
        "floe_app.S": ["-c", f"-Wa,-I,{folder}"],
    }

    def compile_one(source: Path) -> Path:
        # The map of sizes tells objects by their names: floe_app.S is the data.
        out = folder / ("floe_data.o" if source.suffix == ".S" else f"{source.stem}.o")
        how = own.get(source.name, ["-c"])
        argv = ["gcc", *include, *_flags(archive), *how, "-o", str(out), str(source)]
        _run(argv, f"compiling {source.name}")
        return out

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sources))


def _flags(archive: Archive) -> list[str]:
    return [_own_headers() if flag == OWN_HEADERS else flag for flag in archive.cflags]


@cache
def _own_headers() -> str:
    """Where the compiler has its own headers, stddef.h among them: not where the one had them that made the archive."""
    argv = ["gcc", "-print-file-name=include"]
    return _run(argv, "asking for the compiler's headers").strip()


def includes(archive: Archive, folder: Path, sources: list[Path]) -> set[Path]:
    """The sources and all that they include, as the compiler names it."""
    argv = ["gcc", f"-I{folder}", *_flags(archive), "-Dinf=0", "-M", *map(str, sources)]
    return set(map(Path, prerequisites(_run(argv, "listing what is included"))))


def prerequisites(rules: str) -> list[str]:
    """What make's rules, as `gcc -M` writes them, say that their targets depend on; names may have blanks."""
    words = re.findall(r"(?:\\.|[^\\\s])+", rules.replace("\\\n", " "))
    return [re.sub(r"\\(.)", r"\1", word).replace("$$", "$") for word in words if not word.endswith(":")]


def link(archive: Archive, files: list[str], out: Path, link_map: Path) -> None:
    """Link objects and libraries, with options of the linker among them."""
    flags = [*archive.ldflags, f"-Wl,-Map={link_map}"]
    _run(["gcc", "-m64", *flags, *files, "-lgcc", "-o", str(out)], "linking")


def _run(argv: list[str], step: str) -> str:
    """What a tool prints."""
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
        raise NotFound(f"{argv[0]} is not installed", hint="floe doctor\nor --ready, which takes no compiler") from None
    except subprocess.TimeoutExpired as e:
        raise BuildError(f"{step}: {argv[0]} did not end within {TOOL_TIMEOUT_S} s", hint=_BUSY) from e
    if done.returncode:
        if "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr:
            raise DiskFull(_fullest())
        said = [
            line for line in done.stderr.splitlines() if "error" in line or "undefined" in line
        ] or done.stderr.splitlines()
        raise BuildError(f"{step} failed", evidence="\n".join(said[:8]), hint=_REMEDY)
    return done.stdout


def _fullest() -> str:
    """Which of the two folders that gcc writes to has less room."""
    return str(
        min((port_archive.CACHE, Path(tempfile.gettempdir())), key=lambda folder: shutil.disk_usage(folder).free)
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
