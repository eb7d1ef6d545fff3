# SPDX-License-Identifier: MIT
"""The copy of the tree in which mutants live: build/mutate/copy. The tree itself is read only.

What an interrupted run left there, the next one sets right before it begins."""

from __future__ import annotations

import fcntl
import importlib
import os
import pkgutil
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NoReturn

import _pytest
import hypothesis.strategies  # noqa: F401  for those that are forked
import pytest

from tests.mutate.trials import Trial

_GRACE_S = 15  # for pytest to end its VMs
_DOUBTS = 3  # tests of a trial that may fail once and pass alone
_WAITED = re.compile(r"died with -9|TimeoutExpired|Timeout|TimedOut|deadline")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
_WAITED_S = 120  # for one test without a mutant
_BUILT = ("port", "mpy-cross", "mpy-cross.d")  # what is copied of build/, so that make finds it up to date
_UNCOMPILED = re.compile(r"does not compile|\[-Werror|cannot find the compiler|Assembler messages|ld returned")
# Where build/upstream is the tree's, as here, mpy-cross would be made in the tree: it is never too old.
MAKE = ("make", "-s", "-o", "build/mpy-cross", "-f", "port/port.mk", "PROFILE=sealed")
How = Literal["passed", "failed", "uncompiled", "late"]


@dataclass(frozen=True)
class Verdict:
    """How a trial ended. by: the test that failed first; output: the last lines."""

    how: How
    by: str
    output: str


def first_failed(said: str) -> str:
    """The test that pytest names first in its summary; "" if none. A captured log has lines that begin alike."""
    found = _FAILED.search(said)
    return found[1] if found else ""


class WorkCopy:
    """One at a time: a lock is held from creation to close()."""

    def __init__(self, top: Path) -> None:
        """Copy what git knows of the tree. Raises BlockingIOError while another run has the copy."""
        self._top = top
        self._folder = top / "build" / "mutate"
        self._mutant: tuple[str, str] | None = None
        self.path = self._folder / "copy"
        self.path.mkdir(parents=True, exist_ok=True)
        for module in pkgutil.iter_modules(_pytest.__path__, "_pytest."):
            importlib.import_module(module.name)
        self._lock: IO[str] = (self._folder / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._fill()
        self._compiler()

    def close(self) -> None:
        self._lock.close()

    def write(self, file: str, text: str) -> None:
        """Put a mutant into the copy."""
        self._mutant = (file, text)
        (self.path / file).write_text(text, encoding="utf-8")

    def restore(self, file: str) -> None:
        """Take it out again."""
        self._mutant = None
        shutil.copyfile(self._top / file, self.path / file)

    def attempt(self, trial: Trial, limit_s: float) -> Verdict:
        """Build what the trial needs, and run it until its first failure. Raises RuntimeError when it cannot be run."""
        ends = time.monotonic() + limit_s
        if trial.guests:
            code, said = self._run(list(MAKE), {}, limit_s)
            if code != 0:
                return Verdict("late" if code is None else "uncompiled", "", said)
            (self.path / "build/port/sealed/checked").touch()
        left_out: list[str] = []
        while True:
            verdict = self._ask(trial, trial.tests, left_out, ends - time.monotonic())
            waited = trial.guests or _WAITED.search(verdict.output)
            if verdict.how != "failed" or len(left_out) == _DOUBTS or not waited:
                return verdict
            # A busy machine makes tests that wait fail, too: the mutant has to fail it twice, the second time alone.
            again = self._ask(trial, (verdict.by,), [], ends - time.monotonic())
            if again.how != "passed" and not self._fails_unchanged(trial, verdict.by):
                return verdict
            left_out.append(verdict.by)

    def _fails_unchanged(self, trial: Trial, test: str) -> bool:
        """Whether a test that waited in vain does so without the mutant, too."""
        mutant = self._mutant
        if trial.guests or mutant is None:
            return False
        self.restore(mutant[0])
        verdict = self._ask(trial, (test,), [], _WAITED_S)
        self.write(*mutant)
        return verdict.how != "passed"

    def _ask(self, trial: Trial, tests: tuple[str, ...], left_out: list[str], limit_s: float) -> Verdict:
        options = ["-c", "tools/pyproject.toml", "--rootdir=.", "-q", "-x", "--tb=short"]
        plugins = ["-p", "no:randomly", "-p", "no:cacheprovider", "-n0"]
        accel = ["--floe-accel=auto"] if trial.guests else []
        own = {} if trial.guests else {"CC": str(self._folder / "cc")}
        without = [f"--deselect={test}" for test in left_out]
        argv = [*options, *plugins, *accel, *without, *tests]
        code, said = self._run(argv, own, limit_s, pytests=True)
        failed = first_failed(said)
        if code is None:
            return Verdict("late", "", said)
        if code == 0:
            return Verdict("passed", "", said)
        if code in (1, 2) and failed:
            return Verdict("uncompiled" if _UNCOMPILED.search(said) else "failed", failed, said)
        raise RuntimeError(f"pytest {' '.join(argv)} ended with {code}:\n{said}")

    def _run(
        self, argv: list[str], own: dict[str, str], limit_s: float, *, pytests: bool = False
    ) -> tuple[int | None, str]:
        """Exit code (None: it took too long and was ended) and the end of the output. pytests: argv is pytest's."""
        log = self._folder / "last.log"
        # Of two sources of one size in one second, an old .pyc would stand for both.
        fixed = {"PYTHONPATH": str(self.path / "tools"), "PYTHONDONTWRITEBYTECODE": "1"}
        env = {**os.environ, **fixed, **own}
        with log.open("w") as out:
            pid = os.fork()
            if pid == 0:
                _be(argv, pytests, self._top, self.path, env, out.fileno())
            try:
                code = _ended(pid, max(limit_s, 1))
            except BaseException:
                _end(pid)
                raise
            if code is None:
                _end(pid)
        return code, log.read_text(errors="replace")[-6000:]

    def _fill(self) -> None:
        argv = ["git", "-C", str(self._top), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split("\0")
        wanted = {name for name in listed if name and (self._top / name).is_file()}
        for name in sorted(wanted):
            source, copy = self._top / name, self.path / name
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                new = not copy.exists()
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy) if new else shutil.copyfile(source, copy)  # changed: make has to see it
        tops = {name.partition("/")[0] for name in wanted}
        for top in sorted(tops):
            for old in [p for p in (self.path / top).rglob("*") if p.is_file()]:
                if str(old.relative_to(self.path)) not in wanted:
                    old.unlink()
        build = self.path / "build"
        build.mkdir(exist_ok=True)
        for link, target in ((self.path / ".venv", ".venv"), (build / "upstream", "build/upstream")):
            if not link.is_symlink():
                link.symlink_to(self._top / target)
        for name in _BUILT:
            source = self._top / "build" / name
            if not (build / name).exists() and source.is_dir():
                shutil.copytree(source, build / name)
            elif not (build / name).exists() and source.exists():
                shutil.copy2(source, build / name)

    def _compiler(self) -> None:
        """A gcc that remembers objects, for the tests that compile for the host."""
        for record in (self._folder / "objects").glob(
            "*.json"
        ):  # a header that is new since may stand before one of them
            record.unlink()
        program = self._folder / "cc"
        cache = self._top / "tests/mutate/objectcache.py"
        words = (str(self._top / ".venv/bin/python"), "-IS", str(cache), str(self._folder / "objects"))
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        program.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
        program.chmod(0o755)


def _be(argv: list[str], pytests: bool, top: Path, copy: Path, env: dict[str, str], log: int) -> NoReturn:
    """The child: a command in the copy; or what `python -m pytest argv` does there, but that much is imported already,
    which is half of a short run."""
    code = 70
    try:
        os.setsid()
        os.chdir(copy)
        for fd, own in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(fd, own)
        if not pytests:
            os.execvpe(argv[0], argv, env)
        os.environ.clear()
        os.environ.update(env)
        sys.dont_write_bytecode = True
        sys.path[:] = [
            str(copy),
            env["PYTHONPATH"],
            *(p for p in sys.path if p not in ("", str(top), str(top / "tools"))),
        ]
        for name in [n for n in sys.modules if n.partition(".")[0] in ("tests", "floe")]:
            del sys.modules[name]  # the tree's: those of the copy are meant
        code = int(pytest.main(argv))
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _ended(pid: int, limit_s: float) -> int | None:
    """Exit code of a child, as a shell gives it; None if it still runs after this time."""
    watch = os.pidfd_open(pid)
    try:
        if not select.select([watch], [], [], limit_s)[0]:
            return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(watch)


def _end(pid: int) -> None:
    """As Ctrl-C does, so that pytest ends what it started; what is left after that, at once."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(pid, number)
            if _ended(pid, _GRACE_S) is not None:
                return
        except ProcessLookupError:
            return
