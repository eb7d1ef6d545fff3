# SPDX-License-Identifier: MIT
"""gcc for the tests of mutants: what the preprocessor makes the same of was compiled before, and is not compiled again.

    objectcache.py FOLDER gcc's arguments

Sources of one command line are compiled one by one, and linked in the order in which they stand there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

_WITH_VALUE = ("-o", "-include", "-I", "-D", "-x", "-T", "-isystem", "-MF")


def split(argv: list[str]) -> tuple[list[str], list[int], str]:
    """Flags for a compilation alone, places of the sources, and what -o says ("": nothing)."""
    flags, sources, out = [], [], ""
    skip = False
    for place, word in enumerate(argv):
        if skip:
            skip = False
            if argv[place - 1] == "-o":
                out = word
            else:
                flags += [argv[place - 1], word]
        elif word in _WITH_VALUE:
            skip = True
        elif word.endswith(".c") and not word.startswith("-"):
            sources.append(place)
        elif word.startswith("-") and word not in ("-c", "-lm") and not word.startswith("-Wl,"):
            flags.append(word)
    return flags, sources, out


def compiled(folder: Path, flags: list[str], source: str) -> Path:
    """The object of a source; ends the program with what gcc said if there is none."""
    text = _must(["gcc", *flags, "-E", source])
    key = hashlib.sha256("\0".join([*flags, os.getcwd(), text]).encode()).hexdigest()
    object_file = folder / f"{key}.o"
    if not object_file.exists():
        part = folder / f".{key}.{os.getpid()}.o"
        _must(["gcc", *flags, "-c", source, "-o", str(part)])
        part.replace(object_file)
    return object_file


def _must(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, errors="surrogateescape", check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def main(folder: Path, argv: list[str]) -> int:
    """Do what gcc does with these arguments; its exit code."""
    flags, sources, out = split(argv)
    if not sources or not out or any(word in argv for word in ("-E", "-S", "-M")):
        return subprocess.run(["gcc", *argv], check=False).returncode
    folder.mkdir(parents=True, exist_ok=True)
    words = list(argv)
    for place in sources:
        words[place] = str(compiled(folder, flags, argv[place]))
    if "-c" in argv:
        shutil.copyfile(words[sources[0]], out)
        return 0
    return subprocess.run(["gcc", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
