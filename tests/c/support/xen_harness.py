# SPDX-License-Identifier: MIT
"""The other end of xen_harness.c: builds a Xen driver over the fake Xen, and works it by commands (harness.Harness)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.c.support.harness import BUILD_DEADLINE_S, FLAGS, HERE, ROOT, Harness

FAKES = ("xen_harness.c", "fuzz_lives.c", "fake_hal.c", "fake_xen.c", "fake_xenstore.c")
UNKNOWN, INITIALISING, INIT_WAIT, INITIALISED, CONNECTED, CLOSING, CLOSED, RECONFIGURING, RECONFIGURED = range(9)


def build(out: Path, own: str, *sources: str) -> Path:
    """Compile tests/c/xen/<own> (it has xen_extra_command) and the sources under test, named from the repository's top, with
    the fakes, ASan and UBSan; return the program."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("neither gcc nor clang is installed; try: apt-get install gcc")
    program = out / Path(own).stem
    folders = ("port", "port/hal", "modules/netdev", "modules/blkdev", "modules/family", "modules/xen")
    includes = [f"-I{HERE}", *(f"-I{ROOT / d}" for d in folders)]
    files = [ROOT / "tests/c/xen" / own, *(HERE / name for name in FAKES), *(ROOT / name for name in sources)]
    argv = [compiler, *FLAGS, "-include", str(HERE / "fake_hal.h"), *includes, *map(str, files), "-o", str(program)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_DEADLINE_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{own} does not compile:\n{done.stderr}")
    return program


class Backend:
    """The two folders of one device in the fake XenStore: the driver's (domain 1) and the backend's (domain 0)."""

    def __init__(self, h: Harness, kind: str, number: int, domain: int = 1) -> None:
        """domain: the number that the backend knows the driver's domain by."""
        self.h = h
        self.front = f"/local/domain/1/device/{kind}/{number}"
        self.back = f"/local/domain/0/backend/{kind}/{domain}/{number}"
        self.h.do("xs_set", f"{self.front}/backend", self.back)
        self.h.do("xs_set", f"{self.front}/backend-id", 0)
        self.h.do("xs_set", f"{self.front}/state", INITIALISING)
        self.h.do("xs_set", f"{self.back}/frontend", self.front)
        self.h.do("xs_set", f"{self.back}/frontend-id", 1)
        self.state(INIT_WAIT)

    def state(self, state: int) -> None:
        """Set the backend's state."""
        self.h.do("xs_set", f"{self.back}/state", state)

    def set(self, **values: object) -> None:
        """Write into the backend's folder; '__' in a name is '-'."""
        for name, value in values.items():
            self.h.do("xs_set", f"{self.back}/{name.replace('__', '-')}", value)

    def when(self, front: int, back: int) -> None:
        """As soon as the driver's state is this, the backend's becomes that (e.g. 3 -> 4, 6 -> 6)."""
        self.h.do("xs_react", f"{self.front}/state", front, f"{self.back}/state", back)

    def get(self, name: str) -> str:
        """What the driver wrote into its folder; 'none' where nothing is."""
        return self.h.do("xs_get", f"{self.front}/{name}")
