# SPDX-License-Identifier: MIT
"""limits.py: a test that hangs fails by its name, and the run goes on; an ignored signal is not passed on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.support.fixtures import REPO

HANGS = """
import subprocess, time
import pytest

@pytest.fixture
def slow_end():
    yield
    time.sleep(600)

@pytest.mark.limit(0.3)
def test_waits_twice():
    with subprocess.Popen(["sleep", "20"]) as process:
        process.wait()

@pytest.mark.limit(0.3)
def test_end(slow_end):
    pass

def test_good():
    time.sleep(0.5)
"""
HEARS = """
import signal, subprocess

def test_child():
    for number in (signal.SIGINT, signal.SIGHUP):
        with subprocess.Popen(["sleep", "600"]) as process:
            process.send_signal(number)
            try:
                assert process.wait(10) == -number
            finally:
                process.kill()
"""


def run(folder: Path, text: str, *before: str) -> tuple[int, str]:
    """Exit code and output of a run of pytest over one file of tests, with our plugin alone."""
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    argv = [
        *before,
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.support.limits",
        "-v",
        "test_it.py",
    ]
    done = subprocess.run(
        argv,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPO)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_what_hangs_fails_alone(tmp_path: Path) -> None:
    started = time.monotonic()
    code, said = run(tmp_path, HANGS)
    assert code == 1
    assert "test_it.py::test_waits_twice: its run took more than 0.3 s" in said
    assert "test_it.py::test_end: its clean-up took more than 0.3 s" in said
    assert "test_it.py::test_good PASSED" in said
    assert "1 failed, 2 passed, 1 error" in said
    assert time.monotonic() - started < 40


def test_what_this_process_ignores_its_children_do_not(tmp_path: Path) -> None:
    code, said = run(tmp_path, HEARS, "env", "--ignore-signal=INT", "--ignore-signal=HUP")
    assert code == 0, said
