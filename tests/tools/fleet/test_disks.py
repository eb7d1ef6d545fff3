# SPDX-License-Identifier: MIT
"""tools/floe/fleet/disks.py, by `floe run --host --disk` and `floe host disk`: what a VM wrote stays on its host until
it is removed there, nobody else has a disk meanwhile, and half a disk is none."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from floe.cli import main
from floe.fleet import connection, disks
from floe.fleet.vms import Vms
from tests.support import hostedvms
from tests.support.hostedvms import Build, Hosted
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

FOLDER = "/var/lib/libvirt/floe"
NOTES = """
import os, sys, time, vfs

for line in sys.argv[1:]:
    with open("/notes.txt", "a") as f:
        f.write(line + "\\n")
print(open("/notes.txt").read(), sorted(os.listdir("/")))
if os.getenv("STAY"):
    time.sleep(600)
"""


@pytest.fixture
def floe(known: LibvirtHosts, capsys: pytest.CaptureFixture[str]) -> Iterator[Hosted]:
    try:
        yield from hostedvms.hosted(known, capsys)
    finally:
        for host in (EAST, WEST):
            known.run(host, "bash", "-c", f"rm -f {FOLDER}/disk-* {FOLDER}/half-*")


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    script = tmp_path_factory.mktemp("app") / "notes.py"
    script.write_text(NOTES)
    return build(script)


def listed(floe: Hosted, host: str) -> list[dict[str, object]]:
    found = json.loads(floe("host", "disk", "ls", "--json", host))
    assert isinstance(found, list)
    return found


def disk_of(folder: Path, floe: Hosted, name: str, text: str) -> Path:
    """A disk of this machine with /notes.txt on it."""
    file, source = folder / name, folder / "source"
    floe("disk", "create", file, "--size", "1M")
    source.write_text(text)
    floe("disk", "cp", file, source, ":/notes.txt")
    return file


def said_by(floe: Hosted, host: str, name: str, text: str) -> None:
    end = time.monotonic() + 60
    while text not in (said := floe("logs", "--host", host, name)):
        assert time.monotonic() < end, said
        time.sleep(0.1)


def test_what_is_written_is_there_the_next_time(floe: Hosted, notes: Path, accel: str, tmp_path: Path) -> None:
    for line in ("buy milk", "call home"):  # it is there: not made anew
        floe("run", "--host", EAST, "--accel", accel, "--disk", "notes.img:size=1M", notes, "--", line)
    copy = tmp_path / "copy.img"
    assert floe("host", "disk", "pull", EAST, "notes.img", copy) == f"{copy}\n"
    assert copy.stat().st_size == 1 << 20
    floe("disk", "cp", copy, ":/notes.txt", tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "buy milk\ncall home\n"


HEADER = """
import os, vfs
from floe import BlockDevice

disk = BlockDevice(0)
block = bytearray(512)
header = b"QFI\\xfb\\0\\0\\0\\x02" + (48).to_bytes(8, "big") + (9).to_bytes(4, "big")
header += (16).to_bytes(4, "big") + (1 << 20).to_bytes(8, "big") + bytes(16) + b"/run/fifo"
block[: len(header)] = header
disk.writeblocks(0, block)
disk.ioctl(3, 0)
print("written")
"""


@pytest.mark.any_accel
def test_a_header_that_a_vm_writes_is_only_its_data(floe: Hosted, build: Build, tmp_path: Path) -> None:
    """Of qcow2, whose backing file is a FIFO: a libvirtd that believed it would open that, and hang."""
    script, back = tmp_path / "header.py", tmp_path / "back"
    script.write_text(HEADER)
    floe.hosts.run(EAST, "bash", "-c", "[ -p /run/fifo ] || mkfifo /run/fifo")
    floe("run", "-d", "--host", EAST, "--name", "one", "--disk", "d:size=1M:optional", build(script, dev=True))
    said_by(floe, EAST, "one", "written")
    floe("rm", "--force", "--host", EAST, "one")
    assert [disk["size"] for disk in listed(floe, EAST)] == [1 << 20]
    floe("host", "disk", "pull", EAST, "d", back)
    assert back.read_bytes()[:4] == b"QFI\xfb" and b"/run/fifo" in back.read_bytes()[:512]


ALL = """
import os, vfs

for place in ("/", "/disk1/", "/disk2/"):
    print(place, open(place + "notes.txt").read().strip())
try:
    open("/disk2/new", "w").close()
except OSError as e:
    print("read only:", e.errno == 30)
"""


@pytest.mark.any_accel
@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_several_are_in_their_order(floe: Hosted, build: Build, machine: str, tmp_path: Path) -> None:
    script = tmp_path / "all.py"
    script.write_text(ALL)
    with connection.open(EAST) as host:
        for number in range(3):
            with disk_of(tmp_path, floe, f"d{number}", f"number {number}").open("rb") as file:
                Vms(host).disks.push(f"d{number}", file.fileno())
    words = ("--disk", "d0", "--disk", "d1", "--disk", "d2:ro")
    floe("run", "-d", "--host", EAST, "--name", "all", "--machine", machine, *words, build(script))
    assert "disks   d0 d1 d2:ro" in floe.said
    said_by(floe, EAST, "all", "read only")
    assert floe("logs", "--host", EAST, "all") == ("/ number 0\n/disk1/ number 1\n/disk2/ number 2\nread only: True\n")


@pytest.mark.any_accel
def test_who_writes_a_disk_has_it_alone(
    floe: Hosted, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(floe, "run", "-d", "--host", EAST, "-e", "STAY=1", "--name")
    run("one", "--disk", "d:size=1M", notes, "--", "first")
    assert floe.said.startswith("floe: made the disk d on east, where it stays; floe host disk pull east d ")
    said_by(floe, EAST, "one", "first")
    for option in ("d", "d:ro", "d:size=1M"):
        run("two", "--disk", option, notes, code=125)
        assert floe.said.startswith("floe: the disk d on east is in use by one\n  try: floe stop --host east one")
    with monkeypatch.context() as unseen:  # two start at once: QEMU's lock is what holds
        unseen.setattr(disks.Disks, "_check", lambda *words: None)
        run("two", "--disk", "d", notes, code=125)
        assert floe.said.startswith("floe: the disk d on east is in use\n")
    assert [vm["name"] for vm in floe.ps(EAST)] == ["one"]
    floe("host", "disk", "pull", EAST, "d", tmp_path / "d", code=125)
    assert floe.said.startswith("floe: the disk d on east is written by one\n") and not list(tmp_path.iterdir())
    floe("move", "--host", EAST, "one", WEST, code=125)
    assert "one cannot move while it runs: its disks lie on east" in floe.said
    floe("stop", "--host", EAST, "--timeout", "0", "one")
    floe("host", "disk", "rm", EAST, "d", code=125)
    assert floe.said == "floe: the disk d on east is that of one\n  try: floe rm --host east one, and again\n"
    (disk,) = listed(floe, EAST)
    assert disk["vms"] == [{"name": "one", "running": False, "readonly": False}]
    floe("host", "gc", EAST)
    floe("rm", "--host", EAST, "one")
    assert floe.said == "floe: its disk d stays on east; floe host disk rm east d removes it\n"
    assert floe.files(EAST) == ["disk-d"]


@pytest.mark.any_accel
def test_an_ended_one_starts_again_with_its_disk_unless_another_has_it(floe: Hosted, notes: Path) -> None:
    floe("run", "-d", "--host", EAST, "--name", "one", "--disk", "d:size=1M", notes, "--", "one")
    said_by(floe, EAST, "one", "notes.txt")
    floe("stop", "--host", EAST, "one")
    floe("run", "-d", "--host", EAST, "--name", "two", "-e", "STAY=1", "--disk", "d", notes, "--", "two")
    said_by(floe, EAST, "two", "notes.txt")
    floe("start", "--host", EAST, "one", code=125)
    assert floe.said.startswith("floe: the disk d on east is in use by two\n")
    floe("rm", "--force", "--host", EAST, "two")
    floe("start", "--host", EAST, "one")
    said_by(floe, EAST, "one", "one\ntwo\none\n")


@pytest.mark.any_accel
def test_many_read_one(floe: Hosted, notes: Path, tmp_path: Path) -> None:
    own = disk_of(tmp_path, floe, "shared.img", "to be read\n")
    assert floe("host", "disk", "push", WEST, own, "shared") == "shared\n"
    for name in ("one", "two"):
        floe("run", "-d", "--host", WEST, "-e", "STAY=1", "--name", name, "--disk", "shared:ro", notes)
    for name in ("one", "two"):
        said_by(floe, WEST, name, "to be read")
    floe("run", "-d", "--host", WEST, "--disk", "shared", notes, code=125)
    assert floe.said.startswith("floe: the disk shared on west is in use by one, two\n")
    assert floe("host", "disk", "ls", WEST).splitlines()[1].split()[:2] == ["shared", "1M"]
    floe("host", "disk", "pull", WEST, "shared", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == own.read_bytes()
    floe("rm", "--force", "--host", WEST, "one")
    assert floe.said == ""  # nothing of its own stays


@pytest.mark.any_accel
def test_what_is_no_disk_there(floe: Hosted, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    floe("run", "-d", "--host", EAST, "--disk", "d.img", notes, code=127)
    assert floe.said == (
        "floe: there is no disk d.img on east\n  try: --disk d.img:size=16M makes one; floe host disk ls east\n"
    )
    disk_of(tmp_path, floe, "d.img", "x")
    floe("run", "-d", "--host", EAST, "--disk", "d.img", notes, code=127)
    assert "try: floe host disk push east d.img brings this machine's there; --disk d.img:size" in floe.said
    floe("host", "disk", "push", EAST, "nothing.img", code=127)
    floe("host", "disk", "push", EAST, "d.img", "a/b", code=125)
    assert floe.said.startswith("floe: a/b: no name of a disk on another host\n")
    floe("host", "disk", "push", EAST, "d.img")
    floe("host", "disk", "push", EAST, "d.img", code=125)
    assert floe.said.startswith("floe: east has a disk d.img already\n")
    floe("host", "disk", "pull", EAST, "d.img", code=125)
    assert floe.said.startswith("floe: d.img is there already\n")
    floe("host", "disk", "pull", EAST, "other", code=127)
    floe("host", "disk", "rm", EAST, "other", code=127)
    assert floe.files(EAST) == ["disk-d.img"] and floe.ps(EAST) == []


@pytest.mark.any_accel
def test_half_a_disk_is_none(floe: Hosted, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of who gave up and could tidy up, nothing is left; of who was killed, what is left is told, and goes with gc."""
    own = tmp_path / "d"
    own.write_bytes(os.urandom(6 << 20))
    send = disks.Disks._send

    def given_up(self: disks.Disks, connection: object, name: str, at: int, piece: bytes) -> None:
        if at:
            raise KeyboardInterrupt
        send(self, connection, name, at, piece)

    with monkeypatch.context() as gives_up:
        gives_up.setattr(disks.Disks, "_send", given_up)
        floe("host", "disk", "push", EAST, own, code=130)
        assert floe.files(EAST) == []
        gives_up.setattr(disks.Disks, "_undo", lambda *words: None)  # as if killed
        floe("host", "disk", "push", EAST, own, code=130)
    assert floe.files(EAST) == ["disk-d", "half-d"]
    for words in (["run", "-d", "--disk", "d:size=1M", "--host", EAST, notes], ["host", "disk", "pull", EAST, "d"],
                  ["host", "disk", "push", EAST, own]):  # fmt: skip
        floe(*words, code=125)
        assert floe.said.startswith("floe: the disk d on east is not whole: ")
        assert "floe host disk rm east d, and push it again" in floe.said
    floe("host", "gc", EAST)
    assert floe.files(EAST) == ["disk-d", "half-d"]  # it may still be on its way
    floe.hosts.run(EAST, "bash", "-c", f"cd {FOLDER}; touch -d '1 hour ago' disk-d half-d")
    floe("host", "gc", EAST)
    assert floe.files(EAST) == []


def test_only_what_a_disk_holds_is_read(tmp_path: Path) -> None:
    """Of 4 TiB: reading the rest would take hours."""
    with (tmp_path / "large").open("w+b") as file:
        file.truncate(4 << 40)
        file.seek(1 << 40)
        file.write(b"x")
        file.flush()
        ((at, piece),) = disks._pieces(file.fileno(), 4 << 40)
        assert at == 1 << 40 and piece.startswith(b"x\0")


def test_holes_stay_holes_and_nothing_else_changes(floe: Hosted, tmp_path: Path) -> None:
    own, back = tmp_path / "d", tmp_path / "back"
    size = 256 << 20
    with own.open("wb") as file:
        file.truncate(size)
        for at in (0, (98 << 20) - 700, 200 << 20):
            file.seek(at)
            file.write(os.urandom(900))
    floe("host", "disk", "push", EAST, own)
    assert "; 12.0 MiB were sent" in floe.said  # in pieces of 4 MiB
    (disk,) = listed(floe, EAST)
    assert disk["size"] == size and int(str(disk["used"])) <= 16 << 20
    floe("host", "disk", "pull", EAST, "d", back)
    assert back.stat().st_size == size and back.stat().st_blocks * 512 <= 16 << 20
    with own.open("rb") as one, back.open("rb") as other:
        while piece := one.read(1 << 22):
            assert other.read(1 << 22) == piece


def test_what_is_written_while_it_comes_is_not_taken(
    floe: Hosted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    floe("host", "disk", "push", EAST, disk_of(tmp_path, floe, "d", "x"))
    received = disks._received

    def written(stream: object) -> bytes | int:
        floe.hosts.run(EAST, "touch", f"{FOLDER}/disk-d")
        return received(stream)

    monkeypatch.setattr(disks, "_received", written)
    floe("host", "disk", "pull", EAST, "d", tmp_path / "back", code=125)
    assert floe.said == "floe: the disk d on east was written meanwhile\n  try: again\n"
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("back")]


@pytest.mark.parametrize(("words", "message"), [
    (["--disk", "../d.img"], "--disk ../d.img: a disk of another host has a name, and no path"),
    (["--disk", "d", "--disk", "d:ro"], "--disk d:ro: the same disk is given twice"),
    (["--disk", "d:ro:size=1M"], "--disk d:ro:size=1M: a new disk that cannot be written is of no use"),
])  # fmt: skip
def test_what_is_asked_for_wrongly(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["run", "--host", EAST, *words, "x.py"]) == 125
    assert capsys.readouterr().err.startswith(f"floe: {message}")
