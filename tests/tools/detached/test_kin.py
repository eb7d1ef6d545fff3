# SPDX-License-Identifier: MIT
"""tools/floe/detached/kin.py: `floe ps`, `logs`, `stop` and `top` of a detached VM that forks, and what becomes of its
family with its keeper."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from floe.detached import control, usage
from floe.store import vmfolder
from floe.store.vmfolder import Process
from tests.support.command import FLOE, failure, floe
from tests.support.vms import Vms, gone, kill, log, ps, until

FAMILY = """
import os
import socket
import sys
import time

import floe
import vm


def rest():
    try:
        print("here", os.getpid(), socket.AF_INET, floe.secret("word").decode())
        time.sleep(600)
    except KeyboardInterrupt:
        print("asked to end")
        sys.exit(4)


def child():
    vm.spawn(rest)
    rest()


try:
    vm.spawn(child)
    vm.spawn(rest)
    while True:
        pid, status = os.wait()
        print("ended", pid, status)
    time.sleep(600)
except KeyboardInterrupt:
    print("the first is asked")
    sys.exit(6)
except OSError as e:
    while True:
        print("lost", e.errno)
        time.sleep(1)
"""


@pytest.fixture
def app(vms: Vms, tmp_path: Path) -> str:
    """A family of four: app, its children app.1 and another one, and a grandchild."""
    script = tmp_path / "app.py"
    script.write_text(FAMILY)
    secret = tmp_path / "word"
    secret.write_text("heard")
    name: str = vms.run("--secret", f"word={secret}", "--child-secret", "word", "-p", "0:80", script)["name"]
    secret.unlink()  # what children get was read once
    until(lambda: log(name).count("here") == 3, "all of the family")
    return name


def machines(name: str) -> list[Process]:
    """The QEMUs of a VM's children, one that waits for a fork among them."""
    elf = os.fsencode(vmfolder.find(name).image)
    first = vmfolder.find(name).vm
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"-incoming" in path.read_bytes() and elf in path.read_bytes():
                found.append(Process.of(int(path.parent.name)))
        except OSError:
            continue
    return [process for process in found if process is not None and process != first]


def listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(floe("ps", "--json").stdout)
    return found


def test_ps_shows_a_family_as_a_tree(app: str) -> None:
    found = {vm["name"]: vm for vm in listed()}
    parents = {name: vm["parent"] for name, vm in found.items()}
    assert sorted(parents) == ["app", "app.1", "app.2", "app.3"]
    assert (parents["app"], parents["app.1"]) == (None, "app")
    assert sorted(str(parent) for parent in parents.values()) == ["None", "app", "app", "app.1"]
    assert len({vm["pid"] for vm in found.values()}) == len({vm["ports"][0]["host"] for vm in found.values()}) == 4
    table = floe("ps").stdout.splitlines()[1:]
    depth = {row.split()[0]: len(row) - len(row.lstrip()) for row in table}
    assert depth == {name: 0 if name == "app" else 2 if parents[name] == "app" else 4 for name in parents}
    assert all(row.split()[1] == "running" for row in table)
    until(lambda: {u.status.spec.name for u in usage.Watch().sample()} == set(parents), "a sample of all")
    watch = usage.Watch()
    until(lambda: all(u.guest is not None for u in watch.sample()), "what each guest uses")
    watch.close()
    top = floe("top", "--once").stdout
    assert all(f"\n{name} " in top for name in parents)


def test_logs_of_a_child_and_of_all(app: str) -> None:
    text = floe("logs", app).stdout
    for number in (2, 3, 4):
        line = f"here {number} 2 heard\n"
        assert f"[app.{number - 1}] {line}" in text
        assert floe("logs", f"app.{number - 1}").stdout == line
        assert floe("logs", "-n", "1", f"app.{number - 1}").stdout == line
    assert failure("logs", "app.9", code=127)[0] == "app.9 has said nothing, and does not run"
    cause, _, _ = failure("logs", "nobody.1", code=127)
    assert cause == "there is no VM nobody.1"


def test_one_child_is_stopped(app: str) -> None:
    lone = next(vm for vm in listed() if vm["name"] in ("app.2", "app.3") and vm["parent"] == "app")
    following = subprocess.Popen([*FLOE, "logs", "-f", lone["name"]], stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    assert following.stdout.readline().startswith("here ")
    done = floe("stop", lone["name"])
    assert following.communicate(timeout=60)[0] == "asked to end\n"  # and all that it waited for was this child's end
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"{lone['name']}\n",
        f"floe: {lone['name']} ended with 4\n",
    )
    number = int(lone["name"].rpartition(".")[2]) + 1
    until(lambda: f"ended {number} {4 << 8}" in log(app), "its parent's word")
    assert lone["name"] not in {vm["name"] for vm in listed()}
    assert ps(app)["state"] == "running"
    cause, evidence, hint = failure("stop", lone["name"], code=127)
    assert (cause, hint) == (f"no child {lone['name']} runs", "floe ps")
    assert "app.1" in evidence
    done = floe("stop", "--timeout", "0", "app.1")
    assert done.stderr == "floe: app.1 ended by signal 9\n"
    (last,) = {"app.2", "app.3"} - {lone["name"]}
    cause, _, hint = failure("rm", last, code=125)
    assert (cause, hint) == (f"{last} is running", f"floe stop {last}, or floe rm --force {last}")
    assert floe("rm", "--force", last).stdout == f"{last}\n"
    cause, _, hint = failure("rm", last, code=127)
    assert (cause, hint) == (f"no child {last} runs, and what it said goes with app", "floe rm app")


def test_a_family_ends_with_its_first_vm_and_children_are_asked_first(app: str) -> None:
    others = machines(app)
    done = floe("stop", "--timeout", "60", app)
    assert (done.returncode, done.stdout) == (0, "app\n")
    assert done.stderr == "floe: app ended (6, stopped)\n"
    for process in others:
        gone(process)
    text = log(app)
    assert text.count("] asked to end") == 3
    assert "the first is asked" in text
    assert machines(app) == []


@pytest.mark.parametrize("way", ["timeout", "rm"])
def test_a_family_is_ended_at_once(app: str, way: str) -> None:
    others = machines(app)
    assert len(others) >= 3
    done = floe("stop", "--timeout", "0", app) if way == "timeout" else floe("rm", "--force", app)
    assert (done.returncode, done.stdout) == (0, "app\n")
    for process in others:
        gone(process)


def test_a_keeper_that_dies_takes_the_children_and_the_first_vm_hears_of_it(vms: Vms, app: str) -> None:
    others = machines(app)
    kill(vmfolder.find(app).keeper)
    for process in others:
        gone(process)
    assert [vm["name"] for vm in listed()] == [app]
    until(lambda: "lost 5" in log(app), "the first one's word")
    assert "its children have ended with it]" in log(app)
    vms.note(vmfolder.find(app))
    assert floe("stop", app).returncode == 0


def test_a_first_vm_that_is_killed_takes_its_family(app: str) -> None:
    others = machines(app)
    first = vmfolder.find(app).vm
    assert first is not None and first.signal(signal.SIGKILL)
    for process in others:
        gone(process)
    until(lambda: not control.status(vmfolder.find(app)).alive, "its end")
    assert ps(app)["problem"] == "QEMU was killed by SIGKILL"


def test_a_restart_is_a_new_family(vms: Vms, tmp_path: Path) -> None:
    script = tmp_path / "again.py"
    script.write_text(
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    print('child', os.getpid())\n"
        "    time.sleep(600)\n"
        "time.sleep(1)\n"
        "sys.exit(3)\n"
    )
    vms.run("--restart", "on-failure:1", script)
    until(lambda: log("again").count("[again.1] child 2") == 2, "two families")
    until(lambda: not control.status(vmfolder.find("again")).alive, "its end")
    assert ps("again")["exit_code"] == 3
    assert machines("again") == []
    assert floe("start", "again").returncode == 0
    until(lambda: log("again").count("[again.1] child 2") == 3, "a third")
