# SPDX-License-Identifier: MIT
"""Fixtures for every test, on top of those of floe.testing, which our own tests use as anybody's may."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from floe.build import pipeline
from floe.errors import FloeError
from floe.qemu import commandline
from floe.testing import Boot
from tests.support import otherqemu
from tests.support.fixtures import REPO, SmallDisk

pytest_plugins = ["tests.support.limits", "tests.support.workers", "tests.support.accelerators"]

os.environ.pop("PYTHONUNBUFFERED", None)  # what is started here keeps its output back as a user's does


@pytest.fixture
def accel(floe_accel: str) -> str:
    """Each accelerator in turn; KVM is skipped, with the reason, where this host has none that works."""
    return floe_accel


@pytest.fixture(scope="session")
def second_qemu() -> Path:
    """A QEMU of another version than the installed one."""
    try:
        return otherqemu.bring()
    except FloeError as e:
        pytest.skip(f"SKIP: {e.message}")


@pytest.fixture(params=["installed", "second"])
def each_qemu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs twice: with the installed QEMU, and with the second one. Its path."""
    if request.param == "second":
        monkeypatch.setenv(commandline.CHOICE, str(request.getfixturevalue("second_qemu")))
    return commandline.find_qemu()


@pytest.fixture(scope="session")
def build() -> Callable[..., Path]:
    """build(app, dev=False) -> ELF of an image's name ("hello"), a folder, a script, or an ELF as it is; built once."""
    built: dict[tuple[Path, bool], Path] = {}

    def build_once(app: str | Path, *, dev: bool = False) -> Path:
        path = REPO / "images" / app if isinstance(app, str) else app
        if path.suffix == ".elf":
            return path
        if (path, dev) not in built or not built[path, dev].is_file():  # a later build of that name may have removed it
            built[path, dev] = pipeline.build(path, profile="dev" if dev else "sealed").path
        return built[path, dev]

    return build_once


@pytest.fixture
def boot(boot: Boot) -> Boot:
    """floe.testing's `boot`, for apps by their names in images/ too, with the same memory for every image."""
    boot.defaults["memory"] = "32M"
    return boot


@pytest.fixture
def small_disk(tmp_path: Path) -> SmallDisk:
    """small_disk(size) -> a context: a folder on a file system of that size, as mount's size=, to be filled."""

    @contextmanager
    def mounted(size: str) -> Iterator[Path]:
        folder = tmp_path / "disk"
        folder.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "floe-test", str(folder)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"SKIP: cannot mount a small file system: {done.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True)

    return mounted
