# SPDX-License-Identifier: MIT
"""A fork that fails leaves the parent as it was, with EAGAIN and one line for the user, and nothing else behind: QEMUs
that die or say nothing, refusals by QMP, a torn state, no memory, a full disk. The QEMUs are real ones."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from floe.errors import VmError
from floe.family.standby import Standby
from floe.qemu import commandline, copying
from floe.qemu.qmp import Commands
from floe.testing import Boot, Guest
from floe.vm.child import Child

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_failures.py"
DEADLINE_S = 60.0
SHORT_S = 3.0  # of the deadlines that a test waits for
SMALL = 16 << 10  # less than any guest's state
Fault = Callable[[Child], None]


class Parent:
    """A VM that forks when it is told to."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self.lines: list[str] = []
        vm.say = self.lines.append
        assert vm.family is not None
        self.family = vm.family
        self._listen = self.family.on_child
        vm.expect_exact("ready True")

    def meddle(self, fault: Fault | None) -> None:
        """What is done to the next children, as soon as their QEMUs were started."""

        def on_child(name: str, machine: object) -> None:
            assert isinstance(machine, Child)
            self._listen(name, machine)
            if fault is not None:
                fault(machine)

        self.family.on_child = on_child

    def fork(self) -> int:
        """The child's number, or the errno below 0."""
        self.vm.send(b"fork\n")
        return (-1, 1)[self.vm.expect([r"refused (\d+)\n", r"forked (\d+)\n"])] * int(self.vm.match.group(1))

    def reap(self) -> tuple[int, int]:
        """The child that has ended, and how."""
        self.vm.send(b"reap\n")
        self.vm.expect(r"ended (\d+) (\d+)\n")
        return int(self.vm.match.group(1)), int(self.vm.match.group(2))

    def is_alone(self) -> None:
        """Wait until the family has no other VM."""

        async def wait() -> None:
            while self.family.children:
                await asyncio.sleep(0.01)

        self.vm.loop.run_until_complete(asyncio.wait_for(wait(), DEADLINE_S))

    def is_refused(self, why: str, number: int = errno.EAGAIN) -> None:
        """A fork fails, with one line; then all is as before."""
        fds = sorted(os.listdir("/proc/self/fd"))
        before = len(self.lines)
        assert self.fork() == -number
        self.is_alone()
        [line] = self.lines[before:] or [""]
        assert why in line
        assert line.startswith("guest_fork_failures could not be copied: ") == bool(why)
        assert "Traceback" not in self.vm.console_text
        assert sorted(os.listdir("/proc/self/fd")) == fds

    def goes_on(self) -> None:
        """The next fork is as any other, and so is the parent's end."""
        self.meddle(None)
        before = len(self.lines)
        pid = self.fork()
        assert pid > 1
        [child] = self.family.children
        child.machine.end_at_once()
        assert self.reap() == (pid, signal.SIGKILL)
        self.vm.send(b"end\n")
        assert self.vm.wait() == 0
        assert "PANIC" not in self.vm.console_text
        assert self.lines[before:] == []


@pytest.fixture
def parent(boot: Boot) -> Parent:
    return Parent(boot(GUEST, deadline_s=DEADLINE_S, children=2))


def kill(machine: Child) -> None:
    os.kill(machine.pid, signal.SIGKILL)


def stop(machine: Child) -> None:
    os.kill(machine.pid, signal.SIGSTOP)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Fault], Fault]:
    """at(moment, fault): a fault that strikes then."""

    def make(moment: str, fault: Fault) -> Fault:
        if moment == "at its start":
            return fault

        def strike(machine: Child) -> None:
            run = machine.run_copy

            def through(sock: socket.socket) -> socket.socket:
                fault(machine)
                return sock

            async def run_copy() -> None:
                fault(machine)
                await run()

            if moment == "while it waits":
                reach(machine, through, monkeypatch)
            else:
                monkeypatch.setattr(machine, "run_copy", run_copy)

        return strike

    return make


def reach(machine: Child, through: Callable[[socket.socket], socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this machine waits: where its parent's state is written to goes through that."""
    source = Standby.source

    async def reached(self: Standby) -> socket.socket:
        sock = await source(self)
        return through(sock) if self.machine is machine else sock

    monkeypatch.setattr(Standby, "source", reached)


MOMENTS = ("at its start", "while it waits", "with the state")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_child_s_qemu_that_dies(parent: Parent, moment: str, at: Callable[[str, Fault], Fault]) -> None:
    parent.meddle(at(moment, kill))
    parent.is_refused(" ")
    parent.goes_on()


def test_a_child_s_qemu_that_dies_at_any_moment(parent: Parent) -> None:
    """The fork fails, or the child was born and ends by SIGKILL."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    results = []
    began = time.monotonic()
    pid = parent.fork()
    takes = time.monotonic() - began
    parent.family.children[0].machine.end_at_once()
    assert parent.reap() == (pid, signal.SIGKILL)
    for _ in range(20):
        delay = rng.uniform(0, 1.5 * takes)

        def later(machine: Child, delay: float = delay) -> None:
            parent.vm.loop.call_later(delay, machine.end_at_once)

        parent.meddle(later)
        before = len(parent.lines)
        pid = parent.fork()
        results.append(pid)
        if pid > 0:
            assert parent.reap() == (pid, signal.SIGKILL)
        else:
            assert pid == -errno.EAGAIN
        assert len(parent.lines) - before == (pid < 0)
        parent.is_alone()
    print("results", results)
    parent.goes_on()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_child_s_qemu_that_never_answers(
    parent: Parent, moment: str, at: Callable[[str, Fault], Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_DEADLINE_S", "_UP_S"):
        monkeypatch.setattr(copying, name, SHORT_S)
    parent.meddle(at(moment, stop))
    parent.is_refused(" ")
    parent.goes_on()


def test_a_child_s_qemu_that_is_too_slow_for_all_of_the_fork(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent.family, "fork_s", SHORT_S)
    parent.meddle(stop)
    parent.is_refused("it took too long")
    parent.goes_on()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("migrate-set-capabilities", {"capabilities": [{"capability": "no-such-one", "state": True}]}),
        ("migrate-set-parameters", {"max-bandwidth": "wide"}),
        ("migrate-incoming", {"uri": "fd:no-such-one"}),
        ("getfd", {"fdname": "9 is no first letter"}),
        ("migrate", {"uri": "fd:no-such-one"}),
    ],
)
def test_a_refusal_by_qmp(
    parent: Parent, command: str, arguments: Mapping[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_badly(command, arguments, 1, monkeypatch)
    parent.is_refused(f"QEMU refuses {command}: ")
    parent.goes_on()


def ask_badly(command: str, arguments: Mapping[str, object], times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU is asked for that, so many times, with arguments that it refuses."""
    ask = Commands.ask
    wrong: list[str] = []

    async def badly(
        self: Commands, name: str, arguments_: Mapping[str, object] | None = None, *, deadline_s: float = 5.0
    ) -> None:
        if name == command and len(wrong) < times:
            wrong.append(name)
            arguments_ = arguments
        await ask(self, name, arguments_, deadline_s=deadline_s)

    monkeypatch.setattr(Commands, "ask", badly)


def test_a_parent_that_is_let_go_on_only_when_asked_again(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_badly("cont", {"no-such": "argument"}, 3, monkeypatch)
    assert parent.fork() == 2
    parent.family.children[0].machine.end_at_once()
    assert parent.reap() == (2, signal.SIGKILL)
    parent.goes_on()


def test_a_parent_that_cannot_go_on_ends_with_its_family(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parent.fork() == 2
    monkeypatch.setattr(copying, "_FINISH_S", 0.5)
    ask_badly("cont", {"no-such": "argument"}, 1 << 20, monkeypatch)
    parent.vm.send(b"fork\n")
    with pytest.raises(VmError, match="QEMU could not go on running the guest"):
        parent.vm.wait()
    assert len(parent.lines) == 1
    assert parent.family.children == []


def torn(machine: Child, upto: int, *, hangs_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the state so many bytes arrive, and then an end or nothing."""

    def through(target: socket.socket) -> socket.socket:
        ours, theirs = socket.socketpair()
        threading.Thread(target=_carry, args=(ours, target, upto, hangs_up), daemon=True).start()
        return theirs

    reach(machine, through, monkeypatch)


def _carry(source: socket.socket, target: socket.socket, upto: int, hangs_up: bool) -> None:
    with source, target:
        while upto and (data := source.recv(min(upto, 4096))):
            target.sendall(data)
            upto -= len(data)
        if not hangs_up:
            with suppress(OSError):
                target.recv(1)  # to its end


@pytest.mark.parametrize("hangs_up", [True, False], ids=["cut", "silent"])
@pytest.mark.parametrize("number", range(2))
def test_a_state_that_arrives_in_part(
    parent: Parent, number: int, hangs_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    upto = random.Random(seed).choice((0, 1, 8)) if number == 0 else random.Random(seed).randrange(SMALL)
    monkeypatch.setattr(copying, "_DEADLINE_S", SHORT_S)
    parent.meddle(lambda machine: torn(machine, upto, hangs_up=hangs_up, monkeypatch=monkeypatch))
    fds = sorted(os.listdir("/proc/self/fd"))
    assert parent.fork() == -errno.EAGAIN
    parent.is_alone()
    [line] = parent.lines
    assert line.startswith("guest_fork_failures could not be copied: ")
    parent.lines.clear()
    parent.goes_on()
    assert set(os.listdir("/proc/self/fd")) <= set(fds)


def test_more_children_than_it_may_have(parent: Parent) -> None:
    first, second = parent.fork(), parent.fork()
    assert (first, second) == (2, 3)
    assert parent.fork() == -errno.EAGAIN
    for child in parent.family.children:
        child.machine.end_at_once()
    assert {parent.reap()[0], parent.reap()[0]} == {first, second}
    assert parent.lines == []
    parent.goes_on()


SHORT_OF_MEMORY = """#!/bin/sh
case "$*" in *-incoming*) {fault};; esac
exec {qemu} "$@"
"""


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("ulimit -v 60000", ""),
        ("echo broken >&2; exit 1", "broken"),
        ("exec sleep 600", "does not answer"),
    ],
    ids=["no memory", "exits", "hangs"],
)
def test_a_qemu_that_does_not_start(
    boot: Boot, tmp_path: Path, fault: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "qemu"
    script.write_text(SHORT_OF_MEMORY.format(fault=fault, qemu=commandline.find_qemu()))
    script.chmod(0o755)
    monkeypatch.setattr(copying, "_UP_S", SHORT_S)
    with monkeypatch.context() as patch:
        patch.setenv(commandline.CHOICE, str(script))
        parent = Parent(boot(GUEST, deadline_s=DEADLINE_S, children=2))
        parent.is_refused(why or " ")
    parent.goes_on()


def test_no_room_for_the_child_s_disk(
    boot: Boot, small_disk: Callable[[str], AbstractContextManager[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk("3M") as folder:
        disk = folder / "disk.img"
        disk.write_bytes(random.Random(1).randbytes(2 << 20))
        vm = boot(GUEST, deadline_s=DEADLINE_S, children=2, disks=[f"{disk}:optional"])
        parent = Parent(vm)
        parent.is_refused("No space left on device")
        assert os.listdir(folder) == ["disk.img"]
        with disk.open("r+b") as f:
            f.truncate(0)  # nobody reads it again
            f.truncate(2 << 20)
        parent.goes_on()
        assert os.listdir(folder) == ["disk.img"]
        boot.close()
