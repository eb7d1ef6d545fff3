# SPDX-License-Identifier: MIT
"""Stacks of a test: their files, their commands, and nothing left of them behind it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from floe.compose import stack
from floe.store import stackfolder, vmfolder
from tests.support.command import floe
from tests.support.vms import Vms


class Stacks(Vms):
    """What `floe compose` does in one folder; a context manager."""

    folder: Path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for folder in stackfolder.everything():
            stack.clear(folder)
        super().__exit__(kind, error, trace)

    def write(self, text: str, name: str = "compose.toml", **scripts: str) -> Path:
        """The stack's file, and scripts by their names."""
        for script, code in scripts.items():
            (self.folder / f"{script}.py").write_text(code)
        (self.folder / name).write_text(text)
        return self.folder / name

    def compose(self, verb: str, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """`floe compose VERB FILE`, with the exit code that is expected."""
        file, rest = (words[0], words[1:]) if words and isinstance(words[0], Path) else (self.folder, words)
        done = floe("compose", verb, file, *rest)
        for folder in vmfolder.everything():
            self.note(folder)
        for record in (found.read() for found in stackfolder.everything()):
            if record is not None and record.carrier is not None:
                self.seen.add(record.carrier)
        assert done.returncode == code, done.stderr + done.stdout
        return done

    def ps(self) -> dict[str, dict[str, Any]]:
        """`floe compose ps --json`, by the VMs' labels."""
        return {vm["label"]: vm for vm in json.loads(self.compose("ps", "--json").stdout)}


def left() -> list[str]:
    """What there is of VMs and stacks: folders, and processes that name one."""
    root = vmfolder.root()
    folders = [str(path) for base in (root, stackfolder.root()) if base.is_dir() for path in base.iterdir()]
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(root.parent) in words:
                processes.append(words.replace(b"\0", b" ").decode())
    return folders + processes
