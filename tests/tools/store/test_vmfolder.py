# SPDX-License-Identifier: MIT
"""vmfolder.py: names, records, processes, and where sockets go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from floe.detached import control, parent
from floe.errors import EXIT_NOT_FOUND, FloeError, NotFound, UsageError
from floe.store import vmfolder
from floe.store.records import End, Names, Spec
from floe.store.vmfolder import Folder, Process
from tests.support.command import failure, floe


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def spec(folder: Folder) -> Spec:
    return Spec(
        name=folder.name, app="a.py", profile="", argv=[], memory=1, accel="", machine="", ports=[], created=0.0,
        sockets=str(folder.path),
    )  # fmt: skip


def test_root_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vmfolder.root() == tmp_path / "floe" / "vms"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # the specification: to be ignored
    monkeypatch.setenv("HOME", str(tmp_path))
    assert vmfolder.root() == tmp_path / ".local" / "state" / "floe" / "vms"


def test_a_folder_is_for_its_owner_alone() -> None:
    folder = vmfolder.create("a", "app")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert [f.name for f in vmfolder.everything()] == ["a"]


def test_names_that_are_made_are_unique() -> None:
    names = [vmfolder.create(None, base).name for base in ("web", "web", "web", "tick tock", "..x", "")]
    assert names == ["web", "web-2", "web-3", "tick-tock", "x", "vm"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".a", "-a", "a b", "a" * 64, "ä"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as e:
        vmfolder.create(name, "app")
    assert "not a name of a VM" in e.value.message


def test_a_taken_name_is_refused_until_its_vm_is_removed() -> None:
    folder = vmfolder.create("a", "app")
    folder.spec = spec(folder)
    with pytest.raises(FloeError) as e:
        vmfolder.create("a", "app")
    assert (e.value.message, e.value.hint) == (
        "--name a: there is a VM that has ended of that name",
        "another name, or: floe rm a",
    )
    folder.remove()
    assert vmfolder.create("a", "app").name == "a"


def test_find_says_what_there_is() -> None:
    with pytest.raises(NotFound) as e:
        vmfolder.find("a")
    assert (e.value.evidence, e.value.hint) == ("", "floe run --detach --name NAME APP")
    vmfolder.create("b", "app")
    with pytest.raises(NotFound) as e:
        vmfolder.find("../b")
    assert (e.value.message, e.value.evidence, e.value.hint) == ("there is no VM ../b", "there are: b", "floe ps --all")


def test_a_record_needs_no_more_room_than_it_has() -> None:
    folder = vmfolder.create("a", "app")
    record = folder.path / Names.END
    before = record.stat()
    assert folder.end is None
    end = End(code=3, cause="exit", at=1.5, problem="")
    folder.end = end
    assert folder.end == end
    assert (record.stat().st_blocks, record.stat().st_size) == (before.st_blocks, before.st_size)
    folder.exit_status = 7
    assert folder.exit_status == 7
    folder.exit_status = None
    assert folder.exit_status is None
    assert folder.pid is None


def test_a_long_account_of_an_end_is_cut_and_read() -> None:
    folder = vmfolder.create("a", "app")
    folder.end = End(code=None, cause="failed", at=1.5, problem='"ä' * 500)
    assert (folder.path / Names.END).stat().st_size == 512
    assert folder.end is not None
    assert folder.end.problem.startswith('"ä' * 20)


def test_the_parent_s_names_are_those_of_the_folder() -> None:
    """It imports nothing of floe's."""
    assert (parent.PID, parent.EXIT, parent.HYPERVISOR_LOG) == (Names.PID, Names.EXIT, Names.HYPERVISOR_LOG)


def test_a_damaged_file_is_none(tmp_path: Path) -> None:
    folder = vmfolder.create("a", "app")
    (folder.path / Names.KEEPER).write_text('{"pid": 1, "start"')
    assert folder.keeper is None
    with pytest.raises(FloeError) as e:
        _ = folder.spec
    assert "spec.json is missing or damaged" in e.value.message


def test_a_write_is_whole_or_not_at_all() -> None:
    folder = vmfolder.create("a", "app")
    folder.parent = Process(1, 2, "x")
    with pytest.raises(TypeError):
        folder.parent = Process(1, 2, object())  # type: ignore[arg-type]  # what cannot be written
    assert folder.parent == Process(1, 2, "x")
    assert sorted(os.listdir(folder.path)) == ["end", "exit", "life", "parent.json", "pid"]


# ---- processes ---------------------------------------------------------------------------------------


@dataclass
class Child:
    process: Process
    popen: subprocess.Popen[bytes]


@pytest.fixture
def child() -> Child:
    popen = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = Process.of(popen.pid)
    assert process is not None
    return Child(process, popen)


def test_a_process_is_known_by_its_start_not_its_number_alone(child: Child) -> None:
    assert child.process.alive
    for other in (
        msgspec.structs.replace(child.process, start=child.process.start + 1),
        msgspec.structs.replace(child.process, boot="another"),
    ):
        assert not other.alive
        assert not other.signal(signal.SIGKILL)
    assert child.process.alive
    assert child.process.signal(signal.SIGKILL)
    assert child.popen.wait() == -signal.SIGKILL
    assert not child.process.alive
    assert not child.process.signal(signal.SIGTERM)


def test_a_zombie_is_not_alive(child: Child) -> None:
    os.kill(child.popen.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.popen.pid, os.WEXITED | os.WNOWAIT)
    assert Process.of(child.popen.pid) is None
    assert not child.process.alive
    child.popen.wait()


def test_a_recycled_number_is_not_the_vm(child: Child) -> None:
    """The parent is gone and the number of its child is another process's now, which has nothing of ours."""
    folder = vmfolder.create("a", "app")
    folder.parent = Process(2**22 - 1, 1, child.process.boot)
    folder.pid = child.process.pid
    assert folder.vm is None
    child.popen.kill()
    child.popen.wait()


def test_a_vm_that_is_removed_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the reading of one file and the next."""
    folder = vmfolder.create("a", "app")
    folder.spec = spec(folder)
    monkeypatch.setattr(Folder, "exit_status", property(lambda folder: folder.remove()))
    with pytest.raises(NotFound, match="there is no VM a"):
        control.status(folder)


def test_a_vm_that_is_just_being_made() -> None:
    """Is none yet, and nothing is wrong with it; where its maker has died there is."""
    ours, theirs = os.pipe()
    maker = os.fork()
    if maker == 0:
        vmfolder.create("a", "app")
        os.write(theirs, b"x")
        signal.pause()
        os._exit(0)
    try:
        assert os.read(ours, 1) == b"x"
        done = floe("ps", "--all")
        assert (done.returncode, done.stderr, "damaged" in done.stdout) == (0, "", False)
        assert "a is just being made" in failure("stop", "a", code=EXIT_NOT_FOUND)[0]
        with pytest.raises(FloeError, match="of that name is just being made"):
            vmfolder.create("a", "app")
    finally:
        os.kill(maker, signal.SIGKILL)
        os.waitpid(maker, 0)
        os.close(ours)
        os.close(theirs)
    assert "spec.json is missing or damaged; floe rm a" in floe("ps").stderr


# ---- sockets -----------------------------------------------------------------------------------------


def test_sockets_lie_in_the_folder_where_their_paths_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vmfolder.sockets_folder(Folder(Path("/s/a"))) == "/s/a"


def test_a_long_path_sends_them_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tmp_path / "r"
    short.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short) if len(str(short)) < 60 else "")
    where = Path(vmfolder.sockets_folder(Folder(Path("/" + "x" * 120))))
    try:
        assert len(str(where / "hv.console.new")) <= 107
        assert where.stat().st_mode & 0o777 == 0o700
    finally:
        where.rmdir()
