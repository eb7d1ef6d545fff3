# SPDX-License-Identifier: MIT
"""The tree compiles without a warning, and its images boot, with the gcc of Debian 12 and that of Debian 13: the one
that is not this machine's is fetched (gcc-*.toml)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from floe.build import port_archive
from floe.errors import FloeError
from tests.compilers import compiler

VERSIONS = (12, 14)
TIMEOUT_S = 600


def other() -> int:
    """The major version of the two that this machine's gcc is not."""
    return next(v for v in VERSIONS if not port_archive.load("sealed").compiler.startswith(f"gcc {v}."))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is committed or about to be, with this checkout's upstream sources."""
    copy = tmp_path_factory.mktemp("tree")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=port_archive.ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, names.split("\0")):
        if (
            name.startswith(("port/", "modules/", "frozen/", "tools/", "images/"))
            and (port_archive.ROOT / name).exists()
        ):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(port_archive.ROOT / name, copy / name)
    (copy / "build").mkdir()
    for name in ("upstream", "mpy-cross", "mpy-cross.d"):
        (copy / "build" / name).symlink_to(port_archive.BUILD / name)
    return copy


def run(tree: Path, path: str, *argv: str) -> str:
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(tree / "tools")}
    done = subprocess.run(
        argv, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def test_the_other_compiler(tree: Path, tmp_path: Path) -> None:
    version = other()
    try:
        folder = compiler.unpack(version, port_archive.BUILD / "compilers" / f"gcc-{version}", tmp_path)
    except FloeError as e:
        pytest.skip(f"SKIP: gcc {version} cannot be fetched: {e.message}")
    path = f"{folder}:{os.environ['PATH']}"
    floe = [sys.executable, "-c", "from floe.cli.main import main; main()"]
    for profile in ("sealed", "dev"):
        run(tree, path, "make", "-s", "-f", "port/port.mk", f"PROFILE={profile}", f"-j{os.cpu_count()}")
        assert (tree / "build/port" / profile / "compiler").read_text().startswith(f"gcc {version}.")
    for image in ("hello", "web"):
        said = run(tree, path, *floe, "build", f"images/{image}", "-o", f"{image}.elf", "--json")
        assert '"tls"' not in said  # asyncio is known for upstream's, although build/upstream is a link
        comment = subprocess.run(
            ["readelf", "-p", ".comment", tree / "build/port/sealed/port/main.o"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"GCC: (Debian {version}." in comment
    said = run(tree, path, *floe, "run", "hello.elf", "--accel", "tcg", "--timeout", "30")
    assert "hello, world\n" in said
    (tree / "net.py").write_text(
        "import asyncio, socket, json, os\nprint(json.dumps({'n': 2.5}), os.urandom(4) != b'')\n"
    )
    assert '{"n": 2.5} True\n' in run(tree, path, *floe, "run", "net.py", "--accel", "tcg", "--timeout", "30")
    run(tree, path, *floe, "build", "--dev", "net.py", "-o", "dev.elf")
