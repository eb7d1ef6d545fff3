# SPDX-License-Identifier: MIT
"""The programs in C that put load on what is measured: compiled once, for this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from floe.build import port_archive
from floe.errors import BuildError, NotFound

FOLDER = port_archive.CACHE / "bench"
_TIMEOUT_S = 120


def compiled(source: Path) -> Path:
    """The program of a C file, made if it is missing or older than that or a header beside it. Raises NotFound,
    BuildError."""
    path = FOLDER / source.stem
    made_of = [source, *source.parent.glob("*.h")]
    if path.exists() and path.stat().st_mtime >= max(file.stat().st_mtime for file in made_of):
        return path
    if shutil.which("gcc") is None:
        raise NotFound(f"{source.name} needs gcc", hint="apt-get install gcc libc6-dev")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")  # another process may run the one that is there
    argv = ["gcc", "-std=gnu11", "-O2", str(source), "-o", str(new)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise BuildError(f"{source.name} does not compile", evidence=done.stderr[-2000:])
    new.replace(path)
    return path
