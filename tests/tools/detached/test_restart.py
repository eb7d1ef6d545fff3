# SPDX-License-Identifier: MIT
"""`floe run --detach --restart`: VMs that are started again, by their keeper and by the one that comes after it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from floe.store import vmfolder
from tests.support import tiny
from tests.support.command import FLOE, floe
from tests.support.vms import Vms, kill, log, ps, until

SmallDisk = Callable[[str], AbstractContextManager[Path]]
# Ends with the number that is typed.
OBEYS = "import floe, sys\nprint('up', floe.secret('word'))\nsys.exit(int(sys.stdin.readline()))\n"


def type_in(name: str, text: str) -> None:
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(20)
        console.connect(ps(name)["unix"])
        console.sendall(text.encode())
        assert until_end(console)


@contextlib.contextmanager
def command(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A floe that runs meanwhile; it is gone at the end."""
    with subprocess.Popen([*FLOE, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as runs:
        try:
            yield runs
        finally:
            runs.kill()


def until_end(console: socket.socket) -> bool:
    """Read until the keeper hangs up."""
    while console.recv(1 << 16):
        pass
    return True


def test_so_often_and_no_more(vms: Vms, tmp_path: Path) -> None:
    done = subprocess.run(
        [*FLOE, "run", "-d", "--name", "a", "--restart", "on-failure:3", tiny.build(tmp_path, tiny.leave(3))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    vms.note(vmfolder.find("a"))
    until(lambda: ps("a")["state"] == "ended", "its end")
    assert (ps("a")["exit_code"], ps("a")["restarts"], ps("a")["restart"]) == (3, 3, "on-failure:3")
    assert log("a").splitlines() == [
        "[floe: it ended with 3, exit; restart 1 in 0.1 s]",
        "[floe: it ended with 3, exit; restart 2 in 0.2 s]",
        "[floe: it ended with 3, exit; restart 3 in 0.4 s]",
        "[floe: it ended with 3, exit, and is not started again: --restart on-failure:3]",
    ]
    assert re.search(r"ended \(3, exit\) .* 3 +\d+s$", floe("ps", "-a").stdout, re.MULTILINE)


def test_what_is_no_failure_ends_it(vms: Vms, tmp_path: Path) -> None:
    vms.run("--name", "a", "--restart", "on-failure", tiny.build(tmp_path, tiny.leave(0)))
    vms.run("--name", "b", "--restart", "on-failure", tiny.build(tmp_path, tiny.HANG))
    assert floe("stop", "--timeout", "0", "b").returncode == 0
    until(lambda: ps("a")["state"] == "ended", "its end")
    assert [(ps(name)["exit_code"], ps(name)["restarts"]) for name in "ab"] == [(0, 0), (130, 0)]


def test_the_keeper_is_killed_while_it_waits(vms: Vms, tmp_path: Path) -> None:
    """Its successor goes on where it was; floe stop then ends a VM of which no process but the parent is there."""
    vms.run("--name", "a", "--restart", "always", tiny.build(tmp_path, tiny.leave(0)))
    folder = vmfolder.find("a")
    until(lambda: "restart 5 in 1.6 s" in log("a") and folder.vm is not None, "five starts")
    before = folder.keeper
    kill(before)
    with command("logs", "-f", "a") as follower:
        until(lambda: "restart 7 in 6.4 s" in log("a"), "seven starts")
        assert folder.keeper not in (None, before)
        until(lambda: ps("a")["state"] == "restarting", "it to wait")
        vms.note(folder)
        listed = floe("ps").stdout.splitlines()[1].split()
        assert (listed[1], listed[3], int(listed[-2]) >= 7) == ("restarting", "-", True)
        assert floe("stop", "a").returncode == 0
        assert follower.stdout is not None
        assert follower.stdout.read() == log("a")  # through all starts
        assert follower.wait(timeout=20) == 0
    assert (ps("a")["state"], ps("a")["exit_code"], ps("a")["cause"]) == ("ended", 0, "stopped")
    assert log("a").count("restart 7") == 1
    assert folder.vm is None


def test_everything_but_the_vm_is_as_it_was(vms: Vms, tmp_path: Path) -> None:
    """A secret from a pipe, too, and after the keeper's death; a client is told that the VM it spoke to is gone."""
    script = tmp_path / "obeys.py"
    script.write_text(OBEYS)
    ours, theirs = os.pipe()
    os.write(theirs, b"swordfish")
    os.close(theirs)
    told = vms.run(
        "--name", "a", "--restart", "on-failure", "--console-port", "0", "--secret", f"word=/dev/fd/{ours}", script,
        pass_fds=[ours],
    )  # fmt: skip
    os.close(ours)
    folder = vmfolder.find("a")
    until(lambda: log("a").count("up") == 1, "its start")
    before = folder.keeper
    assert before is not None
    held = len(os.listdir(f"/proc/{before.pid}/fd"))
    type_in("a", "4\n")
    until(lambda: log("a").count("up") == 2, "its second start")
    until(lambda: len(os.listdir(f"/proc/{before.pid}/fd")) == held, "its keeper to hold as much as before")
    kill(before)
    until(lambda: folder.keeper not in (None, before), "another keeper")
    type_in("a", "5\n")
    until(lambda: log("a").count("up") == 3, "its third start")
    vms.note(folder)
    now = ps("a")
    assert (now["state"], now["restarts"], now["resets"]) == ("running", 2, 0)
    assert (now["socket"], now["unix"]) == (told["socket"], told["unix"])
    assert now["pid"] != told["pid"]
    assert log("a").count("up b'swordfish'") == 3
    type_in("a", "0\n")
    until(lambda: ps("a")["state"] == "ended", "its end")
    assert (ps("a")["exit_code"], ps("a")["cause"]) == (0, "exit")


def test_a_vm_that_ends_with_its_keeper(vms: Vms, tmp_path: Path) -> None:
    """Nobody saw the end: the parent, or the next floe that looks, sees to it that somebody does."""
    vms.run("--name", "a", "--restart", "always", tiny.build(tmp_path, tiny.HANG))
    folder = vmfolder.find("a")
    for count, victims in enumerate([("keeper", "vm"), ("parent", "keeper", "vm")], 1):
        for victim in victims:
            kill(getattr(folder, victim))
        until(lambda count=count: ps("a")["restarts"] == count and ps("a")["state"] == "running", "another start")
        vms.note(folder)
    assert log("a").count("[floe: it ended with") == 2


def test_what_was_handed_over_is_lost_with_all_that_held_it(vms: Vms, tmp_path: Path) -> None:
    """Then it is told so, and not started without its secret."""
    script = tmp_path / "obeys.py"
    script.write_text(OBEYS)
    (tmp_path / "word").write_text("swordfish")
    vms.run("--name", "a", "--restart", "always", "--secret", f"word={tmp_path}/word", script)
    folder = vmfolder.find("a")
    until(lambda: "up" in log("a"), "its start")
    for victim in ("parent", "keeper", "vm"):
        kill(getattr(folder, victim))
    until(lambda: ps("a")["state"] == "crashed", "its end")
    assert (ps("a")["cause"], ps("a")["restarts"]) == ("unknown", 0)
    assert "what it was handed over (secrets, taps) is lost with the processes that held it. floe start a" in log("a")
    assert floe("start", "a").returncode == 0
    vms.note(folder)
    until(lambda: log("a").count("up b'swordfish'") == 2, "its second start")


def test_on_a_full_disk(vms: Vms, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk("1m") as disk:
        monkeypatch.setenv("XDG_STATE_HOME", str(disk))
        vms.run("--name", "a", "--restart", "always", tiny.build(tmp_path, tiny.HANG))
        folder = vmfolder.find("a")
        with contextlib.suppress(OSError), (disk / "full").open("wb", buffering=0) as f:
            while f.write(bytes(4096)):
                pass
        for count in (1, 2):
            kill(folder.vm)
            until(lambda count=count: (ps("a")["state"], ps("a")["restarts"]) == ("running", count), "another start")
        vms.note(folder)
        assert floe("stop", "--timeout", "0", "a").returncode == 0
        assert (ps("a")["exit_code"], ps("a")["cause"], ps("a")["restarts"]) == (130, "interrupt", 2)
        assert "No space left on device" in floe("start", "a").stderr
        (disk / "full").unlink()
        assert floe("start", "a").returncode == 0
        vms.note(folder)
        assert floe("rm", "--force", "a").returncode == 0


def test_code_that_runs_in_a_vm_that_dies(vms: Vms, tmp_path: Path) -> None:
    (tmp_path / "board.py").write_text("print('up')\n")
    vms.run("--dev", "--name", "a", "--restart", "on-failure", tmp_path / "board.py")
    with command("exec", "a", "print('begun')\nwhile True: pass") as runs:  # fmt: skip
        assert runs.stdout is not None and runs.stderr is not None
        assert runs.stdout.readline() == "begun\n"
        kill(vmfolder.find("a").vm)
        assert runs.wait(timeout=30) == 126
        assert "floe: a hung up" in runs.stderr.read()
    until(lambda: ps("a")["restarts"] == 1 and ps("a")["state"] == "running", "the next start")
    until(lambda: log("a").count("up") == 2, "its script")
    done = floe("exec", "a", "print(6 * 7)")
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    vms.note(vmfolder.find("a"))


def test_a_restart_that_fails_is_tried_again(vms: Vms, tmp_path: Path) -> None:
    """The disk is away for a while."""
    script = tmp_path / "disk.py"
    script.write_text("import sys, vfs\nprint('up')\nsys.exit(int(sys.stdin.readline()))\n")
    disk = tmp_path / "d.img"
    vms.run("--name", "a", "--restart", "always", "--disk", f"{disk}:size=1M", script)
    until(lambda: "up" in log("a"), "its start")
    disk.rename(tmp_path / "away")
    type_in("a", "1\n")
    until(lambda: "[floe: it ended with QEMU failed with status 1; restart 2 in 0.2 s]" in log("a"), "a failure")
    (tmp_path / "away").rename(disk)
    until(lambda: log("a").count("up") == 2, "its second start")
    vms.note(vmfolder.find("a"))
    assert floe("stop", "a").returncode == 0
    assert ps("a")["cause"] == "stopped"


def test_a_first_start_that_fails_is_an_error(vms: Vms, tmp_path: Path) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "qemu-system-x86_64").write_text("#!/bin/sh\necho no such luck >&2\nexit 2\n")
    (fake / "qemu-system-x86_64").chmod(0o755)
    environment = {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}", "FLOE_QEMU": ""}
    image = tiny.build(tmp_path, tiny.HANG)
    done = floe("run", "-d", "--restart", "always", "--accel", "tcg", image, env=environment)
    assert done.returncode == 126
    assert done.stderr.startswith("floe: QEMU failed with status 2\n  QEMU: no such luck\n")
    assert not any(vmfolder.everything())
