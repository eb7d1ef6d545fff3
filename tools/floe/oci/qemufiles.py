# SPDX-License-Identifier: MIT
"""What of this machine QEMU needs to run a microvm, as files of a container, at the paths that they have here: the
program, the libraries that its loader finds, TCG where that is a module, the firmware, and what the packages say of
their licences, where Debian's package manager knows them.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from floe.errors import BuildError, NotFound
from floe.oci.layout import File
from floe.qemu import commandline

_ASK_S = 20.0
_TCG = "accel-tcg-x86_64.so"  # a module in Debian's QEMU, part of the program in others
_FOUND = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_TOP = ("/lib", "/lib64", "/bin", "/sbin")  # links into /usr, on most systems


def program() -> str:
    """QEMU's path in the container. Raises NotFound."""
    return os.path.realpath(commandline.find_qemu())


def needed() -> list[File]:
    """All of it. Raises NotFound, BuildError."""
    qemu = Path(program())
    binaries = [qemu, *_modules(qemu)]
    found = {_place(path): path for path in (*binaries, *_libraries(binaries), _firmware(qemu))}
    files = [File(place, path, 0o755 if os.access(path, os.X_OK) else 0o644) for place, path in found.items()]
    links = [File(top, link=os.readlink(top)) for top in _TOP if os.path.islink(top)]
    return [*files, *links, *_licences(found.values())]


def _place(path: Path) -> str:
    """Where a file is, no folder of whose path is a link; its own name stays, by which a loader asks for it."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def _modules(qemu: Path) -> list[Path]:
    lib = qemu.parent.parent
    folders = [*sorted(lib.glob("lib/*/qemu")), lib / "lib" / "qemu", lib / "lib64" / "qemu"]
    return [path for folder in folders if (path := folder / _TCG).is_file()][:1]


def _libraries(binaries: Sequence[Path]) -> list[Path]:
    """What the loader loads for them, and the loader."""
    loader = _loader(binaries[0])
    if loader is None:
        return []
    found = [loader]
    for binary in binaries:
        said = _ask([str(loader), "--list", str(binary)])
        found += [Path(path) for path in _FOUND.findall(said)]
    return list(dict.fromkeys(found))


def _loader(binary: Path) -> Path | None:
    """The interpreter that a program names (System V ABI); None for one that is linked statically."""
    try:
        with binary.open("rb") as opened:
            elf: Any = ELFFile(opened)
            for segment in elf.iter_segments("PT_INTERP"):
                return Path(segment.get_interp_name())
    except (ELFError, OSError) as e:
        raise BuildError(
            f"{binary} is no program that a container could have: {e}", hint="FLOE_QEMU names another QEMU"
        ) from e
    return None


def _firmware(qemu: Path) -> Path:
    folders = _ask([str(qemu), "-L", "help"]).splitlines()
    for folder in folders:
        if (path := Path(os.path.realpath(folder)) / commandline.FIRMWARE).is_file():
            return path
    raise NotFound(
        f"QEMU has no {commandline.FIRMWARE}",
        evidence="\n".join(f"looked in: {folder}" for folder in folders),
        hint="sudo apt-get install qemu-system-data",
    )


def _licences(paths: Iterable[Path]) -> list[File]:
    """The copyright files of the packages that these files are from."""
    asked = {name for path in paths for name in (str(path), os.path.realpath(path))}
    asked |= {name.removeprefix("/usr") for name in asked}  # as packages name them that are older than the links
    try:
        said = _ask(["dpkg-query", "-S", *sorted(asked)], must=False)
    except NotFound:
        return []
    owners = {owner.partition(":")[0] for line in said.splitlines() for owner in line.rpartition(": ")[0].split(", ")}
    found = (Path("/usr/share/doc") / owner / "copyright" for owner in sorted(owners) if owner)
    return [File(str(path), path) for path in found if path.is_file()]


def _ask(argv: list[str], *, must: bool = True) -> str:
    """What a program says. must: with another exit code than 0 it says nothing that counts."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LD_")} | {"LC_ALL": "C"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_ASK_S, check=must, env=environment)
    except FileNotFoundError:
        raise NotFound(f"there is no {argv[0]}") from None
    except subprocess.CalledProcessError as e:
        raise BuildError(f"{shlex.join(argv)} failed", evidence=str(e.stderr).strip()) from e
    except (OSError, subprocess.TimeoutExpired) as e:
        raise BuildError(f"{argv[0]}: {e}") from e
    return done.stdout
