# SPDX-License-Identifier: MIT
"""`floe run --pool`: VMs that wait, up to where `floe run --from` lets one of them go on, and another takes its place."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.detached import control, pools
from floe.errors import EXIT_FLOE, EXIT_NOT_FOUND, EXIT_REFUSED, NotFound
from floe.qemu import commandline
from floe.snapshot.file import Snapshot
from floe.store import vmfolder
from floe.store.vmfolder import Folder
from tests.support.command import FLOE, failure, floe
from tests.support.vms import Vms, gone, kill, log, ps, until

SCRIPT = """
import floe, machine, os, socket, sys, vm
n = 1
print("set up")
vm.ready()
n += 1
print("goes on", n, machine.unique_id().hex(), os.urandom(8).hex(), os.getenv("A"), sys.argv[1:], os.getenv("A") and floe.secret("word"))
sys.exit(int(sys.stdin.readline()))
"""


@pytest.fixture
def vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    with Vms(tmp_path, monkeypatch) as all_of_them:
        yield all_of_them
        for path in vmfolder.root().with_name("pools").glob("*"):  # who adds VMs has come to an end then, and adds none
            with path.open() as pool:
                fcntl.flock(pool, fcntl.LOCK_EX)
                path.unlink()


@pytest.fixture
def app(vms: Vms, tmp_path: Path) -> Path:
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "app.py").write_text(SCRIPT)
    (tmp_path / "word").write_text("one")
    return folder / "app.py"


def states() -> dict[str, str]:
    found = {}
    for folder in vmfolder.everything():
        with contextlib.suppress(NotFound):  # another process is just making it
            found[folder.name] = control.status(folder).state
    return found


def waiting() -> list[str]:
    return sorted(name for name, state in states().items() if state == "waiting")


def make(app: Path, size: int, *more: str) -> Path:
    """A pool of an app; returns the snapshot."""
    path = app.with_name("app.snap")
    done = floe("run", "-d", "--pool", str(size), "--from", path, *more)
    assert done.returncode == 0, done.stderr
    return path


def claim(path: Path) -> str:
    done = floe("run", "-d", "--from", path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_those_that_wait_and_those_that_go_on(app: Path, accel: str) -> None:
    """With what the template had, each a machine of its own, and none runs before it is claimed."""
    word = f"word={app.parents[1] / 'word'}"
    path = make(app, 2, "-p", "0:80", "--accel", accel, "-e", "A=b c", "--secret", word, str(app), "x")
    assert states() == {"app": "waiting", "app-2": "waiting"}
    process = vmfolder.find("app").vm
    assert process is not None
    before = Path(f"/proc/{process.pid}/stat").read_text().split()[13:15]
    time.sleep(1)
    spent = sum(map(int, Path(f"/proc/{process.pid}/stat").read_text().split()[13:15])) - sum(map(int, before))
    assert spent <= 5, "ticks of 10 ms in a second"
    assert log("app") == log("app-2") == ""
    first = claim(path)
    assert first == "app"
    until(lambda: "goes on" in log(first), "its script")
    until(lambda: waiting() == ["app-2", "app-3"], "one in its place")
    second = claim(path)
    until(lambda: "goes on" in log(second), "its script")
    said = [log(name).split() for name in (first, second)]
    assert [words[:3] for words in said] == [["goes", "on", "2"]] * 2
    assert [words[5:] for words in said] == [["b", "c", "['x']", "b'one'"]] * 2
    assert said[0][3] != said[1][3] and said[0][4] != said[1][4]
    ports = [ps(name)["ports"][0]["host"] for name in (first, second)]
    assert ports[0] != ports[1] and 0 not in ports
    assert control.stop(vmfolder.find(second), 0).state == "ended"
    floe("run", "-d", "--pool", "0", "--from", path)
    assert waiting() == [] and states()[first] == "running"
    assert not list((vmfolder.root().parent / "pools").iterdir())


def test_many_claim_at_once(app: Path) -> None:
    """Each gets one of its own; who finds none has one started."""
    path = make(app, 2, str(app))
    claims = [
        subprocess.Popen([*FLOE, "run", "-d", "--from", str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    names = [each.communicate(timeout=60)[0].strip() for each in claims]
    assert len(set(names)) == 4 and [each.returncode for each in claims] == [0] * 4
    for name in names:
        until(lambda name=name: "goes on 2" in log(name), "its script")  # type: ignore[misc]  # a lambda's default
    until(lambda: len(waiting()) == 2, "as many as before")
    time.sleep(0.5)
    assert len(waiting()) == 2


def test_as_many_as_are_wanted(app: Path) -> None:
    path = make(app, 1, "--name", "web", str(app))
    assert waiting() == ["web"]
    make(app, 3, "--name", "web")
    assert waiting() == ["web", "web-2", "web-3"]
    make(app, 1)
    assert waiting() == ["web"]
    other = floe("run", "-d", "--name", "mine", "--from", path)
    assert other.stdout.strip() == "mine" and "no VM that waits has the name" in other.stderr
    assert states() == {"mine": "running", "web": "waiting"}


def test_one_that_waits_ends(app: Path) -> None:
    """Stopped at once, killed, or without its keeper: it is claimed by nobody."""
    path = make(app, 4, str(app))
    began = time.monotonic()
    assert floe("stop", "app").returncode == 0
    assert time.monotonic() - began < 5
    keeper = vmfolder.find("app-2").keeper
    process = vmfolder.find("app-2").vm
    kill(keeper)
    assert ps("app-2")["state"] != "waiting"  # a new keeper ends it
    assert process is not None
    gone(process)
    kill(vmfolder.find("app-3").vm)
    until(lambda: waiting() == ["app-4"], "those that are left")
    assert claim(path) == "app-4"
    until(lambda: len(waiting()) == 4, "as many as before")


def test_all_that_wait_are_gone(app: Path) -> None:
    """As after a restart of the host: the next start has as many wait as before."""
    path = make(app, 1, str(app))
    assert floe("rm", "--force", "app").returncode == 0
    assert claim(path) == "app"
    until(lambda: len(waiting()) == 1, "as many as before")
    assert states()["app"] == "running"


def test_one_is_claimed_while_the_pool_ends(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is its claimer's, and goes on."""
    path = make(app, 2, str(app))
    snapshot = Snapshot.open(path)
    found = pools.waiting

    def then_claimed(snapshot: Snapshot) -> list[Folder]:
        folders = found(snapshot)
        monkeypatch.setattr(pools, "waiting", found)
        assert claim(path) == "app"
        return folders

    monkeypatch.setattr(pools, "waiting", then_claimed)
    pools.keep(snapshot, 0, None)
    snapshot.close()
    assert states() == {"app": "running"}
    until(lambda: "goes on" in log("app"), "its script")


def test_a_keeper_hangs_while_the_pool_ends(app: Path) -> None:
    path = make(app, 2, str(app))
    keeper = vmfolder.find("app").keeper
    assert keeper is not None
    assert keeper.signal(signal.SIGSTOP)
    done = floe("run", "-d", "--pool", "0", "--from", path)
    assert (done.returncode, done.stderr, states()) == (0, "", {})


def test_its_file_is_replaced(app: Path) -> None:
    """They go on waiting for those who have the old one, and nobody gets one of another state."""
    path = make(app, 1, str(app))
    old = Snapshot.open(path)
    path.unlink()
    make(app, 1, str(app))
    assert claim(path) == "app-2"
    found = pools.claim(old)
    assert found is not None and found.name == "app"
    until(lambda: len(waiting()) == 2, "one for each")
    pools.keep(old, 0, None)
    old.close()
    assert len(waiting()) == 1


def test_what_a_vm_that_waits_is_not_asked(app: Path, tmp_path: Path) -> None:
    make(app, 1, "--dev", str(app))
    assert "waits to be claimed" in failure("exec", "app", "1", code=EXIT_FLOE)[0]
    assert "waits to be claimed" in failure("snapshot", "app", str(tmp_path / "x"), code=EXIT_FLOE)[0]
    shown = json.loads(floe("ps", "--json").stdout)
    assert [vm["state"] for vm in shown] == ["waiting"]


def refused(*argv: str | Path, code: int = EXIT_FLOE) -> str:
    cause, evidence, _ = failure("run", "-d", "--pool", "1", *argv, code=code)
    return f"{cause}\n{evidence}"


def test_what_is_refused(app: Path, tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert "go on from a snapshot" in refused(app)
    assert "wait in the background" in failure("run", "--pool", "1", "--from", path, app, code=EXIT_FLOE)[0]
    assert "cannot share a port" in refused("--from", path, "-p", "8080:80", app)
    assert "--timeout: not for a pool" in refused("--timeout", "5", "--from", path, app)
    assert "--memory: not for a pool" in refused("--memory", "16M", "--from", path)
    assert "--name ../x: not a name of a VM" in refused("--from", path, "--name", "../x", app)
    assert "no such snapshot" in refused("--from", path, code=EXIT_NOT_FOUND)
    app.write_text("import vm\nprint('no more')\n")
    said = refused("--from", path, app, code=EXIT_REFUSED)
    assert "app ended with 0 before vm.ready()" in said and "no more" in said
    app.write_text("print(1)\n")
    assert "does not fork" in refused("--from", path, app)
    assert not path.exists()
    path.write_text("mine")
    assert "is there already" in refused("--from", path, app)
    assert path.read_text() == "mine"
    assert states() == {}


def test_a_claim_that_comes_late(app: Path) -> None:
    """A keeper that stood still lets nothing go on for whom nobody waits any more."""
    path = make(app, 1, str(app))
    folder = vmfolder.find("app")
    late = control.ask(folder, {"do": "claim", "until": time.monotonic() - 0.1})
    assert late is not None and late["claimed"] is False
    assert waiting() == ["app"] and claim(path) == "app"


def test_one_that_cannot_be_replaced(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next claim says why none waits."""
    path = make(app, 1, str(app))
    monkeypatch.setenv(commandline.CHOICE, "/bin/false")
    with contextlib.closing(Snapshot.open(path)) as snapshot:
        found = pools.claim(snapshot)
        assert found is not None
        until(lambda: pools.problem(snapshot) != "", "why not")
        monkeypatch.delenv(commandline.CHOICE)
        done = floe("run", "-d", "--from", path)
        assert "no VM waits, and another one is started: " in done.stderr
        until(lambda: len(waiting()) == 1, "as many as before")
        assert pools.problem(snapshot) == ""
