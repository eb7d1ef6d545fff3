# SPDX-License-Identifier: MIT
"""The console of a detached VM through each of its endpoints, hash-checked both ways, and what it carries."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.store import vmfolder
from tests.support.command import floe
from tests.support.fixtures import SmallDisk
from tests.support.vms import Vms, kill, log, ps, until

GUEST = Path(__file__).parent / "guests" / "guest_console.py"
PIECE = 32768
ENOUGH_MB_S = 5.0  # what the console must carry on KVM
SIZES = {"kvm": 8 << 20, "tcg": 1 << 20}


@pytest.fixture
def vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    with Vms(tmp_path, monkeypatch) as all_of_them:
        yield all_of_them


class Console:
    """A client at an endpoint: a descriptor that blocks."""

    def __init__(self, vm: dict[str, str], kind: str) -> None:
        if kind == "pty":
            self.fd = os.open(vm["pty"], os.O_RDWR | os.O_NOCTTY)
            tty.setraw(self.fd)
            return
        if kind == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(vm["unix"])
        else:
            sock = socket.create_connection(("127.0.0.1", int(vm["socket"].rpartition(":")[2])))
        self.fd = sock.detach()

    def read(self, size: int) -> bytes:
        parts = []
        while size:
            data = os.read(self.fd, min(size, 1 << 16))
            assert data
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view[: 1 << 16]) :]

    def line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            line += self.read(1)
        return line.decode().strip()

    def close(self) -> None:
        os.close(self.fd)


def outgoing(size: int) -> bytes:
    """What the guest sends for `out`."""
    piece = bytes(range(256)) * (PIECE // 256)
    return b"".join(bytes([n & 255]) + piece[1:] for n in range(size // PIECE))


@pytest.mark.parametrize("kind", ["unix", "socket", "pty"])
def test_bytes_both_ways(vms: Vms, accel: str, kind: str) -> None:
    vm = vms.run("--name", "a", "--accel", accel, "--console-port", "0", GUEST)
    until(lambda: "ready" in log("a"), "the guest")
    console = Console(vm, kind)
    for _ in range(3):  # a host that is busy with something else is slow, not wrong
        rates = _both_ways(console, SIZES[accel])
        print(f"RATE {accel} {kind}: guest to host {rates[0]:.1f} MB/s, host to guest {rates[1]:.1f} MB/s")
        if accel == "tcg" or min(rates) > ENOUGH_MB_S:
            break
    else:
        pytest.fail(f"less than {ENOUGH_MB_S} MB/s in three attempts")
    console.close()
    assert ps("a")["dropped"] == 0


def _both_ways(console: Console, size: int) -> tuple[float, float]:
    """MB/s from the guest and to it; every byte is checked."""
    console.write(b"out %d\n" % size)
    begin = time.monotonic()
    got = console.read(size)
    out_s = time.monotonic() - begin
    assert got == outgoing(size)
    assert console.line() == hashlib.sha256(got).hexdigest()
    data = random.Random(1).randbytes(size).replace(b"\x03", b"\x04")  # Ctrl-C would interrupt the guest
    console.write(b"in %d\n" % size)
    assert console.read(1) == b"!"
    begin = time.monotonic()
    console.write(data)
    assert console.line() == hashlib.sha256(data).hexdigest()
    return size / out_s / 1e6, size / (time.monotonic() - begin) / 1e6


def test_a_file_there_and_back_at_speed(vms: Vms, tmp_path: Path, accel: str) -> None:
    """`floe cp`, start of the interpreter and mpremote's greeting included."""
    (tmp_path / "board.py").write_text("print('ready')\n")
    vms.run("--dev", "--name", "a", "--accel", accel, "--memory", "64M", tmp_path / "board.py")
    content = random.Random(2).randbytes(1_500_000 if accel == "kvm" else 300_000)
    (tmp_path / "there").write_bytes(content)
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    times = []
    for words in (("empty", "a:/e"), ("there", "a:/blob"), ("a:/blob", "back")):
        begin = time.monotonic()
        done = floe("cp", *words, cwd=tmp_path)
        times.append(time.monotonic() - begin)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == content
    rates = [len(content) / max(t - times[0], 0.001) / 1e6 for t in times[1:]]
    print(f"RATE {accel} floe cp: there {rates[0]:.1f} MB/s, back {rates[1]:.1f} MB/s, above {times[0]:.2f} s of start")


def test_a_client_that_never_reads(vms: Vms, tmp_path: Path, accel: str) -> None:
    """The guest says all it has to say and ends; the log has the last of it."""
    script = tmp_path / "loud.py"
    script.write_text(
        "import sys\nsys.stdin.readline()\nfor i in range(3000):\n    print('%06d' % i, 'x' * 1000)\nsys.exit(3)\n"
    )
    vm = vms.run("--name", "a", "--accel", accel, script)
    client = Console(vm, "unix")
    client.write(b"\n")
    until(lambda: ps("a")["state"] == "ended", "the guest's end", 60)
    assert ps("a")["exit_code"] == 3
    assert log("a").endswith("002999 " + "x" * 1000 + "\n")
    client.close()


def test_the_keeper_is_killed_under_a_client(vms: Vms) -> None:
    """The client sees the end of its connection; the next one is served as if nothing had been."""
    vm = vms.run("--name", "a", GUEST)
    until(lambda: "ready" in log("a"), "the guest")
    console = Console(vm, "unix")
    console.write(b"out 32768\n")
    console.read(32768)
    console.line()
    kill(vmfolder.find("a").keeper)
    assert os.read(console.fd, 1) == b""
    console.close()
    vm = ps("a")
    vms.note(vmfolder.find("a"))
    for kind in ("pty", "unix"):
        console = Console(vm, kind)
        console.write(b"out 32768\n")
        assert console.read(32768) == outgoing(32768)
        assert len(console.line()) == 64
        console.close()
        until(lambda: ps("a")["client"] is None, "the client's leaving")


def test_a_full_disk_does_not_hurt(vms: Vms, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs lose lines; console, state and exit code do not suffer, and a VM that has no room is refused."""
    with small_disk("2m") as disk:
        monkeypatch.setenv("XDG_STATE_HOME", str(disk))
        vm = vms.run("--name", "a", GUEST)
        until(lambda: "ready" in log("a"), "the guest")
        with (disk / "filler").open("wb", buffering=0) as f:
            try:
                while f.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        console = Console(vm, "unix")
        console.write(b"out 1048576\n")
        assert console.read(1 << 20) == outgoing(1 << 20)
        console.line()
        done = floe("run", "--detach", "--name", "b", GUEST)
        assert done.returncode == 125
        assert "cannot write" in done.stderr
        assert "No space left on device" in done.stderr
        console.write(b"\n")
        until(lambda: ps("a")["state"] == "ended", "the guest's end")
        assert ps("a")["exit_code"] == 0
        console.close()
        vms.note(vmfolder.find("a"))
        assert floe("rm", "a").returncode == 0
        assert [folder.name for folder in vmfolder.everything()] == []


def test_a_long_state_path(vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets go where their paths are short enough for unix(7), and go away with the VM."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("x" * 100)))
    vm = vms.run("--name", "a", GUEST)
    assert len(vm["unix"]) < 100
    console = Console(vm, "unix")
    console.write(b"out 32768\n")
    assert outgoing(32768)[:10] in console.read(32768 + 7)
    console.close()
    assert floe("rm", "--force", "a").returncode == 0
    assert not Path(vm["unix"]).parent.exists()
