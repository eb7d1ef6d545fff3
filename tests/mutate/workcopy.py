# SPDX-License-Identifier: MIT
"""The copy of the tree in which mutants live: build/mutate/copy. The tree itself is read only.

What an interrupted run left there, the next one sets right before it begins."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from tests.mutate.trials import Trial

_GRACE_S = 15  # for pytest to end its VMs
_DOUBTS = 3  # tests of a trial that may fail once and pass alone
_BUILT = ("port", "mpy-cross", "mpy-cross.d")  # what is copied of build/, so that make finds it up to date
_UNCOMPILED = re.compile(r"does not compile|\[-Werror|cannot find the compiler|Assembler messages|ld returned")
_MAKE = ("make", "-s", "-f", "port/port.mk", "PROFILE=sealed")
How = Literal["passed", "failed", "uncompiled", "late"]


@dataclass(frozen=True)
class Verdict:
    """How a trial ended. by: the test that failed first; output: the last lines."""

    how: How
    by: str
    output: str


class WorkCopy:
    """One at a time: a lock is held from creation to close()."""

    def __init__(self, top: Path) -> None:
        """Copy what git knows of the tree. Raises BlockingIOError while another run has the copy."""
        self._top = top
        self._folder = top / "build" / "mutate"
        self.path = self._folder / "copy"
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = (self._folder / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._fill()
        self._compiler()

    def close(self) -> None:
        self._lock.close()

    def write(self, file: str, text: str) -> None:
        """Put a mutant into the copy."""
        (self.path / file).write_text(text, encoding="utf-8")

    def restore(self, file: str) -> None:
        """Take it out again."""
        shutil.copyfile(self._top / file, self.path / file)

    def attempt(self, trial: Trial, limit_s: float) -> Verdict:
        """Build what the trial needs, and run it until its first failure. Raises RuntimeError when it cannot be run."""
        ends = time.monotonic() + limit_s
        if trial.guests:
            code, said = self._run(list(_MAKE), {}, limit_s)
            if code != 0:
                return Verdict("late" if code is None else "uncompiled", "", said)
            (self.path / "build/port/sealed/checked").touch()
        left_out: list[str] = []
        while True:
            verdict = self._ask(trial, trial.tests, left_out, ends - time.monotonic())
            if verdict.how != "failed" or len(left_out) == _DOUBTS:
                return verdict
            # A busy machine makes tests fail, too: the mutant has to fail it twice, the second time alone.
            if self._ask(trial, (verdict.by,), [], ends - time.monotonic()).how != "passed":
                return verdict
            left_out.append(verdict.by)

    def _ask(self, trial: Trial, tests: tuple[str, ...], left_out: list[str], limit_s: float) -> Verdict:
        python = str(self._top / ".venv/bin/python")
        options = ["-c", "tools/pyproject.toml", "--rootdir=.", "-q", "-x", "--tb=short"]
        plugins = ["-p", "no:randomly", "-p", "no:cacheprovider", "-n0"]
        accel = ["--floe-accel=auto"] if trial.guests else []
        own = {} if trial.guests else {"CC": str(self._folder / "cc")}
        without = [f"--deselect={test}" for test in left_out]
        argv = [python, "-m", "pytest", *options, *plugins, *accel, *without, *tests]
        code, said = self._run(argv, own, limit_s)
        failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.MULTILINE)
        if code is None:
            return Verdict("late", "", said)
        if code == 0:
            return Verdict("passed", "", said)
        if code in (1, 2) and failed:
            return Verdict("uncompiled" if _UNCOMPILED.search(said) else "failed", failed[1], said)
        raise RuntimeError(f"{' '.join(argv)} ended with {code}:\n{said}")

    def _run(self, argv: list[str], own: dict[str, str], limit_s: float) -> tuple[int | None, str]:
        """Exit code (None: it took too long and was ended) and the end of the output."""
        log = self._folder / "last.log"
        # Of two sources of one size in one second, an old .pyc would stand for both.
        fixed = {"PYTHONPATH": str(self.path / "tools"), "PYTHONDONTWRITEBYTECODE": "1"}
        with log.open("w") as out:
            process = subprocess.Popen(
                argv,
                cwd=self.path,
                env={**os.environ, **fixed, **own},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = None
            try:
                code = process.wait(max(limit_s, 1))
            except subprocess.TimeoutExpired:
                pass
            finally:
                if process.poll() is None:
                    _end(process)
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
        program = self._folder / "cc"
        cache = self._top / "tests/mutate/objectcache.py"
        words = (str(self._top / ".venv/bin/python"), str(cache), str(self._folder / "objects"))
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        program.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
        program.chmod(0o755)


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, so that pytest ends what it started; what is left after that, at once."""
    for number, wait_s in ((signal.SIGINT, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
        try:
            os.killpg(process.pid, number)
            process.wait(wait_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
