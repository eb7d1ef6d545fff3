# SPDX-License-Identifier: MIT
"""Disks in a VM: mounted by what they hold, written here and read by other programs on the host, and the other way."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest
from littlefs import LittleFS, UserContext

from floe.build import pipeline
from floe.image import elf
from floe.qemu import words as qemu_words
from floe.testing import Boot, Guest

GUESTS = Path(__file__).resolve().parent / "guests"
FILES = GUESTS / "guest_files.py"

WRITE = """
import os, sys, vfs
print("mounted", [(type(fs).__name__, where) for fs, where in vfs.mount()])
top = sys.argv[1]
os.mkdir(top + "folder")
with open(top + "folder/text.txt", "w") as f:
    f.write("from the guest\\n")
with open(top + "large.bin", "wb") as f:
    for i in range(100):
        f.write(bytes([i]) * 3001)
os.sync()
print("written")
"""

READ = """
import os, sys, vfs
print("mounted", [(type(fs).__name__, where) for fs, where in vfs.mount()])
for top in sys.argv[1:]:
    print(sorted(os.listdir(top)), open(top + "from-host.txt").read())
    with open(top + "big.bin", "rb") as f:
        n = 0
        while True:
            piece = f.read(5000)
            if not piece:
                break
            assert piece == bytes((i * 7) & 0xff for i in range(n, n + len(piece))), n
            n += len(piece)
    print(top, n)
"""

BIG = bytes(i * 7 & 0xFF for i in range(100_000))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "app.py"


def disk(path: Path, size: int = 4 << 20) -> Path:
    with path.open("wb") as f:
        f.truncate(size)
    return path


def littlefs(path: Path, block_size: int) -> LittleFS:
    """The littlefs on a disk, as the host's own littlefs sees it."""
    return LittleFS(
        UserContext(buffer=bytearray(path.read_bytes())),
        block_size=block_size,
        block_count=path.stat().st_size // block_size,
    )


def make_littlefs(path: Path, block_size: int, size: int = 2 << 20) -> Path:
    fs = LittleFS(block_size=block_size, block_count=size // block_size)
    with fs.open("from-host.txt", "w") as f:
        f.write("littlefs of the host")
    with fs.open("big.bin", "wb") as f:
        f.write(BIG)
    path.write_bytes(bytes(fs.context.buffer))
    return path


def make_fat(path: Path, *options: str, size: int = 4 << 20) -> Path:
    disk(path, size)
    subprocess.run(["mformat", "-i", path, *options, "-v", "FLOE", "::"], check=True)
    (path.parent / "from-host.txt").write_text("FAT of the host")
    (path.parent / "big.bin").write_bytes(BIG)
    names = [path.parent / "from-host.txt", path.parent / "big.bin"]
    subprocess.run(["mcopy", "-i", path, *names, "::"], check=True)
    return path


def ended(vm: Guest) -> str:
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text
    return vm.console_text


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_a_blank_disk_becomes_littlefs_that_the_host_can_read(
    boot: Boot, script: Path, tmp_path: Path, machine: str
) -> None:
    script.write_text(WRITE)
    path = tmp_path / "d"
    said = ended(boot(script, deadline_s=30, args=("/",), disks=[f"{path}:size=4M"], machine=machine))
    assert "mounted [('VfsLfs2', '/')]\nwritten\n" in said
    fs = littlefs(path, 16384)
    with fs.open("folder/text.txt") as f:
        assert f.read() == "from the guest\n"
    with fs.open("large.bin", "rb") as f:
        assert f.read() == b"".join(bytes([i]) * 3001 for i in range(100))


@pytest.mark.parametrize("block_size", [512, 4096, 65536])
def test_littlefs_of_the_host(boot: Boot, script: Path, tmp_path: Path, block_size: int) -> None:
    script.write_text(READ)
    path = make_littlefs(tmp_path / "d", block_size)
    said = ended(boot(script, deadline_s=30, args=("/",), disks=[str(path)]))
    assert "['big.bin', 'from-host.txt'] littlefs of the host\n/ 100000\n" in said


@pytest.mark.parametrize("options", [(), ("-F",)], ids=["fat16", "fat32"])
def test_fat_of_the_host_and_back(boot: Boot, script: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    path = make_fat(tmp_path / "d", *options, size=40 << 20 if options else 4 << 20)
    script.write_text(READ)
    said = ended(boot(script, deadline_s=30, args=("/",), disks=[str(path)]))
    assert "('VfsFat', '/')" in said
    assert "['big.bin', 'from-host.txt'] FAT of the host\n/ 100000\n" in said
    writer = script.with_name("writer.py")  # an image is built once per script
    writer.write_text(WRITE)
    ended(boot(writer, deadline_s=30, args=("/",), disks=[str(path)]))
    shown = subprocess.run(["mtype", "-i", path, "::folder/text.txt"], capture_output=True, text=True, check=True)
    assert shown.stdout == "from the guest\n"
    large = subprocess.run(["mtype", "-i", path, "::large.bin"], capture_output=True, check=True).stdout
    assert large == b"".join(bytes([i]) * 3001 for i in range(100))


def test_several_disks_and_one_that_is_neither(boot: Boot, script: Path, tmp_path: Path) -> None:
    script.write_text(READ)
    raw = disk(tmp_path / "raw")
    raw.write_bytes(b"\0" * 70000 + b"somebody's data" + b"\0" * ((1 << 20) - 70015))
    before = raw.read_bytes()
    disks = [str(make_littlefs(tmp_path / "l", 4096)), str(make_fat(tmp_path / "f")), f"{raw}:optional"]
    said = ended(boot(script, deadline_s=30, args=("/", "/disk1/"), disks=disks))
    assert "floe: disk 2 holds neither littlefs2 nor FAT; it is left alone\n" in said
    assert "littlefs of the host\n" in said and "FAT of the host\n/disk1/ 100000\n" in said
    assert raw.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("grown", "has 4194304 bytes, its littlefs2 2097152: floe disk grow FILE, on the host\n"),
        ("shrunk", "has 1048576 bytes, its littlefs2 2097152: the end is lost, take it from a copy\n"),
        ("FAT", "has 131072 bytes, its FAT 4194304: the end is lost, take it from a copy\n"),
        ("unknown", "holds neither littlefs2 nor FAT; it is left alone\n"),
    ],
)
def test_a_disk_that_cannot_be_mounted_ends_the_vm(
    boot: Boot, script: Path, tmp_path: Path, kind: str, words: str
) -> None:
    script.write_text("import vfs\nprint('started')\n")
    path = make_fat(tmp_path / "d") if kind == "FAT" else make_littlefs(tmp_path / "d", 4096)
    if kind == "unknown":
        path.write_bytes(b"somebody's data" * 5000 + b"\0" * 776)
    else:
        with path.open("r+b") as f:
            f.truncate({"grown": 4 << 20, "shrunk": 1 << 20, "FAT": 128 << 10}[kind])
    before = path.read_bytes()
    vm = boot(script, deadline_s=20, disks=[str(path)])
    assert vm.wait() == 119
    assert vm.console_text == (
        f"floe: disk 0 {words}floe: the script was not started; --disk FILE:optional starts it without that disk\n"
    )
    vm = boot(script, deadline_s=20, disks=[f"{path}:optional"])
    assert vm.wait() == 0
    assert vm.console_text == f"floe: disk 0 {words}started\n"
    assert path.read_bytes() == before


def test_read_only(boot: Boot, script: Path, tmp_path: Path) -> None:
    paths = [make_littlefs(tmp_path / "l", 4096), make_fat(tmp_path / "f"), disk(tmp_path / "blank")]
    before = [path.read_bytes() for path in paths]
    script.write_text(
        "import os, vfs\n"
        "for top in ('/', '/disk1/'):\n"
        "    print(open(top + 'from-host.txt').read())\n"
        "    for what in (lambda: open(top + 'new', 'w'), lambda: os.remove(top + 'from-host.txt'),\n"
        "                 lambda: os.mkdir(top + 'd')):\n"
        "        try:\n"
        "            what()\n"
        "            print('written!')\n"
        "        except OSError as e:\n"
        "            print('refused', e.errno)\n"
        "import floe\n"
        "d = floe.BlockDevice(0)\n"
        "print(d.readonly, d.writeblocks(0, bytes(512)), d.ioctl(6, 0))\n"
    )
    said = ended(boot(script, deadline_s=30, disks=[f"{path}:ro:optional" for path in paths]))
    assert said.count("refused 30\n") + said.count("refused 13\n") + said.count("refused 1\n") == 6, said
    assert "written!" not in said
    assert "True -30 -30\n" in said
    assert "disk 2 holds neither" in said
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize("kind", ["VfsLfs2", "VfsFat"])
def test_files(boot: Boot, tmp_path: Path, kind: str) -> None:
    path = disk(tmp_path / "d", 1 << 20) if kind == "VfsLfs2" else make_fat(tmp_path / "d", size=2 << 20)
    vm = boot(FILES, deadline_s=60, args=(kind,), disks=[str(path)])
    assert ended(vm).endswith("all done\n")


def test_block_devices(boot: Boot, tmp_path: Path) -> None:
    """The raw device: every form of the block protocol, its ends, and what is written is there."""
    path = disk(tmp_path / "d", 1 << 20)
    assert ended(boot(GUESTS / "guest_blockdev.py", deadline_s=30, disks=[str(path)])).endswith("all done\n")
    raw = path.read_bytes()
    assert raw[512 * 100 : 512 * 100 + 5] == b"first"
    assert raw[512 * 2047 :] == b"z" * 512


def test_without_disks_nothing_is_mounted_in_a_sealed_image(boot: Boot, script: Path) -> None:
    script.write_text("import sys, vfs\nprint(vfs.mount(), sys.path)\n")
    assert ended(boot(script, deadline_s=10)) == "[] ['.frozen']\n"


def test_a_sealed_image_imports_nothing_from_a_disk(boot: Boot, script: Path, tmp_path: Path) -> None:
    fs = LittleFS(block_size=4096, block_count=64)
    for name in ("asyncio.py", "evil.py"):
        with fs.open(name, "w") as f:
            f.write("print('loaded from the disk')\n")
    (tmp_path / "d").write_bytes(bytes(fs.context.buffer))
    script.write_text(
        "import vfs, asyncio\nname = 'evil'\ntry:\n    __import__(name)\nexcept ImportError as e:\n    print(e)\n"
    )
    said = ended(boot(script, deadline_s=10, disks=[str(tmp_path / "d")]))
    assert said == "no module named 'evil'\n"


def test_a_dev_image_imports_from_its_disk(boot: Boot, script: Path, tmp_path: Path) -> None:
    fs = LittleFS(block_size=4096, block_count=64)
    fs.mkdir("lib")
    with fs.open("lib/gadget.py", "w") as f:
        f.write("print('loaded from the disk')\n")
    (tmp_path / "d").write_bytes(bytes(fs.context.buffer))
    script.write_text("import gadget\n")  # a warning where it is built: it may lie on the disk
    vm = boot(script, deadline_s=10, dev=True, disks=[str(tmp_path / "d")])
    vm.expect_exact("loaded from the disk\n")


FAILING = """
import floe, os, vfs
vfs.umount("/")
d = floe.BlockDevice(0)
print("read", d.readblocks(1000, bytearray(512)), "write", d.writeblocks(1000, bytes(512)))
try:
    print("flush", d.ioctl(3, 0))
except OSError as e:
    print("flush", -e.errno)
d.readblocks(0, bytearray(16), 16)
print("littlefs's flush", d.ioctl(3, 0))
print("read again", d.readblocks(1000, bytearray(512)))
"""


@pytest.mark.parametrize(
    ("kind", "errno", "said"),
    [
        ("read", 5, "read -5 write 0\nflush 0\nlittlefs's flush 0\n"),
        ("write", 28, "read 0 write -5\nflush 0\nlittlefs's flush 0\n"),
        ("flush", 5, "read 0 write 0\nflush -5\nlittlefs's flush -5\n"),
    ],
)
def test_a_disk_of_the_host_that_fails(
    boot: Boot, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, errno: int, said: str
) -> None:
    """Errors of the host, a full file system among them, are the guest's to handle: it is not stopped."""
    path = disk(tmp_path / "d")
    script.write_text("import vfs\n")
    ended(boot(script, deadline_s=20, disks=[str(path)]))  # formatted
    file = {"driver": "file", "filename": str(path)}
    # The sector that the script asks for; flushes have none.
    rule: dict[str, object] = {"event": "none", "iotype": kind, "errno": errno, "immediately": True}
    rule |= {} if kind == "flush" else {"sector": 1000}
    node = {"driver": "blkdebug", "node-name": "disk0", "image": file, "inject-error": [rule]}
    monkeypatch.setattr(qemu_words, "blockdev", lambda disk, index: json.dumps(node))
    failing = script.with_name("failing.py")
    failing.write_text(FAILING)
    assert said in ended(boot(failing, deadline_s=20, disks=[str(path)]))


def test_files_outlive_a_reset_of_the_machine(boot: Boot, script: Path, tmp_path: Path) -> None:
    script.write_text(
        "import os, vfs, machine\n"
        "if 'n' in os.listdir('/'):\n    print('kept', open('/n').read())\n"
        "else:\n    with open('/n', 'w') as f:\n        f.write('before')\n    machine.reset()\n"
    )
    vm = boot(script, deadline_s=20, disks=[f"{tmp_path}/d:size=1M"])
    assert vm.wait() == 0
    assert vm.console_text == "kept before\n"
    assert vm.resets == 1


DAMAGED = """
import os, vfs
def walk(top):
    for name, kind, *_ in os.ilistdir(top):
        try:
            with open(top + name, "rb") as f:
                while f.read(4096):
                    pass
        except OSError as e:
            print("refused", e.errno)
try:
    walk("/")
    with open("/new", "w") as f:
        f.write("x" * 5000)
except OSError as e:
    print("refused", e.errno)
print("survived")
"""


@pytest.mark.parametrize("flips", [1, 20, 400])
@pytest.mark.parametrize("kind", ["littlefs", "fat"])
def test_a_damaged_disk_is_an_error_at_most(boot: Boot, script: Path, tmp_path: Path, kind: str, flips: int) -> None:
    script.write_text(DAMAGED)
    path = make_littlefs(tmp_path / "d", 4096) if kind == "littlefs" else make_fat(tmp_path / "d")
    raw = bytearray(path.read_bytes())
    used = [at for at in range(0, len(raw), 512) if any(raw[at : at + 512])]
    rng = random.Random(flips)
    for _ in range(flips):
        raw[rng.choice(used) + rng.randrange(512)] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
    said = ended(boot(script, deadline_s=20, disks=[f"{path}:optional"]))
    assert said.endswith("survived\n")
    assert "Traceback" not in said


def test_an_image_that_says_disks_and_only_opens_files(boot: Boot, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "image.toml").write_text('name = "opens"\ndisks = true\n')
    (folder / "main.py").write_text("with open('/f', 'w') as f:\n    print(f.write('text'))\n")
    assert ended(boot(folder, deadline_s=20, disks=[f"{tmp_path}/d:size=1M"])) == "4\n"
    held = elf.read(pipeline.build(folder).path).content
    assert "virtio-blk" in held["drivers"] and "_disks.py" in [f["name"] for f in held["frozen"]]
    assert {"littlefs", "FatFs"} <= {part["name"] for part in held["upstream"]}
    assert "asyncio" not in held["modules"] and "network" not in held["modules"]
