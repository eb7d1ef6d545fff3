# SPDX-License-Identifier: MIT
"""Detached VMs of a test: a state directory of its own, and nothing left running behind it."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from floe.detached import control
from floe.store import vmfolder
from floe.store.vmfolder import Folder, Process
from tests.support.command import floe

WAIT_S = 60.0


class Vms:
    """A context manager; what a VM said is printed at the end, for a test that failed."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        self.seen: set[Process] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for folder in list(vmfolder.everything()):
            self.note(folder)
            for path in (folder.console_log, folder.serial_log, folder.hypervisor_log, folder.keeper_log):
                if path.exists():
                    print(f"---- {folder.name}/{path.name}\n{path.read_text(errors='replace')[-2000:]}")
            control.remove(folder, force=True)
        for process in self.seen:
            gone(process)

    def run(self, *argv: str | Path, **options: Any) -> dict[str, Any]:
        """`floe run --detach`: what --json tells of the VM."""
        done = floe("run", "--detach", "--json", *argv, **options)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        self.note(vmfolder.find(told["name"]))
        return told

    def note(self, folder: Folder) -> None:
        """Its processes must be gone when the test is over."""
        self.seen |= {p for p in (folder.keeper, folder.vm, folder.parent) if p is not None}


def ps(name: str) -> dict[str, Any]:
    """What `floe ps --all --json` tells of one VM, asked from here."""
    return control.status(vmfolder.find(name)).as_dict()


def log(name: str) -> str:
    """What the VM said so far."""
    return vmfolder.find(name).console_log.read_text(errors="replace")


def until(true: Callable[[], bool], what: str, deadline_s: float = WAIT_S) -> None:
    """Wait until it holds, or fail."""
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        select.select([], [], [], 0.02)


def gone(process: Process) -> None:
    """Wait for a process's end, or fail."""
    until(lambda: not process.alive, f"the end of process {process.pid}")


def kill(process: Process | None) -> None:
    """kill -9, and wait for the end."""
    assert process is not None
    assert process.signal(signal.SIGKILL)
    try:
        os.waitpid(process.pid, 0)
    except ChildProcessError:
        gone(process)
