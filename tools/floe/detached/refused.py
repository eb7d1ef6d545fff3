# SPDX-License-Identifier: MIT
"""What a detached VM was refused by its guard (floe.egress), which is in parent.py: from there to the keeper's log. The
lines go through a FIFO in the VM's folder, where they wait while no keeper is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from floe.egress import guard
from floe.shown import shown
from floe.store.records import Names
from floe.store.vmfolder import Folder

_MOST = 1 << 16


def provide(folder: Folder, rules: str) -> None:
    """What parent.py needs for these rules, "" for none. Raises OSError."""
    if not rules:
        return
    source = Path(guard.__file__).parent
    shutil.copytree(
        source, folder.path / Names.EGRESS, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    with contextlib.suppress(FileExistsError):
        os.mkfifo(folder.path / Names.REFUSED, 0o600)


def listen(folder: Folder, note: Callable[[str], None], loop: asyncio.AbstractEventLoop) -> None:
    """Note each line, from now on and for as long as this process is there."""
    try:
        fd = os.open(folder.path / Names.REFUSED, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # it may reach all
        return

    def take() -> None:
        with contextlib.suppress(BlockingIOError):
            for line in os.read(fd, _MOST).decode(errors="replace").splitlines():
                note(shown(line))

    loop.add_reader(fd, take)
