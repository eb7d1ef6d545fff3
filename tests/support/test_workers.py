# SPDX-License-Identifier: MIT
"""workers.py: a file is one worker's, both labs are one's, a test that is marked `alone` has no other beside it, and one
that ends its worker fails once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.fixtures import REPO

# Each test writes down who ran it and when; the clock is the machine's.
TEST = """
import os, time
import pytest

@pytest.mark.parametrize("n", range({count}))
{marker}
def test_it(n):
    began = time.monotonic()
    time.sleep({seconds})
    with open({record!r}, "a") as record:
        print(os.environ["PYTEST_XDIST_WORKER"], {name!r}, began, time.monotonic(), file=record)
"""
FILES = {  # name: tests, seconds each, alone
    "tests/b/test_bounded.py": (2, 0.3, True),
    "tests/b/test_more.py": (20, 0.03, False),
    "tests/b/test_others.py": (20, 0.03, False),
    "tests/kvm/test_lab.py": (3, 0.01, False),
    "tests/xen/test_lab_too.py": (3, 0.01, False),
}


CRASHES = """
import os
import pytest

@pytest.mark.parametrize("n", range(6))
def test_it(n):
    with open("record", "a") as record:
        print(n, file=record)
    if n == 3:
        os._exit(1)
"""


def run(folder: Path) -> tuple[int, str]:
    """Exit code and output of two workers over the tests of a folder, with our plugin alone."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --import-mode=importlib\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.workers", "-n", "2"]
    done = subprocess.run(
        [*argv, "tests"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPO)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_who_runs_what_and_when(tmp_path: Path) -> None:
    record = tmp_path / "record"
    for name, (count, seconds, alone) in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        marker = "@pytest.mark.alone" if alone else ""
        file.write_text(TEST.format(count=count, seconds=seconds, marker=marker, record=str(record), name=file.name))
    code, said = run(tmp_path)
    assert code == 0, said
    rows = [line.split() for line in record.read_text().splitlines()]
    assert len(rows) == sum(count for count, _, _ in FILES.values())
    workers = {name: {row[0] for row in rows if row[1] == Path(name).name} for name in FILES}
    assert all(len(found) == 1 for found in workers.values()), workers
    assert workers["tests/kvm/test_lab.py"] == workers["tests/xen/test_lab_too.py"]
    assert len(set.union(*workers.values())) == 2
    times = {name: [(float(r[2]), float(r[3])) for r in rows if r[1] == Path(name).name] for name in FILES}
    alone = times.pop("tests/b/test_bounded.py")
    others = [span for spans in times.values() for span in spans]
    assert not [(a, b) for a in alone for b in others if a[0] < b[1] and b[0] < a[1]]
    # They would have been beside each other: as tests of two workers are that are not marked.
    both = [times[name] for name in ("tests/b/test_more.py", "tests/b/test_others.py")]
    assert [(a, b) for a in both[0] for b in both[1] if a[0] < b[1] and b[0] < a[1]]


def test_a_worker_that_crashes(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_crash.py").write_text(CRASHES)
    (tmp_path / "tests" / "test_other.py").write_text("def test_it(): pass\n")
    code, said = run(tmp_path)
    assert code == 1
    assert "1 failed, 6 passed" in said, said
    assert "crashed while running 'tests/test_crash.py::test_it[3]'" in said
    assert (tmp_path / "record").read_text().split() == list("012345")
