# SPDX-License-Identifier: MIT
"""Python files to bytecode, and bytecode and the module table to C, by upstream's own programs: mpy-cross, mpy-tool
(through mpytool.py) and makemoduledefs.

Owns build/mpy: each file's bytecode under the digest of what it was made from."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from floe.build import missing, port_archive
from floe.build.port_archive import Archive
from floe.build.resolve import Frozen, show
from floe.errors import BuildError
from floe.userfile import read_file

TOOL_TIMEOUT_S = 120
_PYTHON = (sys.executable, "-I")  # nothing of the working folder's: a struct.py beside the script is the guest's
_MPY_CROSS_FLAGS = ("-march=x64", "-msmall-int-bits=63")
_MPY_TOOL_FLAGS = ("-f", "-mlongint-impl=mpz", "-mmpz-dig-size=32")
FLAGS = (*_MPY_CROSS_FLAGS, *_MPY_TOOL_FLAGS)  # what the result depends on, beside its inputs


def compile_file(mpy_cross: Path, path: Path, target: str, optimise: int = 0) -> Path:
    """One Python file to .mpy, from the cache if these bytes were compiled before. target: its name in tracebacks.

    Raises BuildError with file, line and what MicroPython's compiler says."""
    source = read_file(path).removeprefix(codecs.BOM_UTF8)
    flags = [*_MPY_CROSS_FLAGS, f"-O{optimise}", "-s", target]
    key = hashlib.sha256(b"\0".join([mpy_cross.read_bytes(), *map(str.encode, flags), source])).hexdigest()
    cached = port_archive.CACHE / "mpy" / f"{key}.mpy"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_name(f"{key}.{os.getpid()}.part")
        # By way of its standard output: into a file on a full disk it writes a part, and says nothing.
        done = _run([str(mpy_cross), *flags, "-o", "-", "-"], f"{show(path)}: mpy-cross", source)
        if done.returncode:
            raise _syntax_error(path, source.decode(errors="replace"), done.stderr.decode(errors="replace"))
        try:
            part.write_bytes(done.stdout)
            part.replace(cached)
        finally:
            part.unlink(missing_ok=True)
    return cached


def compile_all(mpy_cross: Path, frozen: Mapping[str, Frozen]) -> dict[str, Path]:
    """The .mpy of each file, by its name in the image and in the order of these. Raises BuildError."""

    def one(target: str) -> Path:
        file = frozen[target]
        return compile_file(mpy_cross, file.path, target, file.optimise)

    targets = sorted(frozen)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(targets, pool.map(one, targets), strict=True))


def frozen_c(archive: Archive, bytecode: Collection[Path]) -> str:
    """The C file that holds the bytecode. Raises BuildError."""
    mpytool = str(Path(__file__).with_name("mpytool.py"))
    theirs = str(port_archive.MICROPYTHON / "tools" / "mpy-tool.py")
    names = str(archive.folder / "genhdr" / "qstrdefs.preprocessed.h")
    return _upstream([mpytool, theirs, *_MPY_TOOL_FLAGS, "-q", names, *map(str, bytecode)], "mpy-tool")


def write_module_table(archive: Archive, modules: set[str], folder: Path) -> None:
    """Write genhdr/moduledefs.h, which lists the modules of an image. Raises BuildError."""
    (folder / "genhdr").mkdir(parents=True, exist_ok=True)
    definitions = folder / "moduledefs.collected"
    definitions.write_text(archive.module_definitions(modules))
    script = [str(port_archive.MICROPYTHON / "py" / "makemoduledefs.py"), str(definitions)]
    (folder / "genhdr" / "moduledefs.h").write_text(_upstream(script, "makemoduledefs"))


def _syntax_error(path: Path, source: str, stderr: str) -> BuildError:
    """mpy-cross's traceback as `file:line: message`, and the name of what it does not know where that can be told."""
    lines = stderr.strip().splitlines()
    problem = lines[-1] if lines else "mpy-cross failed"
    places = [match for text in lines if (match := re.match(r"  File .*, line (\d+)", text))]
    if not places:
        return BuildError(f"{show(path)}: {problem}", hint="MicroPython's compiler says so; CPython may accept more")
    line = int(places[-1][1])
    code = source.splitlines()[line - 1 : line]
    evidence = f"{line} | {code[0].rstrip()}" if code else ""
    feature = missing.find(source, line)
    if feature is None:
        hint = "MicroPython's compiler says so; CPython may accept more"
        return BuildError(f"{show(path)}:{line}: {problem}", evidence=evidence, hint=hint)
    version = next((pin.version for pin in port_archive.pins() if pin.name == "micropython"), "").rpartition(".")[0]
    return BuildError(
        f"{show(path)}:{line}: MicroPython {version} has no {feature.what}", evidence=evidence, hint=feature.instead
    )


def _upstream(script: list[str], name: str) -> str:
    """Output of one of upstream's own Python scripts."""
    done = _run([*_PYTHON, *script], name)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-5:]
        raise BuildError(f"{name} failed", evidence="\n".join(last), hint="make clean setup")
    return done.stdout.decode()


def _run(argv: list[str], name: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=TOOL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        hint = "a number of many thousand digits takes long: have a function compute it, and keep large data in data/"
        raise BuildError(f"{name} did not end within {TOOL_TIMEOUT_S} s", hint=hint) from None
