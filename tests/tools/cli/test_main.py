# SPDX-License-Identifier: MIT
"""floe.cli.main: names, speed, and that no failure shows as a traceback."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from floe import __version__
from floe.cli import main as cli
from floe.errors import FloeError, NotFound
from tests.support.command import FLOE, floe


def test_version_takes_less_than_a_fifth_of_a_second() -> None:
    """Of a processor's time: what else runs on the machine is not floe's."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*FLOE, "--version"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.stdout == f"floe {__version__}\n"
    assert sorted(times)[2] < 0.2


def test_version_imports_no_verb_and_no_library_but_click() -> None:
    code = (
        "import sys; from floe.cli import main as cli; cli.run(['--version']);"
        "print([m for m in sys.modules if m.split('.')[0] in ('msgspec', 'elftools', 'mpremote', 'qemu', 'asyncio')"
        " or m in ('floe.cli.build', 'floe.cli.run')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_verb(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    out = capfd.readouterr().out
    for verb, (_, text) in cli.VERBS.items():
        assert f"  {verb} " in out
        assert text in out


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_loads_and_has_help(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run([verb, "--help"]) == 0
    assert f"Usage: floe {verb}" in capfd.readouterr().out


def test_no_verb_at_all_is_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 125
    assert "Verbs:" in capfd.readouterr().err


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (FloeError("it broke", evidence="seen: x\nseen: y", hint="do this\nand that"), 125, "floe: it broke\n"),
        (NotFound("no qemu"), 127, "floe: no qemu\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (ZeroDivisionError("oops"), 125, "floe: internal error: ZeroDivisionError: oops\n"),
    ],
    ids=["floe", "not-found", "ctrl-c", "abort", "bug"],
)
def test_every_failure_is_text_and_a_code(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.LazyVerbs, "get_command", lambda self, ctx, name: raising(error))
    monkeypatch.delenv("FLOE_DEBUG", raising=False)
    assert cli.run(["anything"]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(words)
    assert "Traceback" not in err


def test_rendering() -> None:
    error = FloeError("it broke", evidence="seen: x\nseen: y", hint="do this\nand that")
    assert error.render() == "floe: it broke\n  seen: x\n  seen: y\n  try: do this\n       and that"
    assert FloeError("alone").render() == "floe: alone"


def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        f"'{sys.executable}' -c 'from floe.cli.main import main; main()' --help | true",
        shell=True, capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(tmp_path: Path, closed: str) -> None:
    """No file of floe's takes their numbers; what asks whether one is a terminal gets an answer."""
    (tmp_path / "main.py").write_text("raise SystemExit(7)\n")
    command = shlex.join([*FLOE, "run", "--accel", "tcg", str(tmp_path / "main.py")])
    assert subprocess.run(["sh", "-c", f"exec {command} {closed}"], timeout=60, check=False).returncode == 7
    command = shlex.join([*FLOE, "repl", str(tmp_path / "main.py")])
    shell = ["sh", "-c", f"exec {command} {closed}"]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 125
    assert ("terminal" in done.stderr) == ("2>&-" not in closed), done.stderr


def test_a_detached_vm_of_a_caller_without_streams(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print('up')\nimport time\ntime.sleep(100)\n")
    state = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")}
    command = shlex.join([*FLOE, "run", "--accel", "tcg", "--detach", "--name", "vm", str(tmp_path / "main.py")])
    done = subprocess.run(["sh", "-c", f"exec {command} <&- >&- 2>&-"], env=state, timeout=60, check=False)
    try:
        assert done.returncode == 0
        deadline = time.monotonic() + 30
        while "up" not in (said := floe("logs", "vm", env=state).stdout):
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
    finally:
        floe("rm", "--force", "vm", env=state)


def test_new_makes_an_image_that_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["new", "shop"]) == 0
    assert sorted(p.name for p in Path("shop").iterdir()) == ["README.md", "image.toml", "main.py", "tests"]
    assert "next: floe run shop" in capfd.readouterr().out
    assert cli.run(["build", "shop"]) == 0
    assert Path("shop.elf").stat().st_mode & 0o111
    assert "{name}" not in Path("shop/README.md").read_text()
    # The commented examples are right too: with the comment signs gone it is still an image.
    text = Path("shop/image.toml").read_text().replace("\n# ", "\n")
    Path("shop/image.toml").write_text(text.replace('microdot = "2.7.0"', ""))
    assert cli.run(["build", "shop"]) == 0


def test_ctrl_c_while_modules_are_loaded() -> None:
    """What was being loaded is nobody's concern."""
    code = """
import builtins, os, signal
load = builtins.__import__
def interrupted(name, *more):
    if name == "click":
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *more)
builtins.__import__ = interrupted
from floe.cli.start import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_what_asks_hosts_loads_nothing_that_builds_or_starts_here() -> None:
    """`floe ps --host` takes longer to load that than to ask the hosts."""
    code = "import sys, floe.cli.vms, floe.cli.hosted; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"floe.build.pipeline", "floe.detached.launch", "floe.vm.plan"} & set(done.stdout.split())


def test_run_loads_no_event_loop_before_qemu_and_nothing_that_fetches() -> None:
    """What it loads beside a guest that starts costs the least time, and what is not used none."""
    later = {"asyncio", "ssl", "http", "email", "tarfile", "mpremote", "qemu", "concurrent", "difflib", "elftools"}
    code = f"import sys, floe.cli.run; print(sorted(set({sorted(later)}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
