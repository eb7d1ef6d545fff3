# SPDX-License-Identifier: MIT
"""What the verbs for detached VMs refuse: the words, the hint, the exit code."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.store import vmfolder
from floe.store.records import Names
from tests.support import tiny
from tests.support.command import floe
from tests.support.vms import Vms, ps, until


@pytest.fixture(scope="module")
def vms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vms]:
    """`sealed` runs, `done` has ended with 7, `board` is a dev image at its REPL."""
    folder = tmp_path_factory.mktemp("d")
    (folder / "board.py").write_text("print('up')\n")
    with pytest.MonkeyPatch.context() as patch, Vms(folder, patch) as all_of_them:
        all_of_them.run("--name", "sealed", tiny.build(folder, tiny.HANG))
        all_of_them.run("--name", "done", tiny.build(folder, tiny.leave(7)))
        all_of_them.run("--name", "board", "--dev", folder / "board.py")
        until(lambda: ps("done")["state"] == "ended", "its end")
        yield all_of_them


def failure(command: str, cwd: Path) -> tuple[int, str, str]:
    """Exit code, cause with evidence, hint."""
    done = floe(*command.split(), cwd=cwd)
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    said, _, hint = done.stderr.partition("\n  try: ")
    return done.returncode, said, hint.strip()


CASES = [
    ("exec nobody 1", 127, "floe: there is no VM nobody\n  there are: board, done, sealed", "floe ps --all"),
    ("logs ../sealed", 127, "floe: there is no VM ../sealed", "floe ps --all"),
    ("stop sealed nobody", 127, "floe: there is no VM nobody", "floe ps --all"),
    ("rm sealed", 125, "floe: sealed is running", "floe stop sealed, or floe rm --force sealed"),
    ("exec sealed 1", 125, "floe: sealed has no REPL: its image is sealed", "floe run --detach --dev"),
    ("cp x sealed:/", 125, "floe: sealed has no REPL: its image is sealed", "floe run --detach --dev"),
    ("exec done 1", 125, "floe: done has ended: 7, exit", "floe logs done"),
    ("exec board", 125, "floe: either CODE or -f FILE", "floe exec board 'print(1)'"),
    ("exec board 1 -f x", 125, "floe: either CODE or -f FILE", "floe exec board 'print(1)'"),
    ("exec board -f nothere.py", 127, "floe: no such file: nothere.py", ""),
    ("repl board", 125, "floe: floe repl needs a terminal", "floe exec board CODE"),
    ("cp a b", 125, "floe: none of the paths is in a VM", "floe cp a NAME:b"),
    ("cp board:a sealed:b", 125, "floe: paths in several VMs: board, sealed", "floe cp"),
    ("mount board nothere", 127, "floe: no such folder: nothere", ""),
    ("mount board .", 125, "floe: floe mount without a command needs a terminal", "floe mount board . exec CODE"),
    ("run -d --name done x.elf", 125, "floe: --name done: there is a VM that has ended", "another name, or: floe rm done"),
    ("start nobody", 127, "floe: there is no VM nobody\n  there are: board, done, sealed", "floe ps --all"),
    ("start sealed", 125, "floe: sealed is running already", "floe ps"),
    ("start", 125, "floe: Missing argument 'NAME...'", "floe start --help"),
    ("run -d --restart often x.elf", 125, "floe: --restart often: no such policy", "--restart no, on-failure or always"),
    ("run -d --restart no:2 x.elf", 125, "floe: --restart no:2: no such policy", "--restart no, on-failure or always"),
    ("run --restart always x.elf", 125, "floe: --restart is for a detached VM",
     "floe run --detach --restart always x.elf"),
    ("stop", 125, "floe: Missing argument 'NAME...'", "floe stop --help"),
    ("stop --timeout -1 sealed", 125, "floe: Invalid value for '--timeout'", "floe stop --help"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "code", "cause", "hint"), CASES, ids=[c[0] for c in CASES])
def test_refused(vms: Vms, tmp_path: Path, command: str, code: int, cause: str, hint: str) -> None:
    tiny.build(tmp_path, tiny.HANG).rename(tmp_path / "x.elf")
    number, said, proposed = failure(command, tmp_path)
    assert number == code, said
    assert said.startswith(cause)
    assert proposed.startswith(hint)
    assert ps("sealed")["state"] == "running"


def test_in_use(vms: Vms, tmp_path: Path) -> None:
    client = socket.socket(socket.AF_UNIX)
    client.connect(ps("board")["unix"])
    until(lambda: ps("board")["client"] is not None, "the client")
    number, said, proposed = failure("exec board 1", tmp_path)
    assert number == 125
    assert re.fullmatch(r"floe: board is in use by \S+ \(pid \d+\)", said)
    assert proposed == "one client at a time: end that one"
    client.close()


def test_a_damaged_folder_is_told_and_can_be_removed(vms: Vms, tmp_path: Path) -> None:
    folder = vmfolder.create("broken", "app")
    (folder.path / Names.SPEC).write_text('{"name": "bro')
    done = floe("ps", "--all")
    assert done.returncode == 0
    assert re.search(r"^broken +damaged", done.stdout, re.MULTILINE)
    assert "spec.json is missing or damaged; floe rm broken" in done.stderr
    assert "sealed" in done.stdout
    assert floe("rm", "broken").returncode == 0
    assert floe("ps", "--all").stderr == ""
