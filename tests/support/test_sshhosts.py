# SPDX-License-Identifier: MIT
"""sshhosts.py: hosts in namespaces have names and addresses of their own whoever else has some, are reached as soon as
they are there, and those of a process that was killed are cleared away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import sshhosts
from tests.support.fixtures import REPO
from tests.support.sshhosts import Hosts

# Two runs at once, which know nothing of each other.
OTHER = """
import sys
from pathlib import Path
from tests.support import sshhosts

with sshhosts.in_namespaces(Path(sys.argv[1]), ("east", "west")) as hosts:
    print("there", flush=True)
    sys.stdin.read()
"""


def said(hosts: Hosts, name: str) -> str:
    """What a shell there says."""
    argv = [*hosts.environment["FLOE_SSH"].split(), name, "echo $XDG_CACHE_HOME"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or done.stderr


def served(folder: Path) -> int:
    """How many processes sshd has for hosts of this folder."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += os.fsencode(f"{folder}/") in path.read_bytes()
    return found


@contextmanager
def another(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has hosts of the same names."""
    argv = [sys.executable, "-c", OTHER, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        yield process
        process.stdin.close()


def test_two_at_once(tmp_path: Path) -> None:
    with sshhosts.in_namespaces(tmp_path / "a", ("east", "west")) as ours:
        with sshhosts.in_namespaces(tmp_path / "b", ("east",)) as others, another(tmp_path / "c"):
            assert said(ours, "east") == str(tmp_path / "a" / "east")
            assert said(ours, "west") == str(tmp_path / "a" / "west")
            assert said(others, "east") == str(tmp_path / "b" / "east")
            ours.cut_off("east")
            assert said(others, "east") == str(tmp_path / "b" / "east")
        assert said(ours, "west") == str(tmp_path / "a" / "west")


def test_what_a_killed_one_leaves(tmp_path: Path) -> None:
    with sshhosts.in_namespaces(tmp_path / "a", ("east",)):
        with another(tmp_path / "b") as process:
            assert served(tmp_path / "b") >= 2
            process.kill()
        with sshhosts.in_namespaces(tmp_path / "c", ("west",)) as hosts:
            assert said(hosts, "west") == str(tmp_path / "c" / "west")
            assert served(tmp_path / "a") and not served(tmp_path / "b")
