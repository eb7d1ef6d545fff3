# SPDX-License-Identifier: MIT
"""A stack of a hundred VMs on two hosts, which are namespaces of this machine with a libvirt each: until all are up, how
long it takes to list them, until a host that dies is told of, and until what ran there runs on the other one. Seconds of
`floe` as a process, so its own start and ssh's are in them."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.errors import VmError
from tests.bench.common import Options, Report, say, spread
from tests.support import libvirthosts
from tests.support.command import floe
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

_STACK = "crowd"
_MEMORY = "8M"
_APP = """
import time
print("up")
while True:
    time.sleep(3600)
"""
_FILE = """
name = "{stack}"
hosts = ["east", "west"]
"""
_TABLE = """
[vm.{name}]
app = "app.py"
memory = "{memory}"
accel = "{accel}"
replicas = {each}
ready = {{ line = "up" }}
"""
_DEADLINE_S = 600.0
_EACH, _QUICK = 50, 4  # replicas of each of the two tables, and so VMs on each of the two hosts
_NOT_REACHED = 126


class _Stack:
    """The stack's folder."""

    def __init__(self, folder: Path, accel: str, each: int) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "app.py").write_text(_APP)
        tables = (_TABLE.format(name=name, memory=_MEMORY, accel=accel, each=each) for name in "ab")
        (folder / "compose.toml").write_text(_FILE.format(stack=_STACK) + "".join(tables))

    def compose(self, verb: str, *words: str, code: int = 0) -> float:
        """Seconds."""
        return _timed("compose", verb, str(self._folder), *words, code=code)[0]

    def count(self, host: str, code: int = 0) -> int:
        """How many VMs of it run there."""
        return _timed("ps", "--host", host, code=code)[1].count(" running ")


def _timed(*words: str, code: int = 0) -> tuple[float, str]:
    """Seconds, and what it printed. Raises VmError for another exit code."""
    begin = time.monotonic()
    done = floe(*words, timeout_s=_DEADLINE_S)
    took = time.monotonic() - begin
    if done.returncode != code:
        raise VmError(f"floe {' '.join(words)}: exit code {done.returncode}, {code} is wanted", evidence=done.stderr)
    return took, done.stdout


@contextlib.contextmanager
def _hosts(folder: Path) -> Iterator[LibvirtHosts]:
    """Two, as this process's table has them. Raises VmError where there can be none."""
    before = dict(os.environ)
    try:
        with libvirthosts.in_namespaces(folder, (EAST, WEST)) as made:
            os.environ.update({**made.environment, "XDG_STATE_HOME": str(folder / "state")})
            yield made
    except pytest.skip.Exception as e:
        raise VmError(str(e)) from None
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _shared(folder: Path) -> Iterator[None]:
    """One connection of ssh's to each host, which stays for a while: as a user's configuration has it."""
    alone = os.environ["FLOE_SSH"]
    words = ("ControlMaster=auto", f"ControlPath={folder}/%C", "ControlPersist=60")
    os.environ["FLOE_SSH"] = " ".join([alone, *(f"-o {word}" for word in words)])
    try:
        yield
    finally:
        for name in (EAST, WEST):
            ssh = shlex.split(os.environ["FLOE_SSH"])
            subprocess.run([*ssh, "-O", "exit", name], capture_output=True, timeout=_DEADLINE_S, check=False)
        os.environ["FLOE_SSH"] = alone


def bench(options: Options) -> Report:
    """Of the first accelerator."""
    return {accel: _measure(options, accel) for accel in options.accels[:1]}


def _measure(options: Options, accel: str) -> Report:
    each = _QUICK if options.quick else _EACH
    with tempfile.TemporaryDirectory(prefix="floe-bench-") as made, _hosts(Path(made) / "hosts") as hosts:
        stack = _Stack(Path(made) / "stack", accel, each)
        say(f"  {accel}: {each} VMs on each of two hosts")
        stack.compose("plan")  # builds the image
        report: Report = {"vms": 2 * each, "up_s": round(stack.compose("up", "-d"), 2)}
        for host in (EAST, WEST):
            if (count := stack.count(host)) != each:
                raise VmError(f"{count} VMs run on {host}, {each} are wanted")
        both = ("ps", "--host", EAST, "--host", WEST)
        report["ps_s"] = spread([_timed(*both)[0] for _ in range(options.rounds)], 2)
        with _shared(Path(made)):
            _timed(*both)  # the connections that the next ones share
            report["ps_shared_s"] = spread([_timed(*both)[0] for _ in range(options.rounds)], 2)
        report["up_again_s"] = spread([stack.compose("up", "-d") for _ in range(options.rounds)], 2)
        say(f"  {accel}: a host dies")
        hosts.kill(EAST)
        report["told_of_s"] = spread([_timed(*both, code=_NOT_REACHED)[0] for _ in range(options.rounds)], 2)
        report["elsewhere_s"] = round(stack.compose("up", "-d"), 2)
        if (count := stack.count(WEST)) != 2 * each:
            raise VmError(f"{count} VMs run on {WEST}, {2 * each} are wanted")
        report["down_s"] = round(stack.compose("down", "--timeout", "0", code=_NOT_REACHED), 2)
        return report
