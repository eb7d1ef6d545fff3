# SPDX-License-Identifier: MIT
"""The proxy process of a Xen domain that is made of another one, which goes on: tools/floe/xen/arrival.py, copying.py and
control.sh, against an xl of a few lines."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from floe.errors import VmError
from floe.hypervisor.xen_driver import Xen
from floe.spec.handover import Blob
from floe.spec.network import Card
from floe.spec.ports import Forward
from floe.spec.vmspec import VmSpec, Wires
from floe.xen import arrival, events, places
from floe.xen.arrival import Arrival
from floe.xen.copying import Copying
from tests.support.fakedomain import HOME, Fake

STATE = "".join(f"page {n} of domain 5\n" for n in range(20000))


class Copy:
    """The process, and our end of where it is told what to copy."""

    def __init__(self, folder: Path, *more: str, blobs: tuple[Blob, ...] = ()) -> None:
        self.fake = Fake(folder, "--copied", *more, blobs=blobs)
        self.source, self._theirs = socket.socketpair()
        self.source.settimeout(20)
        self.fake.inherited = [self._theirs.fileno()]

    def start(self) -> None:
        self.fake.start()
        self.ask({"do": "expect", "fd": self._theirs.fileno()})
        self._theirs.close()
        assert self.fake.event() == {"event": "EXPECTS", "data": {}}

    def ask(self, what: dict[str, object]) -> None:
        self.fake.events.sendall(json.dumps(what).encode() + b"\n")

    def answer(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            data = self.source.recv(1000)
            assert data, "no answer"
            line += data
        return line

    def close(self) -> None:
        self.source.close()
        self._theirs.close()
        self.fake.close()


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    made = Copy(tmp_path)
    yield made
    made.close()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.02)


def left(fake: Fake) -> list[str]:
    """Files of control.sh's that are still there."""
    folder = fake.folder / "run"
    return os.listdir(folder) if folder.exists() else []


def test_a_copy_is_made_and_runs_when_it_is_told_to(copy: Copy) -> None:
    fake = copy.fake
    copy.start()
    assert fake.calls() == []
    copy.source.sendall(b"5\n")
    assert copy.answer() == arrival.DONE
    assert (fake.folder / "state").read_text() == STATE
    assert sorted(fake.calls()) == ["restore", "save"]
    calls = (fake.folder / "calls").read_text()
    assert "save -c 5 /proc/self/fd/3\n" in calls and "restore -F -p " in calls
    assert (fake.folder / "config").read_text() == 'name="x"\nkernel="/none"\n'
    copy.ask({"do": "run"})
    assert fake.event() == {"event": "RESUME", "data": {"domain": "7"}}
    assert fake.calls()[-1] == "unpause"
    os.write(fake.master, b"hello")
    assert fake.console.recv(100) == b"hello"
    fake.ends(0, "3 5")
    assert fake.process.wait(20) == (3 + 1) << 1 | 1
    assert fake.calls()[-1] == "destroy" and left(fake) == []


def test_what_it_is_given(tmp_path: Path) -> None:
    """Secrets before it runs, and files that have no name but as descriptors of its process."""
    fd = os.memfd_create("disk")
    copy = Copy(tmp_path, "--disk", f"rw,/dev/fd/{fd}", blobs=(Blob("secret/key", b"k"),))
    copy.fake.inherited.append(fd)
    try:
        copy.start()
        copy.source.sendall(b"5\n")
        assert copy.answer() == arrival.DONE
        config = (tmp_path / "config").read_text()
        assert f'target=/proc/{copy.fake.process.pid}/fd/{fd}"]' in config
        assert (tmp_path / "store" / HOME / "floe/blob/0/name").read_text() == "secret/key"
        assert "unpause" not in copy.fake.calls()
    finally:
        copy.close()
        os.close(fd)


def test_xl_restore_refuses(tmp_path: Path) -> None:
    """What xl saves is read to its end all the same, so that the other domain goes on as always. A domain that an xl
    has left which was killed is found by its UUID: it has no name yet."""
    copy = Copy(tmp_path, "--config", 'name="x"\nuuid="0-1-2"\n')
    fake = copy.fake
    (tmp_path / "list").write_text("Name ID Mem VCPUs State Time(s) UUID\n(null) 9 0 0 --p--- 0.0 0-1-2 - -\n")
    fake.refusal.write_text(
        "Parsing config\nxc: error: Failed to populate physmap (12 = Cannot allocate memory)\nend\n"
    )
    copy.start()
    copy.source.sendall(b"5\n")
    said = "xl did not copy the domain: xc: error: Failed to populate physmap (12 = Cannot allocate memory)"
    assert copy.answer() == said.encode() + b"\n"
    event = fake.event()
    assert event["event"] == "FAILED" and said in str(event["data"])
    assert fake.process.wait(20) == 1
    assert (fake.folder / "saved").exists()
    assert sorted(fake.calls()) == ["destroy", "list", "restore", "save"] and left(fake) == []
    assert "\ndestroy 9\n" in (fake.folder / "calls").read_text()
    copy.close()


def test_xl_save_fails(copy: Copy) -> None:
    fake = copy.fake
    (fake.folder / "unsaved").write_text("xc: progress: Frames: 1/2  50%\nlibxl: error: guest did not suspend\n")
    copy.start()
    copy.source.sendall(b"5\n")
    assert copy.answer() == b"xl did not copy the domain: libxl: error: guest did not suspend\n"
    assert fake.process.wait(20) == 1
    wait_for(lambda: not left(fake))
    assert "unpause" not in fake.calls() and not (fake.folder / "alive").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_end_in_the_middle_leaves_nothing(copy: Copy, number: signal.Signals) -> None:
    """The script in dom0 sees it through: xl save is what lets the other domain go on."""
    fake = copy.fake
    os.mkfifo(fake.folder / "slow")
    copy.start()
    copy.source.sendall(b"5\n")
    wait_for(lambda: "restore" in fake.calls())
    fake.process.send_signal(number)
    if number == signal.SIGKILL:
        fake.process.wait(20)
        assert copy.source.recv(100) == b""
    (fake.folder / "slow").write_text("go\n")
    wait_for(lambda: not left(fake))
    assert (fake.folder / "saved").exists()
    assert fake.calls()[-1] == "destroy" and not (fake.folder / "alive").exists()
    assert fake.process.wait(20) == (-9 if number == signal.SIGKILL else 0)


@pytest.mark.parametrize("words", [b"", b"seven\n", b"5", b"1" * 100])
def test_what_is_no_domain(copy: Copy, words: bytes) -> None:
    copy.start()
    copy.source.sendall(words)
    copy.source.shutdown(socket.SHUT_WR)
    event = copy.fake.event()
    assert event["event"] == "FAILED" and "to be copied" in str(event["data"])
    assert copy.fake.process.wait(20) == 1
    assert copy.fake.calls() == []


def test_an_answer_is_one_line() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        one = Arrival()
        one.expect(theirs.detach())
        one.answer("two\nlines")
        one.answer()
        assert ours.recv(100) == b"two lines\n"
        assert ours.recv(100) == b""


# ---- the driver -----------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, wires: Wires, **more: object) -> tuple[Xen, list[str]]:
    monkeypatch.setattr(places, "choose", places.Dom0)
    driver = Xen()
    with driver.command(VmSpec(elf=Path("/x"), uuid="u", **more), wires, ()) as (argv, _):
        return driver, argv


def test_a_copy_is_told_later_which_address_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then no port is forwarded to its original's."""
    cards = (Card("bridge", "b0", ip="10.0.0.2/24", spare=2, mac="02:00:00:00:00:01"),)
    forwards = (Forward("127.0.0.1", 8080, 80),)
    _, first = command(monkeypatch, Wires("3", "4", "5"), cards=cards, forwards=forwards)
    assert first[first.index("--forward") + 1] == "tcp,127.0.0.1,8080,10.0.0.2,80" and "--copied" not in first
    driver, copied = command(monkeypatch, Wires("3", "4", "5", copied=True), cards=cards, forwards=forwards)
    assert "--forward" not in copied and "--copied" in copied
    assert driver.placed_cards(cards)[0].ip == "10.0.0.2/24"


def test_what_a_state_is_kept_by_and_what_is_made_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only at its first start."""
    wires = Wires("3", "4", "5", copied=True, ram="/dev/fd/9")
    _, made = command(monkeypatch, replace(wires, once="@"))
    assert made[made.index("@--copied") :][:3] == ["@--copied", "@--state", "@9"]
    _, kept = command(monkeypatch, replace(wires, ram_shared=True))
    assert kept[1:] == ["-P", "-m", "floe.xen.keeping", "--place", "dom0", "--state", "9", "--events", "5"]


# ---- the owner's side ---------------------------------------------------------------------------


def test_the_owner_hears_why_not() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        copying = Copying()
        with ours, theirs:
            with pytest.raises(VmError, match="its domain is not known"):
                await copying.send(ours.fileno())
            copying.heard("RESUME", {"domain": "5"})
            sending = asyncio.create_task(copying.send(ours.fileno()))
            await asyncio.sleep(0)
            assert theirs.recv(100) == b"5\n"
            theirs.sendall(b"xl did not\n")
            with pytest.raises(VmError, match="xl did not"):
                await sending
            theirs.close()
            with pytest.raises(VmError, match="the process of the copy has ended"):
                await copying.send(ours.fileno())

    asyncio.run(scene())


@pytest.mark.parametrize(("said", "told"), [
    (events.encode("FAILED", message="no memory"), "no memory"),
    (b"", "the domain's process has ended"),
])  # fmt: skip
def test_the_owner_waits_no_longer_than_the_process_lives(said: bytes, told: str) -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        copying = Copying(ours.dup())
        watching = asyncio.create_task(events.watch(ours, copying.heard))
        expecting = asyncio.create_task(copying.expect(9))
        assert json.loads(await asyncio.to_thread(theirs.recv, 100)) == {"do": "expect", "fd": 9}
        theirs.sendall(said)
        theirs.close()
        await watching
        copying.ended()
        with pytest.raises(VmError, match=told):
            await expecting
        with pytest.raises(VmError):
            await copying.run()
        copying.close()

    asyncio.run(scene())
