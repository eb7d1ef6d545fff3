# SPDX-License-Identifier: MIT
"""`floe start`: a VM that has ended, as it was; after a restart of the host too; and what is told where something is gone."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from floe.detached import again, launch
from floe.store import vmfolder
from floe.store.records import Names
from floe.store.vmfolder import Folder, Process
from tests.support import tiny
from tests.support.command import failure, floe
from tests.support.vms import Vms, gone, kill, log, ps, until

SCRIPT = """
import floe, network, os, sys, vfs
with open("/count", "a") as f:
    f.write(".")
with open("/count") as f:
    count = len(f.read())
print("start", count, floe.secret("word"), os.getenv("A"), os.getenv("B"), sys.argv[1:])
sys.exit(int(sys.stdin.readline()))
"""


@pytest.fixture
def service(vms: Vms, tmp_path: Path) -> Folder:
    """A VM `a` with one of everything, that has ended with 0."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "word").write_text("one")
    (tmp_path / "env").write_text("A=file\n")
    vms.run(
        "--name", "a", "--restart", "on-failure:2", "--disk", f"{tmp_path}/d.img:size=1M", "-p", "0:80",
        "--secret", f"word={tmp_path}/word", "--env-file", tmp_path / "env", "--env", "B=b c", tmp_path / "script.py",
        "--", "x", "@QMP@",
    )  # fmt: skip
    end_with("a", 0)
    return vmfolder.find("a")


def end_with(name: str, code: int) -> None:
    until(lambda: "start" in log(name).rpartition("[floe:")[2], "its start")
    before = ps(name)
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(before["unix"])
        console.sendall(b"%d\n" % code)
        until(lambda: (now := ps(name))["state"] == "ended" or now["restarts"] > before["restarts"], "its end")


def test_it_is_as_it_was(vms: Vms, service: Folder, tmp_path: Path) -> None:
    before = ps("a")
    (tmp_path / "word").write_text("two")
    done = floe("start", "--json", "a")
    assert done.returncode == 0, done.stderr
    vms.note(service)
    now = json.loads(done.stdout)
    assert now["state"] == "running"
    for key in ("name", "app", "ports", "memory", "accel", "machine", "created", "restart", "folder"):
        assert now[key] == before[key]
    assert 0 <= now["uptime"] < 60
    end_with("a", 0)
    assert [line for line in log("a").splitlines() if line] == [
        "start 1 b'one' file b c ['x', '@QMP@']",
        "[floe: started by floe start]",
        "start 2 b'two' file b c ['x', '@QMP@']",
    ]
    assert (ps("a")["state"], ps("a")["exit_code"]) == ("ended", 0)


def test_the_policy_holds_and_counts_anew(vms: Vms, service: Folder) -> None:
    assert floe("start", "a").stdout == "a\n"
    end_with("a", 7)
    until(lambda: log("a").count("start 3") == 1, "its restart")
    vms.note(service)
    assert (ps("a")["state"], ps("a")["restarts"]) == ("running", 1)
    assert failure("start", "a", code=125) == ("a is running already", "", "floe ps")
    assert floe("stop", "a").returncode == 0
    assert ps("a")["cause"] == "stopped"


def test_what_is_gone_is_told(vms: Vms, service: Folder, tmp_path: Path) -> None:
    """Nothing is started, and the VM's end is still known; once all is there again, it starts."""
    hint = "mend that, and again: floe start a\n       or floe rm a, and floe run --detach with other options"
    paths = [tmp_path / "word", tmp_path / "env", tmp_path / "d.img", service.image]
    words = [
        f"--secret word: no such file: {paths[0]}",
        f"--env-file: no such file: {paths[1]}",
        f"no such disk: {paths[2]}",
        f"its image is gone: {paths[3]}",
    ]
    for path, cause in zip(paths, words, strict=True):
        path.rename(tmp_path / "away")
        assert failure("start", "a", code=127) == (f"a cannot be started: {cause}", "", hint)
        assert (ps("a")["state"], ps("a")["exit_code"]) == ("ended", 0)
        (tmp_path / "away").rename(path)
    with socket.create_server(("127.0.0.1", ps("a")["ports"][0]["host"])):
        cause, evidence, _ = failure("start", "a", code=125)
    assert cause == f"a cannot be started: port {ps('a')['ports'][0]['host']} is in use"
    assert f"(pid {os.getpid()})" in evidence
    assert floe("start", "a").returncode == 0
    vms.note(service)
    assert ps("a")["state"] == "running"


def test_a_secret_from_a_pipe_is_kept_nowhere(vms: Vms, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import floe\nprint(floe.secret('word'))\n")
    ours, theirs = os.pipe()
    os.write(theirs, b"swordfish")
    os.close(theirs)
    vms.run("--name", "a", "--secret", f"word=/dev/fd/{ours}", tmp_path / "script.py", pass_fds=[ours])
    os.close(ours)
    until(lambda: ps("a")["state"] == "ended", "its end")
    cause, _, _ = failure("start", "a", code=125)
    assert cause == "a cannot be started: --secret word came from a pipe, which is kept nowhere"
    kept = [path for path in vmfolder.find("a").path.iterdir() if path != vmfolder.find("a").console_log]
    assert not [path for path in kept if path.is_file() and b"swordfish" in path.read_bytes()]


def test_after_a_restart_of_the_host(vms: Vms, service: Folder, tmp_path: Path) -> None:
    """All that ran was killed, numbers mean other processes, /tmp is empty; the policy starts nothing by itself."""
    assert floe("start", "a").returncode == 0
    until(lambda: "start 2" in log("a"), "its start")
    processes = [service.keeper, service.parent, service.vm]
    for process in (service.parent, service.keeper, service.vm):  # the parent first, which would replace the keeper
        kill(process)
    for process in processes:
        assert process is not None
        gone(process)
    own = Process.of(os.getpid())
    assert own is not None
    service.keeper = service.parent = Process(own.pid, own.start, "another boot")
    service.pid = own.pid
    for name in (Names.CONTROL, Names.CONSOLE, *Names.PARTS):
        (Path(service.spec.sockets) / name).unlink(missing_ok=True)
    listed = json.loads(floe("ps", "-a", "--json").stdout)[0]
    assert (listed["state"], listed["cause"], listed["pid"]) == ("crashed", "unknown", None)
    assert floe("ps").stdout.count("\n") == 1
    assert floe("start", "a").returncode == 0
    vms.note(service)
    until(lambda: log("a").count("start 3") == 1, "its start")
    assert own.alive
    assert floe("stop", "a").returncode == 0
    assert floe("rm", "a").returncode == 0


def test_a_start_that_qemu_refuses_leaves_the_log(vms: Vms, tmp_path: Path) -> None:
    vms.run("--name", "a", "--accel", "tcg", tiny.build(tmp_path, tiny.say("up\n"), tiny.leave(3)))
    until(lambda: ps("a")["state"] == "ended", "its end")
    fake = tmp_path / "qemu"
    fake.write_text("#!/bin/sh\necho no such luck >&2\nexit 2\n")
    fake.chmod(0o755)
    done = floe("start", "a", env={**os.environ, "FLOE_QEMU": str(fake)})
    assert done.returncode == 126
    assert "QEMU: no such luck" in done.stderr
    assert (ps("a")["state"], ps("a")["problem"]) == ("crashed", "QEMU failed with status 2")
    assert floe("logs", "a").stderr == "up\n"
    assert floe("start", "a").returncode == 0
    vms.note(vmfolder.find("a"))
    until(lambda: ps("a")["exit_code"] == 3, "its end")
    assert floe("logs", "a").stderr == "up\nup\n"


def test_a_start_that_is_interrupted_leaves_nothing_running(
    vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms.run("--name", "a", tiny.build(tmp_path, tiny.HANG))
    assert floe("stop", "--timeout", "0", "a").returncode == 0
    folder = vmfolder.find("a")
    begin = launch.begin

    def interrupted(*args: Any) -> None:
        begin(*args)
        vms.note(folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(launch, "begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            again.start("a")
    assert (folder.vm, folder.keeper) == (None, None)
    assert (ps("a")["state"], ps("a")["problem"]) == ("crashed", "its start was interrupted")
