# SPDX-License-Identifier: MIT
"""What every page that is run gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home of its own, floe and mpremote first on PATH; detached VMs are ended afterwards."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOE", "XDG", "PYTEST"))}
    scripts = str(Path(sys.executable).parent)
    # The state folder's path goes into socket names, which have 107 bytes at most.
    environment = kept | {"HOME": str(home), "PATH": f"{scripts}:{kept['PATH']}", "LC_ALL": "C.UTF-8", "COLUMNS": "120"}
    yield environment
    listed = subprocess.run(["floe", "ps", "--json"], env=environment, capture_output=True, text=True, check=False)
    names = [vm["name"] for vm in json.loads(listed.stdout or "[]") if not vm["parent"]]
    if names:
        subprocess.run(["floe", "rm", "--force", *names], env=environment, check=False, timeout=60)
