# SPDX-License-Identifier: MIT
"""Builds the programs of tests/c/port and its likes: each is one file that includes the file under test. Their answers are
read by harness.Harness, as those of the drivers' program are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.c.support.harness import BUILD_DEADLINE_S, FLAGS, ROOT, Harness


def build(out: Path, name: str, *flags: str, folder: str = "port") -> Path:
    """Compile tests/c/<folder>/<name>.c with ASan and UBSan; return the program."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("neither gcc nor clang is installed; try: apt-get install gcc")
    program = out / name
    includes = [f"-I{ROOT / d}" for d in ("port", "port/hal")]
    argv = [
        compiler,
        *FLAGS,
        *includes,
        str(ROOT / "tests/c" / folder / f"{name}.c"),
        *flags,
        "-lm",
        "-o",
        str(program),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_DEADLINE_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name}.c does not compile:\n{done.stderr}")
    return program


def starter(program: Path) -> Callable[[], contextmanager[Harness]]:
    """A function that starts a fresh process of the program: static state begins anew."""

    @contextmanager
    def start() -> Iterator[Harness]:
        with Harness(program) as harness:
            yield harness

    return start
