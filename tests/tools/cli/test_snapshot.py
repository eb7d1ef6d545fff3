# SPDX-License-Identifier: MIT
"""`floe snapshot` of a detached VM, and `floe run --from`: many detached ones, one here; their ends, their resets, what
is left behind them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from floe.detached import control
from floe.errors import VmError
from floe.store import vmfolder
from floe.store.vmfolder import Process
from tests.support.command import failure, floe
from tests.support.vms import Vms, gone, log, ps, until

APP = """
import os
import sys
import time

import machine
import vm


def rest():
    while True:
        time.sleep(0.1)
        if machine.unique_id() != own:
            break
    print("went on", os.getpid(), len(sys.argv))


own = machine.unique_id()
print("begun", machine.reset_cause())
try:
    if machine.reset_cause() == machine.PWRON_RESET:
        rest()
        machine.reset()
    child = vm.spawn(time.sleep, 600)
    print("a child", child)
    time.sleep(600)
except KeyboardInterrupt:
    print("asked to end")
    sys.exit(4)
"""
PLAIN = "import time\nprint('begun')\ntime.sleep(600)\n"


def begun(vms: Vms, tmp_path: Path, text: str) -> str:
    script = tmp_path / "app.py"
    script.write_text(text)
    name: str = vms.run(script)["name"]
    until(lambda: "begun" in log(name), "the script")
    return name


def test_vms_from_a_snapshot_are_as_any_others(vms: Vms, tmp_path: Path) -> None:
    """In floe ps, logs and stop; a reset boots the image, whose children are copies of that. The first one goes on."""
    name, path = begun(vms, tmp_path, APP), tmp_path / "app.snap"
    done = floe("snapshot", name, path)
    assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
    told = json.loads(floe("run", "-d", "--json", "--from", path, "--name", "copy", "-n", "2").stdout)
    assert [each["name"] for each in told] == ["copy", "copy-2"]
    for each in told:
        vms.note(vmfolder.find(each["name"]))
    for copy in ("copy", "copy-2"):
        until(lambda copy=copy: "a child 2" in log(copy), "a reset and a child")  # type: ignore[misc]  # a lambda's default
        assert "went on 1 1\n" in log(copy)
        assert "PANIC" not in log(copy)
    assert {vm["name"] for vm in json.loads(floe("ps", "--json").stdout)} >= {
        name,
        "copy",
        "copy.1",
        "copy-2",
        "copy-2.1",
    }
    cause, _, hint = failure("snapshot", "copy.1", path, code=125)
    assert cause == "copy.1 is a child; only the first VM of a family is kept"
    assert hint == f"floe snapshot copy {path}"
    done = floe("stop", "copy", "copy-2", name)
    assert done.stderr.splitlines()[-1] == f"floe: {name} ended (4, stopped)"
    assert "went on" not in log(name)
    assert failure("start", "copy", code=125)[0].startswith("copy went on from a snapshot")


def test_where_one_of_several_cannot_be_started_the_others_are_told(vms: Vms, tmp_path: Path) -> None:
    name, path = begun(vms, tmp_path, APP), tmp_path / "app.snap"
    assert floe("snapshot", name, path).returncode == 0
    vms.run("--from", path, "--name", "x-2")
    done = floe("run", "-d", "--json", "--from", path, "--name", "x", "-n", "3")
    vms.note(vmfolder.find("x"))
    assert done.returncode == 125
    assert done.stderr.startswith("floe: --name x-2: there is a running VM of that name\n")
    assert [each["name"] for each in json.loads(done.stdout)] == ["x"]


def test_a_snapshot_that_takes_too_long(vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is advised to end a VM for that whose keeper answers."""
    name = begun(vms, tmp_path, APP)
    folder = vmfolder.find(name)
    assert folder.vm is not None
    folder.vm.signal(signal.SIGSTOP)
    monkeypatch.setattr(control, "_SNAPSHOT_S", 0.5)
    try:
        with pytest.raises(VmError) as e:
            control.snapshot(folder, tmp_path / "x.snap")
    finally:
        folder.vm.signal(signal.SIGCONT)
    assert e.value.message == f"a snapshot of {name} was not made within 0.5 s"
    assert e.value.hint == "a file system that takes it faster"
    assert not (tmp_path / "x.snap").exists()


def test_where_a_copy_stood_is_told(vms: Vms, tmp_path: Path) -> None:
    """Its image is a file without a name, which ends with it."""
    name, path = begun(vms, tmp_path, f"import vm\n{PLAIN}"), tmp_path / "app.snap"
    assert floe("snapshot", name, path).returncode == 0
    done = floe("run", "--from", path, "--hypervisor", "qemu", "--timeout", "2")
    assert done.returncode == 124
    assert "\n  it waited, in Python, " in done.stderr, done.stderr


def test_a_keeper_that_is_killed_while_it_writes_leaves_no_file(vms: Vms, tmp_path: Path) -> None:
    """Nor a process; the VM goes on."""
    name, folder = begun(vms, tmp_path, APP), tmp_path / "there"
    folder.mkdir()
    keeper = vmfolder.find(name).keeper
    assert keeper is not None
    before = children(keeper)
    pid = os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", f'exec "{FLOE}" snapshot {name} {folder}/x.snap 2>/dev/null')
    until(lambda: bool(children(keeper) - before), "the hypervisor that takes the state")
    started = [process for process in map(Process.of, children(keeper) - before) if process is not None]
    keeper.signal(signal.SIGKILL)
    for process in started:
        gone(process)
    os.waitpid(pid, 0)
    assert list(folder.iterdir()) == []
    assert ps(name)["state"] == "running"


FLOE = Path(__file__).resolve().parents[3] / ".venv" / "bin" / "floe"


def children(process: Process) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
    except OSError:
        return set()


def test_what_cannot_be_copied_is_refused(vms: Vms, tmp_path: Path) -> None:
    name = begun(vms, tmp_path, PLAIN)
    cause, _, _ = failure("snapshot", name, tmp_path / "x.snap", code=125)
    assert cause == f"{name} does not fork, and cannot be copied: nothing in it imports vm"
    assert not (tmp_path / "x.snap").exists()
