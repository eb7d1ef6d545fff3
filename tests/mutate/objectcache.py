# SPDX-License-Identifier: MIT
"""gcc for the tests of mutants: what the preprocessor makes the same of was compiled before, and is not compiled again,
nor linked; and it is not asked where no file that it reads has changed.

    objectcache.py FOLDER gcc's arguments

Sources of one command line are compiled one by one, and linked in the order in which they stand there."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
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
    asked = hashlib.sha256("\0".join([*flags, os.getcwd(), source]).encode()).hexdigest()
    record = folder / f"{asked}.json"
    found = _as_before(record)
    if found is not None:
        return found
    parts = folder / f".{asked}.{os.getpid()}.d"
    text = _must([*flags, "-E", "-MD", "-MF", str(parts), source])
    key = hashlib.sha256("\0".join([*flags, os.getcwd(), text]).encode()).hexdigest()
    object_file = folder / f"{key}.o"
    if not object_file.exists():
        part = folder / f".{key}.{os.getpid()}.o"
        _must([*flags, "-c", source, "-o", str(part)])
        part.replace(object_file)
    names = parts.read_text().replace("\\\n", " ").partition(": ")[2].split()
    parts.write_text(json.dumps({"object": object_file.name, "read": {name: _digest(name) for name in names}}))
    parts.replace(record)
    return object_file


def _as_before(record: Path) -> Path | None:
    """The object of the last time, if all that gcc read then is as it was: the preprocessor is spared, too."""
    if not record.exists():
        return None
    known = json.loads(record.read_text())
    same = all(_digest(name) == digest for name, digest in known["read"].items())
    return record.parent / known["object"] if same else None


@functools.cache
def _digest(name: str) -> str:
    path = Path(name)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _gcc(argv: list[str], *, quiet: bool = False) -> tuple[int, str]:
    """Exit code; and what it printed if that is asked for."""
    import subprocess  # here: most often nothing is run, and a start is what takes the time

    if not quiet:
        return subprocess.run(["gcc", *argv], check=False).returncode, ""
    done = subprocess.run(["gcc", *argv], capture_output=True, text=True, errors="surrogateescape", check=False)
    sys.stderr.write(done.stderr)
    return done.returncode, done.stdout


def _must(argv: list[str]) -> str:
    code, said = _gcc(argv, quiet=True)
    if code:
        sys.exit(code)
    return said


def main(folder: Path, argv: list[str]) -> int:
    """Do what gcc does with these arguments; its exit code."""
    flags, sources, out = split(argv)
    if not out or any(word in argv for word in ("-E", "-S", "-M")) or ("-c" in argv and not sources):
        return _gcc(argv)[0]
    folder.mkdir(parents=True, exist_ok=True)
    words = list(argv)
    for place in sources:
        words[place] = str(compiled(folder, flags, argv[place]))
    if "-c" in argv:
        shutil.copyfile(words[sources[0]], out)
        return 0
    if any(word.endswith(".S") for word in argv):  # what it includes is not known
        return _gcc(words)[0]
    read = (".o", ".a", ".ld")
    said = [_digest(word) if word.endswith(read) else word for word in words if word != out]
    key = hashlib.sha256("\0".join(said).encode()).hexdigest()
    program = folder / f"{key}.program"
    if not program.exists():
        part = folder / f".{key}.{os.getpid()}"
        words[words.index(out)] = str(part)
        code, _ = _gcc(words)
        if code:
            return code
        part.replace(program)
    shutil.copy2(program, out)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
