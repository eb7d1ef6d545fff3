# SPDX-License-Identifier: MIT
"""The way of console bytes, end to end: script, driver, QEMU, floe, pipe. Nothing is lost, however slow the reader."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.command import FLOE, floe

SIZE = 4 << 20
LINE = b"%07d " + b"0123456789abcdef" * 4 + b"\n"
PRINT = f"""
line = "0123456789abcdef" * 4
for i in range({SIZE} // 73 + 1):
    print("%07d %s" % (i, line))
"""
SUM = f"""
import sys, hashlib
h, left = hashlib.sha256(), {SIZE}
while left:
    data = sys.stdin.buffer.read(min(left, 4096))
    left -= len(data)
    h.update(data)
print(h.digest().hex())
"""
printed = b"".join(LINE % i for i in range(SIZE // 73 + 1))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(PRINT)
    return path


class Run:
    """floe with a pipe for standard output, which nobody reads before read()."""

    def __init__(self, *argv: str | Path, size: int = 4096) -> None:
        self.process = subprocess.Popen(
            [*FLOE, "run", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pipesize=size,
        )

    def read(self, pause_s: float = 0.0) -> bytes:
        """All of it, 64 KiB at a time with a pause between."""
        assert self.process.stdout is not None
        parts = []
        while data := os.read(self.process.stdout.fileno(), 65536):
            parts.append(data)
            if pause_s:
                time.sleep(pause_s)
        return b"".join(parts)

    def end(self) -> tuple[int, str]:
        """Exit code and standard error; the pipe is read to its end."""
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err.decode()


def qemu_of(run: Run) -> list[int]:
    """Process ids of QEMU below a floe, whose other children build the image. One that has ended is not known any more."""
    return [child for child in children_of(run) if b"-nodefaults" in _command(child)]


def children_of(run: Run) -> list[int]:
    pid = run.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended meanwhile


def wait_for_qemu_s_end(run: Run) -> None:
    """Wait until the VM was there and has ended, with floe still here."""
    deadline = time.monotonic() + 30
    qemu: list[int] = []
    while not qemu or qemu[0] in children_of(run):  # until floe has waited for it
        assert time.monotonic() < deadline and run.process.poll() is None
        qemu = qemu or qemu_of(run)
        time.sleep(0.01)


@pytest.mark.parametrize("attempt", range(3))
def test_fast_reader(app: Path, accel: str, attempt: int) -> None:
    run = Run("--accel", accel, app)
    assert hashlib.sha256(run.read()).hexdigest() == hashlib.sha256(printed).hexdigest()
    assert run.end() == (0, "")


def test_slow_reader(app: Path, accel: str) -> None:
    """About a megabyte a second, through the smallest pipe there is."""
    run = Run("--accel", accel, app)
    assert hashlib.sha256(run.read(0.004)).hexdigest() == hashlib.sha256(printed).hexdigest()
    assert run.end() == (0, "")


def test_reader_that_comes_after_the_vm_s_end(app: Path, accel: str) -> None:
    """The guest does not wait for anyone, and floe keeps what it said."""
    run = Run("--accel", accel, app)
    wait_for_qemu_s_end(run)
    assert hashlib.sha256(run.read()).hexdigest() == hashlib.sha256(printed).hexdigest()
    assert run.end() == (0, "")


@pytest.mark.alone
def test_floe_stalls(tmp_path: Path, accel: str) -> None:
    """Nobody reads QEMU's socket for less than the second that a guest waits: QEMU must hold back, not drop."""
    app = tmp_path / "app.py"
    app.write_text("import time\nprint('ready')\ntime.sleep(0.5)\n" + PRINT)
    run = Run("--accel", accel, app)
    assert run.process.stdout is not None
    ready = os.read(run.process.stdout.fileno(), 6)
    os.kill(run.process.pid, signal.SIGSTOP)
    time.sleep(0.9)
    os.kill(run.process.pid, signal.SIGCONT)
    data = ready + run.read()
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(b"ready\n" + printed).hexdigest()
    assert run.end() == (0, "")


def test_a_signal_ends_the_wait_for_a_reader(app: Path) -> None:
    run = Run(app)
    wait_for_qemu_s_end(run)
    run.process.send_signal(signal.SIGINT)
    code = run.process.wait(timeout=10)
    assert code == 130
    data = run.read()
    lost = len(printed) - len(data)
    assert lost > 0 and printed.startswith(data)
    assert f"floe: standard output was not read in time: {lost} bytes of the guest's are lost\n" in run.end()[1]


def test_the_last_words(tmp_path: Path, accel: str) -> None:
    """QEMU ends the moment the guest asks for it; what was printed right before arrives, from 1 byte up."""
    path = tmp_path / "app.py"
    path.write_text("import sys\nsys.stdout.write('x' * int(sys.argv[1]))\nsys.exit(7)\n")
    assert floe("build", path, "-o", tmp_path / "app.elf").returncode == 0
    for size in (1, 4095, 4096, 4097, 16384, 16385, 49152, 49153, 200_000):
        done = floe("run", "--accel", accel, tmp_path / "app.elf", "--", str(size))
        assert (len(done.stdout), done.returncode) == (size, 7)


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_input(tmp_path: Path, accel: str, kind: str) -> None:
    """Every byte value but that of Ctrl-C, which is a wish and no byte."""
    path = tmp_path / "app.py"
    path.write_text(SUM)
    sent = os.urandom(SIZE).replace(b"\x03", b"\x04")
    (tmp_path / "in").write_bytes(sent)
    with (tmp_path / "in").open("rb") as file:
        source = {"stdin": file} if kind == "file" else {"input": sent}
        done = subprocess.run(
            [*FLOE, "run", "--accel", accel, str(path)], capture_output=True, timeout=60, check=False, **source
        )
    assert done.stdout.decode().strip() == hashlib.sha256(sent).hexdigest()
    assert done.returncode == 0


# ---- consoles that floe does not choose --------------------------------------------------------------

DEVICES = {
    "virtconsole, one port": ("max_ports=1", "virtconsole"),
    "virtconsole, many ports": ("max_ports=31", "virtconsole"),
    "virtserialport, no number": ("max_ports=31", "virtserialport"),
    "virtserialport, another number": ("max_ports=31", "virtserialport,nr=5"),
    "virtserialport, a number beyond ours": ("max_ports=31", "virtserialport,nr=30"),
    "no port": ("max_ports=31", ""),
}


@pytest.mark.any_accel
@pytest.mark.parametrize("machine", ["microvm", "q35"])
@pytest.mark.parametrize("device", DEVICES)
def test_other_devices(accel: str, machine: str, device: str) -> None:
    """Where the guest finds no port that it can use it still runs to its end."""
    bus, port = DEVICES[device]
    done = floe("run", "--dry-run", "--accel", accel, "--machine", machine, "images/hello")
    argv = shlex.split(done.stdout)
    at = argv.index("virtconsole,chardev=console")
    argv[at - 2] = argv[at - 2].replace("max_ports=1", bus)
    argv[at - 1 : at + 1] = ["-device", f"{port},chardev=console"] if port else []
    read_end, write_end = os.pipe()  # an input that does not end: its end closes a virtserialport
    done = subprocess.run(argv, stdin=read_end, capture_output=True, text=True, timeout=30, check=False)
    for fd in (read_end, write_end):
        os.close(fd)
    served = port and not port.endswith("30")
    assert (done.stdout, done.returncode) == ("hello, world\n" if served else "", 3)
