# SPDX-License-Identifier: MIT
"""The line of a domain's family: joined with whoever owns the VM, at the slower one's pace, and ended with the domain."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floe.hypervisor.xen_driver import Xen
from floe.spec.vmspec import VmSpec, Wires
from floe.xen import places
from floe.xen.joint import Joint
from floe.xen.wire import HIGH_WATER, Wire
from tests.support.fakedomain import HOME, Fake, up
from tests.support.vms import until

MakeFake = Callable[..., Fake]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeFake]:
    made: list[Fake] = []

    def one(**options: bool) -> Fake:
        made.append(Fake(tmp_path, family=True, **options))
        return made[-1]

    yield one
    for fake in made:
        fake.close()


def runs(pid: int) -> bool:
    try:
        name, _, state = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
    except FileNotFoundError:
        return False
    return name.startswith("vchan-socket-") and state[0] != "Z"


def echoed(sock: socket.socket, data: bytes) -> bytes:
    """What comes back for it."""
    sending = threading.Thread(target=sock.sendall, args=(data,))
    sending.start()
    got = b""
    while len(got) < len(data):
        got += sock.recv(1 << 16)
    sending.join()
    return got


def test_bytes_pass_both_ways(make: MakeFake) -> None:
    fake = make()
    fake.start()
    early = b"what the owner says before there is a domain"
    fake.family.sendall(early)
    assert fake.event()["event"] == "RESUME"
    assert fake.family.recv(100) == early
    data = os.urandom(1 << 20)
    assert echoed(fake.family, data) == data
    assert (fake.folder / "store" / HOME / "floe/family").read_text() == "1"
    assert fake.proxy()[1] == "7 /local/domain/7/data/floe-family -"


def test_the_program_ends_with_the_domain(make: MakeFake) -> None:
    """It would not by itself: it has the domain's pages mapped, which would stay."""
    fake = make()
    up(fake)
    assert echoed(fake.family, b"x") == b"x"
    pid = fake.proxy()[0]
    assert runs(pid)
    fake.ends(0, "4 0")
    assert fake.process.wait(20) == (4 + 1) << 1 | 1
    assert not runs(pid)
    assert fake.calls() == ["create", "unpause", "destroy"]


def test_the_program_ends_when_the_process_is_killed(make: MakeFake) -> None:
    fake = make()
    up(fake)
    assert echoed(fake.family, b"x") == b"x"
    fake.process.kill()
    until(
        lambda: "destroy" in fake.calls() and not runs(fake.proxy()[0]),
        "the program's end",
    )


@pytest.mark.parametrize("listening", [False, True])
def test_an_owner_that_leaves_ends_the_line_alone(make: MakeFake, listening: bool) -> None:
    """The next one cannot know what has been said; the guest is told, by the program's end."""
    fake = make(listening=listening)
    up(fake)
    assert echoed(fake.family, b"x") == b"x"
    assert runs(fake.proxy()[0])
    if listening:
        with socket.socket(socket.AF_UNIX) as after:
            after.connect(str(fake.folder / "wire3"))
            fake.family.close()
            until(lambda: not runs(fake.proxy()[0]), "the program's end")
    else:
        fake.family.close()
        until(lambda: not runs(fake.proxy()[0]), "the program's end")
    os.write(fake.master, b"hello")
    assert fake.console.recv(10) == b"hello"
    fake.ends(0, "4 5")
    assert fake.process.wait(20) == (4 + 1) << 1 | 1


def test_a_dom0_without_the_program(make: MakeFake) -> None:
    """The guest is not told of a line, and has none. So has its owner."""
    fake = make(proxy=False)
    up(fake)
    assert not (fake.folder / "store" / HOME / "floe/family").exists()
    assert fake.family.recv(10) == b""
    fake.ends(0, "4 0")
    assert fake.process.wait(20) == (4 + 1) << 1 | 1


@pytest.mark.parametrize("listening", [False, True])
def test_a_program_that_dies_is_the_line_s_end(make: MakeFake, listening: bool) -> None:
    """Its owner hears of it behind the last byte, and each that comes later; the domain goes on."""
    fake = make(listening=listening)
    up(fake)
    assert echoed(fake.family, b"x") == b"x"
    fake.family.sendall(b"last")
    until(lambda: bool(select.select([fake.family], [], [], 0)[0]), "the last byte")
    os.killpg(fake.proxy()[0], signal.SIGKILL)  # it leads the session of its script
    assert fake.family.recv(10) == b"last"
    assert fake.family.recv(10) == b""
    if listening:
        with socket.socket(socket.AF_UNIX) as after:
            after.settimeout(20)
            after.connect(str(fake.folder / "wire3"))
            assert after.recv(10) == b""
    os.write(fake.master, b"hello")
    assert fake.console.recv(10) == b"hello"
    fake.ends(0, "4 5")
    assert fake.process.wait(20) == (4 + 1) << 1 | 1


def test_a_guest_s_last_frames_arrive(make: MakeFake) -> None:
    fake = make()
    up(fake)
    data = os.urandom(100_000)
    fake.family.sendall(data[:50_000])
    until(lambda: bool(select.select([fake.family], [], [], 0)[0]), "the first byte")
    fake.family.sendall(data[50_000:])
    fake.ends(0, "4 0")
    got = b""
    while piece := fake.family.recv(1 << 16):
        got += piece
    assert got == data
    assert fake.process.wait(20) == (4 + 1) << 1 | 1


def test_an_owner_that_reads_nothing_holds_the_guest_back() -> None:
    """And one that is held back does not keep the process awake."""
    ours, theirs = socket.socketpair()
    guest, script = socket.socketpair()
    with ours, guest:
        wire = Wire(theirs)
        joint = Joint(script, wire)
        guest.setblocking(False)
        taken = 0
        idle = time.monotonic()
        while time.monotonic() - idle < 0.2:
            try:
                taken += guest.send(b"x" * 4096)
                idle = time.monotonic()
            except BlockingIOError:
                poll = select.poll()
                joint.register(poll)
                joint.turn({fd for fd, _ in poll.poll(20)})
        assert not wire.room and taken < HIGH_WATER + (2 << 20)
        guest.close()
        poll = select.poll()
        joint.register(poll)
        assert poll.poll(0) == [] and not joint.closed
        joint.close()
        theirs.close()


@pytest.mark.parametrize("family", ["", "9"])
def test_the_process_gets_the_wire_of_a_vm_that_may_have_a_family(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "choose", places.Dom0)
    spec = VmSpec(Path("x.elf"), cards=(), uuid="u")
    with Xen().command(spec, Wires("1", "2", "3", family=family), []) as (argv, _):
        assert (argv[argv.index("--events") + 2 :][:2] == ["--family", "9"]) == bool(family)
