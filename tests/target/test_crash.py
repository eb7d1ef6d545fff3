# SPDX-License-Identifier: MIT
"""What was synced is there after a crash. Two crashes: QEMU killed at random moments, which leaves all that it had
passed to the host; and a power failure, which leaves what was flushed and any part of what was not.

FLOE_KILLS is how often QEMU is killed, on each accelerator; FLOE_SEED where chance begins."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.errors import VmError
from floe.landlock import READ, WRITE, Grant
from floe.qemu import reach
from floe.qemu import words as qemu_words
from floe.spec.disks import Disk
from floe.spec.vmspec import VmSpec
from floe.vm.vm import Vm
from tests.support import crash, writelog

GUESTS = Path(__file__).resolve().parent / "guests"
KILLS = int(os.environ.get("FLOE_KILLS", "60"))
SEED = int(os.environ.get("FLOE_SEED", "1"))
LIVES = 50  # kills of one disk, before a blank one takes its place
SIZE = 1 << 20
FOREVER = 1 << 30


def run_and_kill(spec: VmSpec, rng: random.Random) -> str:
    """Boot, kill QEMU at a random moment, and return what the guest had said."""
    with Vm(spec) as vm:
        if rng.random() < 0.85:  # else while it boots, mounts or formats
            vm.expect("ready\n", timeout=20)
            vm.pump(lambda: False, rng.random() * 0.06)
        else:
            vm.pump(lambda: False, rng.random() * 0.15)
        os.kill(vm.pid, signal.SIGKILL)
        with pytest.raises(VmError, match="killed by SIGKILL"):
            vm.wait(deadline_s=20)
        assert "PANIC" not in vm.console_text
        assert "Traceback" not in vm.console_text
        return vm.console_text


def test_nothing_synced_is_lost_when_qemu_is_killed(accel: str, build: Callable[..., Path], tmp_path: Path) -> None:
    rng = random.Random(f"{SEED} {accel}")
    elf = build(GUESTS / "guest_crash.py")
    acked = -1
    operations = 0
    for kill in range(KILLS):
        path = tmp_path / f"disk{kill // LIVES}"
        if kill % LIVES == 0:
            acked = -1
            formatted = False
        args = (str(acked + 1), str(FOREVER), str(crash.SLOTS))
        said = run_and_kill(VmSpec(elf, accel=accel, cards=(), disks=(Disk(path, size=SIZE),), args=args), rng)
        formatted = formatted or "ready\n" in said
        if found := crash.acks(said):
            operations += found[-1][0] - acked
            acked = found[-1][0]
        if formatted:
            assert crash.faults(path.read_bytes(), acked) == [], f"kill {kill}, seed {SEED}: {said[-300:]}"
    print(f"{KILLS} kills, {operations} operations")
    assert operations > KILLS / 4  # it was killed while it worked


@pytest.fixture
def record(
    accel: str, build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], tuple[list[writelog.Entry], list[tuple[int, int]]]]:
    """record(n) -> all writes of n operations on a blank disk, and what was acknowledged after how many flushes."""

    def run(operations: int) -> tuple[list[writelog.Entry], list[tuple[int, int]]]:
        path, log = tmp_path / "disk", tmp_path / "log"
        monkeypatch.setattr(qemu_words, "blockdev", lambda disk, index: writelog.blockdev(disk.path, log, index))
        files = reach._files
        monkeypatch.setattr(reach, "_files", lambda *of: [*files(*of), Grant(log, READ | WRITE)])
        args = ("0", str(operations), str(crash.SLOTS))
        spec = VmSpec(
            build(GUESTS / "guest_crash.py"), accel=accel, cards=(), disks=(Disk(path, size=SIZE),), args=args
        )
        with Vm(spec) as vm:
            assert vm.wait(deadline_s=60) == 0
            assert vm.console_text.endswith("the end\n")
            return writelog.read(log), crash.acks(vm.console_text)

    return run


def test_flushes_are_honoured_when_the_power_fails(
    record: Callable[[int], tuple[list[writelog.Entry], list[tuple[int, int]]]],
) -> None:
    entries, acks = record(80)
    assert len(acks) == 80
    crash.judge(entries, acks, SIZE, SEED)


def test_the_judge_would_see_a_disk_that_ignores_flushes(
    record: Callable[[int], tuple[list[writelog.Entry], list[tuple[int, int]]]],
) -> None:
    entries, acks = record(40)
    bad = 0
    for done, image in writelog.crashes(entries, SIZE, random.Random(SEED), each=1, honour=False):
        acked = max((k for k, after in acks if after <= done), default=-1)
        bad += acked >= 0 and crash.faults(image, acked, ahead=4) != []
    assert bad > 10


FAT = """
import os, sys
print("ready")
for k in range(int(sys.argv[1]), 1000):
    with open("/f%d" % k, "wb") as f:
        f.write(b"%06d" % k * (k * 37 % 900 + 1))
    print("ack", k, 0)
"""


def test_closed_files_on_fat_outlive_a_kill(accel: str, build: Callable[..., Path], tmp_path: Path) -> None:
    """FAT promises less: a file that was closed and is not touched again is there; one being written may be lost."""
    rng = random.Random(f"{SEED} {accel} fat")
    script = tmp_path / "app.py"
    script.write_text(FAT + "\nimport vfs\n")
    path = tmp_path / "disk"
    with path.open("wb") as f:
        f.truncate(4 << 20)
    subprocess.run(["mformat", "-i", path, "::"], check=True)
    acked = -1
    for kill in range(max(4, KILLS // 10)):
        said = run_and_kill(
            VmSpec(build(script), accel=accel, cards=(), disks=(Disk(path),), args=(str(acked + 1),)), rng
        )
        if found := crash.acks(said):
            acked = found[-1][0]
        out = tmp_path / f"out{kill}"
        out.mkdir()
        if acked >= 0:
            names = [f"::f{k}" for k in range(acked + 1)]
            subprocess.run(["mcopy", "-i", path, *names, out], check=True, stdin=subprocess.DEVNULL)
        for k in range(acked + 1):
            assert (out / f"f{k}").read_bytes() == b"%06d" % k * (k * 37 % 900 + 1), f"kill {kill}, file {k}"
    assert acked > 0
