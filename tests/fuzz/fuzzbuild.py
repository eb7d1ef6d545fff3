# SPDX-License-Identifier: MIT
"""Compiles the targets with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer into build/fuzz.

An object is compiled again when its source, a header that it has read, or its flags have changed. Variables of what is tested
are moved into sections of their own and its allocations to support/world.c, which puts both back before each run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.fuzztargets import HERE, REPO, Target

BUILT = REPO / "build" / "fuzz"
DEADLINE_S = 300
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS = ["-gline-tables-only", "-O1", "-std=gnu11", "-fno-omit-frame-pointer", "-fno-builtin-printf", *SANITIZED]
# lwIP and others make a pointer out of an offset from null, and compare it with a register of 4 GiB: no more than gcc is told.
FLAGS += ["-fno-delete-null-pointer-checks", f"-I{HERE / 'support'}"]
# The operands of comparisons become parts of inputs: a help in what is tested, and else a loss of time.
NO_OPERANDS = "-fno-sanitize-coverage=trace-cmp"
WRAPPED = (
    "malloc",
    "calloc",
    "realloc",
    "free",
    "posix_memalign",
    "strdup",
    "printf",
    "vprintf",
    "puts",
    "putchar",
    "exit",
    "_Exit",
)
MOVED = {".data": "tested_data", ".bss": "tested_bss"}


class BuildFailed(Exception):
    """The compiler refused. Its words are the message."""


def compiler() -> str | None:
    """clang with libFuzzer, or None."""
    clang = shutil.which("clang")
    if clang is None:
        return None
    argv = [clang, "-print-file-name=libclang_rt.fuzzer-x86_64.a"]
    found = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    argv = [clang, "-print-resource-dir"]
    folder = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    return clang if Path(found).is_absolute() or list(Path(folder).rglob("libclang_rt.fuzzer*.a")) else None


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")


def _fresh(out: Path, deps: Path) -> bool:
    """Whether an object is newer than all that it was made of."""
    if not out.exists() or not deps.exists():
        return False
    names = deps.read_text().replace("\\\n", " ").partition(":")[2].split()
    made = out.stat().st_mtime_ns
    return all((REPO / name).exists() and (REPO / name).stat().st_mtime_ns < made for name in names)


def _object(source: Path, flags: list[str], tested: bool) -> Path:
    """Compile one file, unless it is there."""
    key = hashlib.sha256(" ".join([str(source), *(WRAPPED if tested else ()), *flags]).encode()).hexdigest()[:12]
    out, deps = BUILT / "objects" / f"{source.stem}-{key}.o", BUILT / "objects" / f"{source.stem}-{key}.d"
    if _fresh(out, deps):
        return out
    made = out.with_name(f"{out.stem}.{os.getpid()}.o")
    _run(["clang", *flags, "-MMD", "-MF", str(deps), "-c", str(source), "-o", str(made)])
    if tested:
        renames = [f"--redefine-sym={name}=fuzz_{name}" for name in WRAPPED]
        _run(["objcopy", *renames, *(f"--rename-section={old}={new}" for old, new in MOVED.items()), str(made)])
    made.replace(out)
    return out


def _written(group: str, source: Path, text: str) -> Path:
    """A copy of a source with another text."""
    copy = BUILT.joinpath("changed", group, *source.parts[-2:])
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not copy.exists() or copy.read_text() != text:
        copy.write_text(text)
    return copy


def _program(target: Target, objects: list[Path], folder: Path) -> Path:
    out = folder / (target.name if folder == BUILT else "program")  # beside folders of copies
    if out.exists() and all(o.stat().st_mtime_ns < out.stat().st_mtime_ns for o in objects):
        return out
    made = out.with_name(f"{out.name}.{os.getpid()}")
    fuzzer = [*SANITIZED, "-fsanitize=fuzzer"]
    _run(["clang", *fuzzer, *map(str, objects), *target.group.link, "-lm", "-o", str(made)])
    made.replace(out)
    return out


Job = tuple[Path, tuple[str, ...], bool]


def _jobs(target: Target, copies: dict[Path, Path], folder: Path) -> list[Job]:
    """What a target is compiled of: source, flags, and whether that is under test."""
    common = [*FLAGS, "-fsanitize=fuzzer-no-link", *target.group.flags]
    changed = {path: _written(target.group.name, path, text) for path, text in target.group.changed.items()}
    # A copy finds what was beside its source; a target that includes a source finds the copy in its place.
    near = (f"-I{folder}", *(f"-I{path.parent}" for path in {**changed, **copies}))
    if changed:
        near = (near[0], f"-I{BUILT / 'changed' / target.group.name}", *near[1:])
    files = {**target.group.sources, target.source: ("-Wall", "-Wextra", "-Werror")}
    found: list[Job] = []
    for source, own in files.items():
        if REPO / "tests" in source.parents and (source != target.source or target.group.sources):
            own = (*own, NO_OPERANDS)  # but for a target that includes what it tests
        other = {**changed, **copies}.get(source, source)
        if other != source or (copies and source == target.source):
            own = (*own, "-w")
            found.append((other, (*near, *common, *own), True))
        elif changed and source == target.source:
            found.append((source, (*near, *common, *own, "-Wno-unused-parameter"), True))
        else:
            found.append((source, (*common, *own), True))
    return [*found, (HERE / "support" / "world.c", tuple(FLAGS), False)]


def build(wanted: list[Target], copies: dict[Path, Path] | None = None, folder: Path = BUILT) -> dict[str, Path]:
    """Programs of the targets in a folder, by name. copies: what is compiled in place of a source. Raises BuildFailed."""
    (BUILT / "objects").mkdir(parents=True, exist_ok=True)
    jobs: dict[Job, list[str]] = {}
    for target in wanted:
        for job in _jobs(target, copies or {}, folder):
            jobs.setdefault(job, []).append(target.name)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(lambda job: _object(job[0], list(job[1]), job[2]), jobs))
    objects: dict[str, list[Path]] = {target.name: [] for target in wanted}
    for names, path in zip(jobs.values(), made, strict=True):
        for name in names:
            objects[name].append(path)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        programs = list(pool.map(lambda t: _program(t, objects[t.name], folder), wanted))
    return {target.name: path for target, path in zip(wanted, programs, strict=True)}
