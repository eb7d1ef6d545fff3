# SPDX-License-Identifier: MIT
"""The lab's snapshot between several labs, and what keeps dom0's memory from filling: without QEMU. With it:
tests/xen/test_lab.py."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from floe.errors import FloeError, NotFound, UsageError, VmError
from floe.hypervisor import registry
from floe.hypervisor.base import OnEvent
from floe.lab import assets, boot
from floe.lab.boot import Machine
from floe.spec import handover
from floe.spec.vmspec import VmSpec, Wires
from floe.vm import outcome, vm
from floe.xen import cfgfile, domain, events
from floe.xenlab import dom0image
from floe.xenlab import machine as xen
from tests.support.command import floe


@pytest.fixture
def made(tmp_path: Path) -> Machine:
    return Machine(xen.DESIGN, assets.Assets(tmp_path, {}), 64 << 20, "/usr/bin/qemu", "QEMU 1")


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A boot that takes 0.2 s and leaves a snapshot with its number."""
    done: list[str] = []

    def made_up(made: Machine, say: Callable[[str], None]) -> None:
        threading.Event().wait(0.2)
        done.append("boot")
        with assets.made(made.snapshot) as scratch:
            (scratch / "boot.log").write_text(str(len(done)))

    monkeypatch.setattr(boot, "_boot", made_up)
    return done


def silent(text: str) -> None:
    pass


def test_two_labs_take_one_snapshot(made: Machine, boots: list[str]) -> None:
    threads = [threading.Thread(target=boot._take_snapshot, args=(made, silent)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert boots == ["boot"]


def test_a_snapshot_is_replaced_once_and_by_who_saw_it_fail(made: Machine, boots: list[str]) -> None:
    assert boot._take_snapshot(made, silent)
    bad = boot._identity(made)
    assert boot._take_snapshot(made, silent, bad)
    assert (made.snapshot / "boot.log").read_text() == "2"
    assert not boot._take_snapshot(made, silent, bad)  # another lab has replaced it
    assert len(boots) == 2


def test_a_snapshot_stays_while_it_is_being_restored(made: Machine, boots: list[str]) -> None:
    boot._take_snapshot(made, silent)
    bad = boot._identity(made)
    thread = threading.Thread(target=boot._take_snapshot, args=(made, silent, bad))
    lock = made.assets.folder / "lock"
    with assets.locked(lock, silent, shared=True), assets.locked(lock, silent, shared=True):  # two labs start
        thread.start()
        thread.join(0.5)
        assert boot._identity(made) == bad
    thread.join(20)
    assert boot._identity(made) not in (None, bad)


def test_restoring_holds_the_lock(made: Machine, boots: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    boot._take_snapshot(made, silent)

    def qemu(*words: object, **more: object) -> None:
        file = (made.assets.folder / "lock").open("a")
        with file, pytest.raises(BlockingIOError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise VmError("seen")

    monkeypatch.setattr(boot.Qemu, "start", qemu)
    with pytest.raises(VmError, match="seen"):
        boot._restore(made, silent)


@pytest.mark.parametrize("name", ["_XEN_ARGS", "_LINUX_ARGS"])
def test_other_words_are_another_snapshot(made: Machine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = made.snapshot
    monkeypatch.setattr(xen, name, getattr(xen, name) + " more")
    assert made.snapshot != before


@pytest.mark.parametrize("more", [{"cpu": "max"}, {"own": 1 << 30}])
def test_another_machine_is_another_snapshot(made: Machine, more: dict[str, Any]) -> None:
    other = replace(made, design=replace(made.design, **more))
    assert other.snapshot != made.snapshot


def test_a_path_with_a_comma(made: Machine) -> None:
    assert "mem-path=/a,,b/ram," in " ".join(made.command("/a,b/ram", shared=False))


def test_a_path_with_a_blank(tmp_path: Path, boots: list[str]) -> None:
    (tmp_path / "a b").mkdir()
    made = Machine(xen.DESIGN, assets.Assets(tmp_path / "a b", {}), 64 << 20, "/usr/bin/qemu", "QEMU 1")
    with pytest.raises(FloeError, match="no blank in a path"):
        boot._take_snapshot(made, silent)
    assert boots == []


def test_a_full_disk_is_seen_before_the_boot(made: Machine, boots: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 0, 100 << 20))
    with pytest.raises(FloeError, match="no room for the Xen lab below"):
        boot._take_snapshot(made, silent)
    assert boots == []


def test_snapshots_that_nobody_uses_go(made: Machine, boots: list[str], tmp_path: Path) -> None:
    for name, days in (("snapshot-old", 30), ("snapshot-new", 1)):
        (tmp_path / name).mkdir()
        at = time.time() - days * 86400
        os.utime(tmp_path / name, (at, at))
    boot._take_snapshot(made, silent)
    assert sorted(path.name for path in tmp_path.glob("snapshot-*")) == sorted(["snapshot-new", made.snapshot.name])


# ---- dom0 ---------------------------------------------------------------------------------------


def test_guests_logs_are_bounded(tmp_path: Path) -> None:
    loop = (dom0image.SCRIPTS / "init").read_text().partition("cd /var/log/xen/console\n")[2]
    logs = tmp_path / "logs"
    logs.mkdir()
    for n in range(45):
        path = logs / f"guest-g{n}.log"
        path.write_text("said\n")
        os.utime(path, (n, n))
    (logs / "guest-g44.log").write_bytes(b"x" * (2 << 20))
    tools = tmp_path / "bin"
    tools.mkdir()
    # g1 lives; the second sleep ends the loop.
    (tools / "xl").write_text('#!/bin/sh\n[ "$2" = g1 ]\n')
    (tools / "sleep").write_text(f"#!/bin/sh\n[ ! -e {tmp_path}/once ] && : >{tmp_path}/once\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", loop], cwd=logs, env=env, check=True, timeout=20)
    left = {path.name for path in logs.iterdir()}
    assert left == {"guest-g1.log", *(f"guest-g{n}.log" for n in range(13, 45))}
    assert (logs / "guest-g44.log").stat().st_size == 0
    assert (logs / "guest-g1.log").read_text() == "said\n"


# ---- floe export xl -------------------------------------------------------------------------------


def test_xl_s_configuration_is_checked(tmp_path: Path) -> None:
    content = {"memory": 8 << 20, "drivers": [], "name": "x"}
    image = SimpleNamespace(path=tmp_path / "x.elf", content=content)
    settings = SimpleNamespace(name="x", env={"K": "a b"}, args=("c", ""))
    assert 'cmdline="env.K=a%20b -- c \\"\\""\n' in cfgfile.render(image, settings)
    settings.args = ("x" * 5000,)
    with pytest.raises(UsageError, match="arguments and environment take"):
        cfgfile.render(image, settings)


def test_the_exported_configuration_is_of_an_app_and_its_elf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tmp_path / "an app.py"
    app.write_text("print(1)\n")
    monkeypatch.chdir(tmp_path)
    done = floe("export", "xl", app)
    assert done.returncode == 127
    assert "no such file: an-app.elf" in done.stderr
    assert f"floe build '{app}' -o an-app.elf" in done.stderr
    assert floe("build", app, "-o", "an-app.elf").returncode == 0
    assert f'kernel="{tmp_path}/an-app.elf"\n' in floe("export", "xl", app).stdout
    done = floe("export", "xl", "an-app.elf")
    assert (done.returncode, "does not tell its variables" in done.stderr) == (125, True)


# ---- a start that fails -----------------------------------------------------------------------------


class Failing:
    """A hypervisor that starts `times` guests, all of which ask to be started again."""

    label = "Xen"
    has_16550 = False
    kill_grace_s = 2.0

    def __init__(self, times: int) -> None:
        self.times = times
        self.released = 0

    @contextmanager
    def command(
        self, spec: VmSpec, wires: Wires, blobs: Sequence[handover.Blob]
    ) -> Iterator[tuple[list[str], list[int]]]:
        if self.times == 0:
            raise NotFound("no Xen here")
        self.times -= 1
        yield ["sh", "-c", f"exit {next(iter(outcome.RESETS))}"], []

    def confinement(self, spec: VmSpec, wires: Wires, argv: Sequence[str]) -> nullcontext[None]:
        return nullcontext()

    def greet(self, sock: object, *, copied: bool = False) -> None:
        pass

    async def watch(self, sock: socket.socket, on_event: OnEvent) -> None:
        await events.watch(sock, on_event)

    def release(self) -> None:
        self.released += 1


class Slow(Failing):
    """One whose process takes 3 s to end in order, which it notes in a file."""

    def __init__(self, kill_grace_s: float, note: Path) -> None:
        super().__init__(1)
        self.kill_grace_s = kill_grace_s
        self._note = note

    @contextmanager
    def command(
        self, spec: VmSpec, wires: Wires, blobs: Sequence[handover.Blob]
    ) -> Iterator[tuple[list[str], list[int]]]:
        end = f"trap 'sleep 3; echo destroyed >{self._note}; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
        yield ["sh", "-c", end], []


@pytest.mark.parametrize("grace_s, in_order", [(1.0, False), (20.0, True)])
def test_a_hypervisor_has_its_own_time_to_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, grace_s: float, in_order: bool
) -> None:
    monkeypatch.setattr(vm.registry, "create", lambda name: Slow(grace_s, tmp_path / "note"))
    with vm.Vm(VmSpec(Path("x.elf"), cards=())) as one:
        one.pump(lambda: "ready" in one.messages.text, 10)
    assert (tmp_path / "note").exists() == in_order


def test_xen_has_time_for_xl_destroy() -> None:
    assert registry.create("xen").kill_grace_s > domain._DESTROY_S


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_start_that_fails_is_told_and_gives_back(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    failing = Failing(times)
    monkeypatch.setattr(vm.registry, "create", lambda name: failing)
    with pytest.raises(NotFound, match="no Xen here"), vm.Vm(VmSpec(Path("x.elf"), cards=())) as one:
        one.wait(deadline_s=20)
    assert failing.released
