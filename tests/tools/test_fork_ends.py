# SPDX-License-Identifier: MIT
"""`floe run` of a VM that forks, ended in the middle: by kill -9 or Ctrl-C at random instants of a fork, by a wish to end
that its children hear too. No process, socket or file is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floe.store.vmfolder import Process
from tests.support.command import FLOE
from tests.support.vms import until

GUEST = Path(__file__).resolve().parents[1] / "target" / "guests" / "guest_fork_failures.py"
SEEDS = 20
AT_MOST_S = 0.4  # after the guest's word: several forks' time


class Run:
    """A floe in the foreground, with folders of its own for what it makes."""

    def __init__(self, elf: Path, accel: str, folder: Path, *args: str) -> None:
        self.elf, self.folder = folder / "image.elf", folder
        shutil.copyfile(elf, self.elf)
        self.disk = folder / "disks" / "disk.img"
        for name in ("temporary", "runtime", "state", "disks"):
            (folder / name).mkdir(exist_ok=True)
        self.disk.write_bytes(bytes(1 << 20))
        env = {
            **os.environ,
            "TMPDIR": str(folder / "temporary"),
            "XDG_RUNTIME_DIR": str(folder / "runtime"),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        argv = ["run", "--accel", accel, "--disk", f"{self.disk}:optional", str(self.elf), "--", *args]
        self.process = subprocess.Popen(
            [*FLOE, *argv], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.said = b""

    def hear(self, text: bytes) -> None:
        """Read until it says that."""
        assert self.process.stdout is not None
        while text not in self.said:
            data = os.read(self.process.stdout.fileno(), 4096)
            assert data, self.said
            self.said += data

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def rest(self) -> tuple[int, str, str]:
        """How it ends: exit code, all of standard output, standard error."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, (self.said + out).decode(), err.decode()

    def machines(self) -> set[Process]:
        """QEMUs of this run's."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if os.fsencode(self.elf) in path.read_bytes():
                    found.add(Process.of(int(path.parent.name)))
            except OSError:
                continue
        return {process for process in found if process is not None and process.pid != self.process.pid}

    def is_gone(self) -> None:
        """Nothing is left."""
        until(lambda: not self.machines(), "the end of all QEMUs")
        left = [str(path) for path in self.folder.rglob("*") if not path.is_dir() and path not in (self.disk, self.elf)]
        assert left == []


@pytest.fixture
def run(build: Callable[..., Path], accel: str, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    elf = build(GUEST)
    runs = []

    def start(*args: str) -> Run:
        runs.append(Run(elf, accel, tmp_path, *args))
        return runs[-1]

    yield start
    for one in runs:
        one.process.kill()
        one.process.communicate()


def test_kill_9_at_any_instant_of_a_fork_leaves_nothing(run: Callable[..., Run]) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(SEEDS):
        one = run("loop")
        one.hear(b"ready True")
        time.sleep(rng.uniform(0, AT_MOST_S))
        one.process.kill()
        code, _, err = one.rest()
        assert (code, err) == (-signal.SIGKILL, "")
        one.is_gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_to_end_at_any_instant_of_a_fork_is_heard(run: Callable[..., Run], number: signal.Signals) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(5):
        one = run("loop")
        one.hear(b"ended 2 0")
        time.sleep(rng.uniform(0, AT_MOST_S))
        one.process.send_signal(number)
        code, out, err = one.rest()
        assert (code, "asked to end" in out) in ((7, True), (130, False)), (code, out, err)
        assert "Traceback" not in err
        one.is_gone()


def test_children_are_asked_to_end_too(run: Callable[..., Run]) -> None:
    one = run()
    one.hear(b"ready True")
    for pid in (b"2", b"3"):
        one.tell("fork")
        one.hear(b"] born " + pid)
    assert len(one.machines()) >= 3
    one.process.send_signal(signal.SIGINT)
    code, out, err = one.rest()
    assert (code, err) == (7, "")
    assert out.endswith("asked to end\n")
    one.is_gone()
