# SPDX-License-Identifier: MIT
"""2,000 packets, for which the engine and nftables have the same rules: both let the same ones pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fixtures import REPO
from tests.support.spaces import need_own_taps

SETS, PACKETS = 40, 50
PATHS = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def test_what_passes_there_passes_here(evaluator: Path) -> None:
    if shutil.which("nft", path=PATHS) is None:
        pytest.skip("SKIP: nftables is not installed")
    need_own_taps()
    environment = {**os.environ, "PATH": PATHS, "PYTHONPATH": str(REPO)}
    if subprocess.run(
        ["unshare", "-rn", "nft", "list", "ruleset"], env=environment, capture_output=True, check=False
    ).returncode:
        pytest.skip("SKIP: this kernel has no nftables")
    argv = ["unshare", "-rn", sys.executable, "-m", "tests.packet.nftables", str(evaluator), str(SETS), str(PACKETS)]
    done = subprocess.run(argv, env=environment, cwd=REPO, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"agreed about {SETS * PACKETS} packets" in done.stdout
