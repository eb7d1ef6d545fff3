# SPDX-License-Identifier: MIT
"""A VM's state as a file, and machines that go on from it: with what memory, disks and pipes held, and an identity of
their own; what cannot go on is refused, and what fails leaves the VM as it was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from pathlib import Path

import pytest

from floe.errors import DiskFull, FloeError, UsageError, VmError
from floe.family import copies
from floe.family.copies import PrivateDisks
from floe.family.member import Machine
from floe.hypervisor import registry
from floe.snapshot import file
from floe.snapshot.file import Snapshot
from floe.snapshot.material import Material
from floe.testing import Boot, Guest
from floe.vm import restored
from floe.vm.child import Child
from floe.vm.restored import Restored
from floe.vm.vm import Vm

GUEST = Path(__file__).resolve().parent / "guests" / "guest_snapshot.py"
DEADLINE_S = 60.0
COPIES = 20
SmallDisk = Callable[[str], AbstractContextManager[Path]]


def ask(vm: Vm, word: str) -> str:
    """The guest's answer to a line on its port 80, while the VM is served here."""
    answer = b""
    with socket.create_connection(("127.0.0.1", vm.ports[80]), timeout=DEADLINE_S) as conn:
        conn.sendall(f"{word}\n".encode())
        conn.setblocking(False)
        for _ in range(int(DEADLINE_S / 0.02)):
            with suppress(BlockingIOError):
                answer += conn.recv(4096)
            if answer.endswith(b"\n"):
                return answer.decode().strip()
            vm.pump(lambda: False, 0.02)  # the guest's pipes are served here
    raise AssertionError(f"no answer to {word}")


def keep(vm: Vm, path: Path) -> None:
    """Make a snapshot."""
    assert vm.family is not None
    captured = vm.loop.run_until_complete(vm.family.capture(deadline_s=DEADLINE_S))
    try:
        key = registry.create(vm.spec.hypervisor).state_key(vm.spec)
        file.write(path, captured, blobs=(), app="guest", key=key)
    finally:
        captured.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as all_of_them:
        yield all_of_them


def from_file(stack: ExitStack, path: Path, name: str, loop_of: Vm | None = None) -> Restored:
    """A VM that goes on from a file."""
    snapshot = Snapshot.open(path)
    stack.callback(snapshot.close)
    restored.check(snapshot)
    loop = loop_of.loop if loop_of is not None else None
    spec = restored.spec_of(snapshot, (), name)
    return stack.enter_context(Restored(spec, snapshot.state, Material.of(snapshot), loop=loop))


def identity(vm: Vm) -> list[str]:
    """Number, host name, unique_id() and random bytes, as a restored VM tells them."""
    vm.expect(r"another machine (\S+ \S+ \S+ \S+)", DEADLINE_S)
    return str(vm.expecter.match.group(1)).split()


def boot_it(boot: Boot, tmp_path: Path, *args: str, **more: object) -> Guest:
    disk = tmp_path / "disk.img"
    disks = [f"{disk}:size=1M"]
    # mypy takes `more` for any of boot()'s options
    vm = boot(GUEST, ports=[80], disks=disks, args=args, deadline_s=DEADLINE_S, **more)  # type: ignore[arg-type]  # each is boot()'s own
    vm.expect_exact("serving 1")
    return vm


def test_what_a_snapshot_holds_goes_on_in_another_machine(boot: Boot, tmp_path: Path, stack: ExitStack) -> None:
    """The pipe's bytes and the disk as of that moment; the first VM goes on; so does a snapshot of a snapshot."""
    vm, path = boot_it(boot, tmp_path), tmp_path / "s.snap"
    assert ask(vm, "note then") == "noted"
    keep(vm, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 < 4 << 20 < path.stat().st_size
    assert ask(vm, "note later") == "noted"
    assert ask(vm, "pipe") == "in the pipe"
    assert "another machine" not in vm.console_text

    first = from_file(stack, path, "first")
    assert identity(first)[:2] == ["1", "first"]
    assert ask(first, "disk") == "then"
    assert ask(first, "note own") == "noted"
    again = tmp_path / "again.snap"
    keep(first, again)
    assert ask(first, "pipe") == "in the pipe"

    second = from_file(stack, again, "second")
    assert identity(second)[:2] == ["1", "second"]
    assert ask(second, "disk") == "own"
    assert ask(second, "pipe") == "in the pipe"
    for each in (vm, first, second):
        assert ask(each, "end") == "end"
        assert each.wait(deadline_s=DEADLINE_S) == 0
        assert "PANIC" not in each.console_text


def test_no_two_copies_draw_the_same(boot: Boot, tmp_path: Path, stack: ExitStack) -> None:
    """Of a template, which never goes on itself."""
    vm = boot(GUEST, ports=[80], disks=[f"{tmp_path / 'd.img'}:size=1M"], args=["template"], deadline_s=DEADLINE_S)
    assert vm.family is not None
    vm.family.is_template = True
    path = tmp_path / "s.snap"
    keep(vm, path)
    assert "ready is over" not in vm.console_text
    vm.kill()
    copies = [from_file(stack, path, f"c{i}", vm) for i in range(COPIES)]
    told = [identity(copy) for copy in copies]
    assert [one[1] for one in told] == [f"c{i}" for i in range(COPIES)]
    assert len({one[2] for one in told}) == len({one[3] for one in told}) == COPIES
    assert len({copy.ports[80] for copy in copies}) == COPIES
    copies[0].expect_exact("ready is over", DEADLINE_S)


@pytest.mark.any_accel
def test_a_state_is_good_for_one_version_of_qemu(
    boot: Boot, tmp_path: Path, stack: ExitStack, second_qemu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot of each version goes on there, and is refused by the other one."""
    path = tmp_path / "s.snap"
    keep(boot_it(boot, tmp_path), path)
    monkeypatch.setenv("FLOE_QEMU", str(second_qemu))
    vm = from_file(stack, path, "elsewhere")
    with pytest.raises(VmError, match=r"the state of a guest of QEMU \S+ cannot go on in QEMU"):
        vm.wait(deadline_s=DEADLINE_S)
    other, of_other = tmp_path / "other", tmp_path / "other.snap"
    other.mkdir()
    keep(boot_it(boot, other), of_other)
    assert identity(from_file(stack, of_other, "there"))[1] == "there"


@pytest.mark.any_accel
def test_what_differs_is_told(boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.snap"
    keep(boot_it(boot, tmp_path), path)
    with pytest.raises(UsageError, match="cannot go on here") as told:
        restored.check(Snapshot.open(path), memory="64M", machine="q35")
    lines = [line.split() for line in told.value.evidence.splitlines()]
    assert lines == [["the", "snapshot", "here"], ["machine", "microvm", "q35"], ["memory", "32M", "64M"]]


@pytest.mark.any_accel
@pytest.mark.parametrize("goes_on", [True, False])
def test_disks_may_take_their_time(goes_on: bool, boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as something of them is copied: one that stands still is given up."""
    vm = boot_it(boot, tmp_path)

    def slowly(source: int, target: int, wanted: Callable[[], bool]) -> None:
        for _ in range(50):
            time.sleep(0.1)
            if goes_on and not wanted():
                return
        copy_data(source, target, wanted)

    copy_data = copies._copy_data
    with monkeypatch.context() as slow:
        slow.setattr(copies, "_copy_data", slowly)
        slow.setattr(copies, "_FICLONE", 0)
        assert vm.family is not None
        slow.setattr(vm.family, "fork_s", 2.0)
        with nullcontext() if goes_on else pytest.raises(VmError, match="took too long"):
            keep(vm, tmp_path / "s.snap")
    keep(vm, tmp_path / "s.snap")
    assert ask(vm, "id")


BUSY = """
import micropython, sys, time, vm

queued = 0

def again(busy):
    if busy[0]:
        micropython.schedule(again, busy)

busy = [True]
try:
    while True:
        micropython.schedule(again, busy)
        queued += 1
except RuntimeError:
    print("busy", queued)
sys.stdin.readline()
busy[0] = False
print("idle")
time.sleep(600)
"""


@pytest.mark.any_accel
def test_a_script_with_too_much_to_do_says_so(boot: Boot, tmp_path: Path) -> None:
    """Its queue of what is to be called is full: whoever wants the snapshot hears it at once."""
    app = tmp_path / "busy.py"
    app.write_text(BUSY)
    vm = boot(app, deadline_s=DEADLINE_S)
    vm.expect(r"busy \d+\n")
    began = time.monotonic()
    with pytest.raises(VmError, match="too much to do for a snapshot") as told:
        keep(vm, tmp_path / "s.snap")
    assert told.value.hint == "try it again"
    assert time.monotonic() - began < DEADLINE_S / 2
    vm.send(b"\n")
    vm.expect_exact("idle")
    keep(vm, tmp_path / "s.snap")


@pytest.mark.any_accel
def test_what_fails_leaves_the_vm_as_it_was(
    boot: Boot, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a hook that raises, a hypervisor that dies with the state; then a snapshot as any other."""
    vm = boot_it(boot, tmp_path)
    assert vm.family is not None
    with small_disk("512K") as folder:
        with pytest.raises(DiskFull):
            keep(vm, folder / "s.snap")
        assert list(folder.iterdir()) == []
    assert ask(vm, "refuse") == "refuses True"
    with pytest.raises(VmError, match="does not let itself be copied"):
        keep(vm, tmp_path / "s.snap")
    assert "ValueError: not now" in vm.console_text
    assert ask(vm, "refuse") == "refuses False"
    make = vm.family._make

    def dies(original: Machine, name: str, disks: PrivateDisks) -> Child:
        machine = make(original, name, disks)
        assert isinstance(machine, Child)
        devices = machine.devices

        async def killed() -> bytes:
            os.kill(machine.pid, signal.SIGKILL)
            return await devices()

        monkeypatch.setattr(machine, "devices", killed)
        return machine

    monkeypatch.setattr(vm.family, "_make", dies)
    with pytest.raises(VmError, match="QEMU"):
        keep(vm, tmp_path / "s.snap")
    monkeypatch.undo()
    assert not (tmp_path / "s.snap").exists()
    keep(vm, tmp_path / "s.snap")
    assert ask(vm, "end") == "end"
    assert vm.wait() == 0


@pytest.mark.any_accel
def test_a_torn_file_says_so(boot: Boot, tmp_path: Path) -> None:
    path, torn = tmp_path / "s.snap", tmp_path / "torn.snap"
    keep(boot_it(boot, tmp_path), path)
    whole = path.read_bytes()
    snapshot = Snapshot.open(path)
    at = {part.name: part.at for part in snapshot.content.parts}
    snapshot.close()
    torn.write_bytes(b"")
    cases = [
        (whole[:-1], "is no snapshot"),
        (whole[: len(whole) // 2], "is no snapshot"),
        (b"", "is no snapshot"),
        (b"\x7fELF" + bytes(4096), "is no snapshot"),
        (whole[4096:], r"damaged: it has \d+ bytes, and should have"),
        (flipped(whole, at["devices"] + 100), "damaged: its devices has changed"),
        (flipped(whole, len(whole) - 100), "damaged: its description has changed"),
        (flipped(whole, len(whole) - 48), "is a snapshot of format"),
    ]
    for data, problem in cases:
        torn.write_bytes(data)
        with pytest.raises(FloeError, match=problem):
            Snapshot.open(torn)
    made_up: list[tuple[tuple[str | int, ...], object, str]] = [
        (("parts", 1, "size"), 1 << 50, "is not where it should be|should have"),
        (("parts", 1, "at"), -5, "devices is not where it should be"),
        (("plan", "memory"), 4 << 20, "its memory is not that of its VM"),
        (("plan", "machine"), "toaster", "was not made by floe snapshot"),
        (("plan", "cards", 0, "kind"), "tap", "was not made by floe snapshot"),
        (("plan", "forwards", 0, "protocol"), "tcp:,guestfwd=tcp:10.0.2.100:1-cmd:id", "was not made by floe snapshot"),
        (("plan", "forwards", 0, "address"), "127.0.0.1,x=y", "was not made by floe snapshot"),
    ]
    for place, value, problem in made_up:
        torn.write_bytes(described(whole, place, value))
        with pytest.raises(FloeError, match=problem), closing(Snapshot.open(torn)) as snapshot:
            restored.check(snapshot)


def described(data: bytes, place: tuple[str | int, ...], value: object) -> bytes:
    """The same snapshot with another description, whose checksum is right."""
    footer = struct.Struct("<16sIIQ32s")  # as in tools/floe/snapshot/file.py
    magic, number, zero, length, _ = footer.unpack(data[-footer.size :])
    content = json.loads(data[-footer.size - length : -footer.size])
    within = content
    for step in place[:-1]:
        within = within[step]
    within[place[-1]] = value
    text = json.dumps(content).encode()
    head = data[: -footer.size - length]
    return head + text + footer.pack(magic, number, zero, len(text), hashlib.sha256(text).digest())


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :]
