# SPDX-License-Identifier: MIT
"""Disks of a real Xen host: blkfront against blkback over files, read-only, FAT, RAM; domains destroyed while they write;
backends that go and come back. FLOE_XEN_KILLS is how often a domain is destroyed; FLOE_SEED where chance begins."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.lab import disk as labdisk
from floe.qemu import words as qemu_words
from floe.spec import disks
from floe.xenlab import lab as xen
from tests.support import crash, writelog
from tests.xen import dom0
from tests.xen.dom0 import Domain

GUESTS = Path(__file__).resolve().parents[1] / "target" / "guests"
KILLS = int(os.environ.get("FLOE_XEN_KILLS", "4"))
SEED = int(os.environ.get("FLOE_SEED", "1"))
SIZE = 1 << 20
FOREVER = 1 << 30

App = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("lab")


def vbd(target: str, letter: str = "a", *, access: str = "rw") -> str:
    return f"format=raw,vdev=xvd{letter},access={access},backendtype=phy,target={target}"


@pytest.fixture
def app(build: Callable[..., Path], tmp_path: Path) -> App:
    """app(text) -> ELF of a script with file systems and disks."""

    def make(text: str) -> Path:
        (tmp_path / "main.py").write_text(text)
        (tmp_path / "image.toml").write_text('name = "xendisk"\ndisks = true\n')
        return build(tmp_path)

    return make


@pytest.fixture(scope="session")
def writer(build: Callable[..., Path]) -> Path:
    """Writes files without end, and says what it has synced."""
    return build(GUESTS / "guest_crash.py")


KEEPS = """
import os, vfs, floe
print(floe.BlockDevice(0))
vfs.mount()
n = int(open("/count").read()) if "count" in os.listdir("/") else 0
with open("/count", "w") as f:
    f.write(str(n + 1))
with open("/big%d" % n, "wb") as f:
    for i in range(40):
        f.write(bytes([i + n]) * 5000)
for k in range(n + 1):
    with open("/big%d" % k, "rb") as f:
        assert all(f.read(5000) == bytes([i + k]) * 5000 for i in range(40))
print("count", n)
"""


def test_littlefs_on_a_file_is_there_at_the_next_start(app: App) -> None:
    elf = app(KEEPS)
    path = dom0.disk(4 << 20)
    for n in range(2):
        with Domain(elf, vbd(path)) as domain:
            assert domain.wait() == 0, domain.console()
            said = domain.console()
        assert f"count {n}\n" in said.replace("\r", "")
        assert "<BlockDevice 0: xen-blkfront, 4 MiB in blocks of 512>" in said


def test_nothing_synced_is_lost_when_the_domain_is_destroyed(writer: Path) -> None:
    """The protocol is that of tests/target/test_crash.py: what was acknowledged is there."""
    rng = random.Random(SEED)
    path = dom0.disk(SIZE)
    acked, operations, formatted = -1, 0, False
    for kill in range(KILLS):
        args = f"{acked + 1} {FOREVER} {crash.SLOTS}"
        with Domain(writer, vbd(path), args=args) as domain:
            if rng.random() < 0.85:  # else while it boots, mounts or formats
                domain.expect("ready")
                time.sleep(rng.random())
            else:
                time.sleep(rng.random() * 0.3)
            domain.destroy()
            said = domain.console().replace("\r", "")
        assert "PANIC" not in said and "Traceback" not in said, said[-500:]
        formatted = formatted or "ready\n" in said
        if found := crash.acks(said):
            operations += found[-1][0] - acked
            acked = found[-1][0]
        if formatted:
            assert crash.faults(dom0.get(path), acked) == [], f"kill {kill}, seed {SEED}: {said[-300:]}"
    print(f"{KILLS} kills, {operations} operations")
    assert operations > KILLS  # it was destroyed while it worked


def test_a_sync_is_a_flush_for_the_host(writer: Path) -> None:
    with Domain(writer, vbd(dom0.disk(SIZE)), args=f"0 20 {crash.SLOTS}") as domain:
        assert domain.wait() == 0
        acks = crash.acks(domain.console().replace("\r", ""))
        flushes = int(xen.call(f"cat /sys/bus/xen-backend/devices/vbd-{domain.id}-51712/statistics/f_req"))
    assert len(acks) == 20
    assert flushes >= acks[-1][1] >= 20


def test_flushes_are_honoured_when_the_power_fails(
    writer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk of the lab's machine, whose writes and flushes are recorded."""
    path, log = tmp_path / "disk", tmp_path / "log"
    path.write_bytes(bytes(SIZE))
    monkeypatch.setattr(qemu_words, "blockdev", lambda disk, index: writelog.blockdev(disk.path, log, index))
    disk = labdisk.plug(xen.LAB, disks.Disk(path))
    try:
        with Domain(writer, vbd(disk.target), args=f"0 40 {crash.SLOTS}") as domain:
            assert domain.wait() == 0, domain.console()
            acks = crash.acks(domain.console().replace("\r", ""))
    finally:
        disk.close()
    assert len(acks) == 40
    crash.judge(writelog.read(log), acks, SIZE, SEED)


MANY = """
import floe
for i in range(4):
    d = floe.BlockDevice(i)
    size = d.ioctl(4, 0) * d.ioctl(5, 0)
    buf = bytearray(512)
    d.readblocks(3, buf)
    first = buf[0]
    buf[:] = b"w" * 512
    print("disk", i, size, first, d.writeblocks(3, buf), d.ioctl(3, 0))
"""


def test_several_disks_in_order_and_a_read_only_one(app: App) -> None:
    sizes = [1 << 20, 3 << 19, 1 << 21, 5 << 19]
    paths = [dom0.put(bytes([i + 1]) * size, f"{dom0.FOLDER}/many{i}") for i, size in enumerate(sizes)]
    words = [vbd(path, "abcd"[i], access="ro" if i == 2 else "rw") for i, path in enumerate(paths)]
    optional = " ".join(f"floe.optional={i}" for i in range(4))  # none holds a file system
    with Domain(app(MANY), *reversed(words), words=optional) as domain:
        assert domain.wait() == 0, domain.console()
        said = [line.split()[1:] for line in domain.console().splitlines() if line.startswith("disk")]
    assert [list(map(int, words)) for words in said] == [
        [i, size, i + 1, -30 if i == 2 else 0, 0] for i, size in enumerate(sizes)
    ]
    for i, path in enumerate(paths):
        assert dom0.get(path, 3, 1) == (b"\3" if i == 2 else b"w") * 512


FAT = """
import os, vfs
print(vfs.mount())
assert open("/hello.txt").read() == "from the host"
with open("/answer.txt", "w") as f:
    f.write("from the guest " * 1000)
"""


def test_a_fat_image(app: App, tmp_path: Path) -> None:
    image, text = tmp_path / "fat.img", tmp_path / "hello.txt"
    with image.open("wb") as f:
        f.truncate(4 << 20)
    text.write_text("from the host")
    subprocess.run(["mformat", "-i", image, "::"], check=True)
    subprocess.run(["mcopy", "-i", image, text, "::hello.txt"], check=True)
    path = dom0.put(image.read_bytes(), f"{dom0.FOLDER}/fat")
    with Domain(app(FAT), vbd(path)) as domain:
        assert domain.wait() == 0, domain.console()
        assert "VfsFat" in domain.console()
    image.write_bytes(dom0.get(path))
    subprocess.run(["mcopy", "-n", "-i", image, "::answer.txt", tmp_path], check=True)
    assert (tmp_path / "answer.txt").read_text() == "from the guest " * 1000


PATTERN = """
import floe
d = floe.BlockDevice(0)
a, b = bytearray(200 * 512), bytearray(200 * 512)
for i in range(len(a)):
    a[i] = (i * 7 + (i >> 8)) & 0xFF
d.writeblocks(11, a)
d.ioctl(3, 0)
d.readblocks(11, b)
assert a == b
print("same")
"""


@pytest.mark.parametrize("memory", [8 << 20, 64 << 20])
def test_a_block_device_of_dom0(app: App, memory: int) -> None:
    """A RAM disk; with few bounce pages and with many."""
    with Domain(app(PATTERN), vbd("/dev/ram0"), memory=memory) as domain:
        assert domain.wait() == 0, domain.console()
        assert "same" in domain.console()
    data = dom0.get("/dev/ram0", 11, 200)
    assert data == bytes((i * 7 + (i >> 8)) & 0xFF for i in range(200 * 512))


AWAY = {
    "unbound and bound": "echo {dev} > {bus}/unbind; usleep 700000; echo {dev} > {bus}/bind",
    "closed": "xenstore-write {back}/state 5",
}


@pytest.mark.parametrize("how", AWAY)
def test_a_backend_that_goes_and_comes_back(writer: Path, how: str) -> None:
    """Nothing is lost, and nobody is told: requests wait."""
    path = dom0.disk(SIZE)
    with Domain(writer, vbd(path), args=f"0 {FOREVER} {crash.SLOTS}") as domain:
        domain.expect("ready")
        for _ in range(2):
            acked = crash.acks(domain.console().replace("\r", ""))
            last = acked[-1][0] if acked else 0
            script = AWAY[how].format(
                dev=f"vbd-{domain.id}-51712",
                bus="/sys/bus/xen-backend/drivers/vbd",
                back=f"/local/domain/0/backend/vbd/{domain.id}/51712",
            )
            xen.call(script)
            domain.expect(f"ack {last + 40} ")
        domain.destroy()
        said = domain.console().replace("\r", "")
    assert "Traceback" not in said and "PANIC" not in said
    acked = crash.acks(said)
    assert crash.faults(dom0.get(path), acked[-1][0]) == []


def test_a_disk_that_is_taken_away(writer: Path) -> None:
    with Domain(writer, vbd(dom0.disk(SIZE)), args=f"0 {FOREVER} {crash.SLOTS}") as domain:
        domain.expect("ack 5 ")
        xen.call(f"xl block-detach {domain.name} 51712")
        assert domain.wait() == 1
        said = domain.console()
    assert "xen vbd/51712: the disk was taken away (-19)" in said
    assert "OSError: [Errno 5] EIO" in said
    assert "PANIC" not in said
