# SPDX-License-Identifier: MIT
"""`floe lab kvm`: up, run, status, down, as a person types them. What guests do in it: test_kvm.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe import qemu
from floe.errors import UpstreamError
from floe.kvm import machine

BOOT_S = 300  # of a test that may download, build and take a snapshot


def floe(*words: str, stdin: bytes = b"", timeout: float = BOOT_S) -> subprocess.CompletedProcess[bytes]:
    argv = [str(Path(sys.executable).with_name("floe")), "lab", "kvm", *words]
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lab of these tests alone; the cache is the user's."""
    if shutil.which(qemu.find_qemu()) is None:
        pytest.skip(f"SKIP: {qemu.QEMU} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(folder))
        try:
            machine.up(print)
        except UpstreamError as e:
            pytest.skip(f"SKIP: Debian's packages for the KVM lab cannot be had: {e.message}")
        try:
            yield folder
        finally:
            machine.down(print)


def test_up_and_down(home: Path) -> None:
    assert b"floe: the KVM lab is up already" in floe("up").stderr
    facts = json.loads(floe("status", "--json").stdout)
    assert (facts["state"], facts["guests"], facts["memory"]) == ("up", [], 512 << 20)
    assert facts["versions"]["linux"].startswith("6.1")
    assert b"guests: none\n" in floe("status").stdout
    assert b"Linux version 6.1" in floe("run", "dmesg").stdout
    assert floe("log").returncode == 0
    assert floe("down").stderr == b"floe: the KVM lab is down\n"
    assert floe("down").stderr == b"floe: the KVM lab was not up\n"
    assert floe("status").returncode == 127
    ran = floe("run", "true")
    assert (ran.returncode, ran.stdout) == (127, b"")
    assert b"floe: the KVM lab is not up\n  try: floe lab kvm up" in ran.stderr
    again = floe("up")
    assert again.returncode == 0
    assert b"booting" not in again.stderr and b"from its snapshot" in again.stderr


def test_run_a_command(home: Path) -> None:
    machine.up(print)
    assert floe("run", "echo one; exit 7").returncode == 7
    assert floe("run", "sh", "-c", 'echo "$0"', "a  b'c").stdout == b"a  b'c\n"
    data = os.urandom(1 << 18)
    assert floe("run", "cat", stdin=data).stdout == data
    assert floe("run", "cat /sys/module/kvm_amd/parameters/npt").stdout == b"Y\n"
    assert b"svm" in floe("run", "grep", "-m", "1", "flags", "/proc/cpuinfo").stdout
