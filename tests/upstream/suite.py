# SPDX-License-Identifier: MIT
"""Runs upstream's tests/run-tests.py, unmodified, against VMs over a pty or against the unix port, and reads what it
says. Every VM gets its share of the files; all run side by side."""

from __future__ import annotations

import asyncio
import difflib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from floe.bench import unixport
from floe.bench.terminal import Pty
from floe.build import port_archive
from floe.setup.pins import chosen_release
from floe.testing import Boot, Guest
from floe.vm.vm import Vm
from tests.support.fixtures import REPO

HERE = Path(__file__).resolve().parent
TESTS = port_archive.MICROPYTHON / "tests"
BUILD = port_archive.BUILD / "upstream-tests"
MODES: dict[str, tuple[str, ...]] = {
    "bytecode": (),
    "mpy": ("--via-mpy",),
    "native": ("--via-mpy", "--emit", "native"),
}
_UNIX_TIMEOUT_S = 300
_LINE = re.compile(r"^(pass|FAIL|skip)  (\S+\.py)", re.MULTILINE)
_DIFF_LINES = 40
_CONSOLE_TAIL = 2000


@dataclass
class Result:
    """What became of the tests, by path from tests/: "basics/int1.py". text: all that the runner said."""

    passed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)  # with expected and got as a diff
    skipped: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)  # why a runner did not come to its end

    @property
    def run(self) -> set[str]:
        return self.passed | set(self.failed)

    def add(self, text: str, folder: Path) -> None:
        """Take in the output of a runner whose results lie in `folder`."""
        for word, name in _LINE.findall(text):
            if word == "pass":
                self.passed.add(name)
            elif word == "skip":
                self.skipped.add(name)
            else:
                self.failed[name] = _diff(folder, name)

    def replace(self, newer: Result) -> None:
        """Take what became of some tests when they ran again."""
        for name in newer.passed:
            self.passed.add(name)
            self.failed.pop(name, None)
        self.complaints += newer.complaints

    def report(self) -> str:
        """For a person who wants to know what failed."""
        return "\n".join([*self.complaints, *(f"---- {name}\n{diff}" for name, diff in sorted(self.failed.items()))])


def files(directories: Sequence[str]) -> list[str]:
    """The tests of some directories, as run-tests.py finds them."""
    return sorted(str(p.relative_to(TESTS)) for d in directories for p in (TESTS / d).glob("*.py"))


def _diff(folder: Path, name: str) -> str:
    stem = folder / name.replace("/", "_")
    expected, got = (
        path.read_text(errors="replace").splitlines() if path.exists() else []
        for path in (Path(f"{stem}.exp"), Path(f"{stem}.out"))
    )
    lines = list(difflib.unified_diff(expected, got, "expected", "got", lineterm="", n=2))
    return "\n".join([*lines[:_DIFF_LINES], *(["..."] if len(lines) > _DIFF_LINES else [])])


def _command(instance: str, folder: Path, mode: str, names: Sequence[str]) -> list[str]:
    options = ["-r", str(folder), "--keep-path", *MODES[mode]]
    return [sys.executable, "run-tests.py", "-t", instance, *options, *names]


def _environment() -> dict[str, str]:
    path = [".frozen", str(port_archive.MICROPYTHON / "extmod"), str(REPO / "frozen" / "lib")]
    return os.environ | {
        "MICROPYPATH": ":".join(path),
        "MICROPY_MICROPYTHON": str(unixport.BINARY),
        "MICROPY_MPYCROSS": str(port_archive.BUILD / "mpy-cross"),
        "MICROPY_CPYTHON3": sys.executable,
    }


def on_unix(mode: str, names: Sequence[str]) -> Result:
    """The same tests in upstream's unix port; kept in build/ for as long as binary and names are the same."""
    unixport.build()
    key = hashlib.sha256(unixport.BINARY.read_bytes() + json.dumps([mode, *names]).encode()).hexdigest()[:16]
    kept = BUILD / f"unix-{key}.json"
    if not kept.exists():
        folder = BUILD / f"unix-{mode}"
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            _command("unix", folder, mode, names),
            cwd=TESTS, env=_environment(), capture_output=True, text=True, errors="replace", timeout=_UNIX_TIMEOUT_S, check=False,
        )  # fmt: skip
        result = Result()
        result.add(done.stdout, folder)
        if not result.passed:
            raise RuntimeError(f"the unix port ran no test:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        content = asdict(result) | {"passed": sorted(result.passed), "skipped": sorted(result.skipped)}
        kept.write_text(json.dumps(content, indent=1))
    content = json.loads(kept.read_text())
    return Result(set(content["passed"]), content["failed"], set(content["skipped"]))


async def _on_vm(vm: Vm, tag: str, mode: str, names: Sequence[str], result: Result) -> None:
    folder = BUILD / f"vm-{tag}"
    folder.mkdir(parents=True, exist_ok=True)
    pty = Pty(vm)
    try:
        runner = await asyncio.create_subprocess_exec(
            *_command(f"port:{pty.name}", folder, mode, names),
            cwd=TESTS, env=_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert runner.stdout is not None
        reading = asyncio.ensure_future(runner.stdout.read())
        try:
            while not reading.done() and vm.outcome is None:
                await asyncio.wait([reading], timeout=0.5)
        finally:
            if runner.returncode is None and not reading.done():
                runner.kill()
            text = (await reading).decode(errors="replace")
            status = await runner.wait()
            result.add(text, folder)
        if vm.outcome is not None:
            result.complaints.append(f"the VM ended ({vm.outcome.cause}):\n{vm.console_text[-3000:]}")
        elif status not in (0, 1) or "tests performed" not in text:
            result.complaints.append(f"run-tests.py ended with {status}:\n{text[-3000:]}")
    finally:
        pty.close()


def on_vms(vms: Sequence[Vm], mode: str, names: Sequence[str], deadline_s: float) -> Result:
    """Run the tests on VMs that show their prompt and share an event loop. Never raises for what they do."""
    result = Result()

    async def all_of_them() -> None:
        jobs = (_on_vm(vm, f"{mode}-{i}", mode, names[i :: len(vms)], result) for i, vm in enumerate(vms))
        async with asyncio.timeout(deadline_s):
            await asyncio.gather(*jobs)

    try:
        vms[0].loop.run_until_complete(all_of_them())
    except TimeoutError:
        result.complaints.append(f"the tests did not end within {deadline_s:g} s")
    for vm in vms:
        del vm.console.data[:-_CONSOLE_TAIL]  # or it would bury the report
    return result


def listed(section: str) -> dict[str, str]:
    """Pattern of names -> reason: the table under a heading of README.md, and under that heading for the chosen release."""
    readme = (HERE / "README.md").read_text()
    headings = (section, f"{section}: {chosen_release()}")
    text = "".join(readme.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] for heading in headings)
    rows = re.findall(r"^\| (`.*`) \| (.+) \|$", text, re.MULTILINE)
    return {pattern: reason for cell, reason in rows for pattern in re.findall(r"`([^`]+)`", cell)}


def matching(names: set[str], patterns: dict[str, str]) -> set[str]:
    return {name for name in names for pattern in patterns if fnmatch.fnmatch(name, pattern)}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dev image with what the tests in import, io and unicode open and import."""
    folder = tmp_path_factory.mktemp("upstream")
    data = folder / "data"
    shutil.copytree(TESTS / "import", data)
    for name in ("io", "unicode"):
        shutil.copytree(TESTS / name / "data", data / "data", dirs_exist_ok=True)
    shutil.copy(HERE / "guest_upstream.py", folder / "main.py")
    (folder / "image.toml").write_text('name = "upstream"\nmain = "main.py"\ndata = "data"\n')
    return folder


def boot_device(boot: Boot, app: Path) -> Guest:
    vm = boot(app, deadline_s=60, dev=True)
    vm.expect_exact(">>> ")
    return vm
