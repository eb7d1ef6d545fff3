# SPDX-License-Identifier: MIT
"""floe.elf: what is accepted, and that nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floe.build import pipeline
from floe.errors import ImageRefused, NotFound
from floe.image import elf
from tests.support.command import failure

REPO = Path(__file__).resolve().parents[3]
PHDR = 56  # sizeof(Elf64_Phdr)


@pytest.fixture(scope="module")
def hello() -> Path:
    return pipeline.build(REPO / "images" / "hello").path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elf") / "image.elf"


def phdr(raw: bytes, index: int) -> int:
    (phoff,) = struct.unpack_from("<Q", raw, 32)
    return int(phoff) + index * PHDR


def refused(path: Path, raw: bytes) -> str:
    path.write_bytes(raw)
    with pytest.raises(ImageRefused) as raised:
        elf.read(path)
    assert raised.value.exit_code == 126
    return raised.value.message


def test_hello_is_accepted(hello: Path) -> None:
    read = elf.read(hello)
    assert read.size == hello.stat().st_size
    assert [s.protection for s in read.segments] == ["r-x", "r--", "rw-"]
    assert read.content["name"] == "hello"
    assert read.content["main"] == "main.py"
    assert [f["name"] for f in read.content["frozen"]] == ["boot.py", "main.py"]
    assert [u["name"] for u in read.content["upstream"]] == ["micropython", "libffi"]


def test_binutils_sees_the_same(hello: Path) -> None:
    out = subprocess.run(["readelf", "-nW", str(hello)], capture_output=True, text=True, check=True).stdout
    assert "Xen" in out
    assert out.count("Floe") == 2


def test_writable_and_executable(hello: Path, scratch: Path) -> None:
    raw = bytearray(hello.read_bytes())
    struct.pack_into("<I", raw, phdr(raw, 0) + 4, 7)
    assert "segment at 0x100000 is writable and executable" in refused(scratch, raw)


def test_no_pvh_note(hello: Path, scratch: Path) -> None:
    raw = hello.read_bytes()
    at = raw.index(struct.pack("<II", 4, 4) + struct.pack("<I", 18) + b"Xen\0")
    assert "no PVH note" in refused(scratch, raw[:at] + struct.pack("<III", 4, 4, 19) + raw[at + 12 :])


def test_entry_outside(hello: Path, scratch: Path) -> None:
    raw = hello.read_bytes()
    at = raw.index(struct.pack("<III", 4, 4, 18) + b"Xen\0") + 16
    data_segment = elf.read(hello).segments[1].address
    for entry in (0, data_segment, 0xFFFFFFF0):
        assert "is in no executable segment" in refused(scratch, raw[:at] + struct.pack("<I", entry) + raw[at + 4 :])


def test_entry_of_more_than_32_bits(hello: Path, scratch: Path) -> None:
    """Where a segment is, too: it is entered in 32-bit mode."""
    raw = bytearray(hello.read_bytes())
    at = raw.index(struct.pack("<III", 4, 4, 18) + b"Xen\0")
    struct.pack_into("<I", raw, at + 4, 8)
    struct.pack_into("<I", raw, at + 20, 1)
    struct.pack_into("<Q", raw, phdr(raw, 0) + 24, 1 << 32 | 0x100000)
    assert "its PVH entry 0x1001" in refused(scratch, raw)


def test_no_floe_note(hello: Path, scratch: Path) -> None:
    raw = hello.read_bytes().replace(b"Floe\0", b"Flow\0")
    assert "floe did not build it" in refused(scratch, raw)


def test_changed_byte(hello: Path, scratch: Path) -> None:
    raw = bytearray(hello.read_bytes())
    raw[raw.index(b"hello, world")] ^= 0x20
    assert "not those that floe linked" in refused(scratch, raw)


def test_stripped(hello: Path, scratch: Path) -> None:
    shutil.copy(hello, scratch)
    subprocess.run(["strip", str(scratch)], check=True)
    assert "not those that floe linked" in refused(scratch, scratch.read_bytes())


def test_of_another_width_or_byte_order(scratch: Path) -> None:
    """It is told before what stands in another place then, as the machine of a big-endian one does."""
    arm32 = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0, 0, 0, 0, 52, 0, 0, 0, 0, 0)
    assert "it is a 32-bit ELF, not a 64-bit x86 executable" in refused(scratch, arm32)
    s390 = b"\x7fELF\x02\x02\x01" + bytes(9) + struct.pack(">HHIQQQIHHHHHH", 2, 22, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    assert "it is a big-endian ELF, not a 64-bit x86 executable" in refused(scratch, s390)
    arm64 = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    assert "it is ET_EXEC for machine 183, not a 64-bit x86 executable" in refused(scratch, arm64)
    for place in (4, 5):
        assert "damaged or cut short" in refused(scratch, arm64[:place] + b"\x07" + arm64[place + 1 :])


def test_other_files(scratch: Path, tmp_path: Path) -> None:
    assert "it is no ELF file" in refused(scratch, b"")
    assert "it is no ELF file" in refused(scratch, b"MZ" * 40)
    assert "damaged or cut short" in refused(scratch, b"\x7fELF")
    source = tmp_path / "x.c"
    source.write_text("int main(void) { return 0; }")
    subprocess.run(["gcc", "-static", "-no-pie", "-o", str(scratch), str(source)], check=True)
    assert "no PVH note" in refused(scratch, scratch.read_bytes())
    subprocess.run(["gcc", "-pie", "-o", str(scratch), str(source)], check=True)
    assert "it is ET_DYN" in refused(scratch, scratch.read_bytes())
    with pytest.raises(NotFound):
        elf.read(tmp_path / "nothing")


@pytest.mark.parametrize("command", ["inspect", "run"])
def test_what_has_no_end_or_no_beginning(tmp_path: Path, command: str) -> None:
    """A device or a pipe is not read: the one fills the memory, the other may never be written to."""
    os.mkfifo(tmp_path / "x.elf")
    (tmp_path / "y.elf").symlink_to("/dev/zero")
    for name in ("x.elf", "y.elf"):
        cause, _, _ = failure(command, tmp_path / name, code=126)
        assert cause.endswith("it is no regular file")


def resealed(hello: Path, path: Path, content: bytes) -> Path:
    """The image with another note, and a digest that fits: anybody can write one."""
    raw = hello.read_bytes()
    held = json.dumps(elf.read(hello).content, separators=(",", ":"), sort_keys=True).encode()
    assert raw.count(held) == 1
    assert len(content) <= len(held)
    path.write_bytes(raw.replace(held, content.ljust(len(held))))
    elf.seal(path)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 5},
        {"memory": "32M"},
        {"memory": -1},
        {"frozen": 3},
        {"frozen": [{"name": "x"}]},
        {"data": []},
        {"profile": None},
        {"secrets": "abc"},
        {"format": 2},
    ],
)
def test_a_note_with_a_digest_that_says_what_floe_does_not(
    hello: Path, scratch: Path, changes: dict[str, object]
) -> None:
    content = elf.read(hello).content | {"frozen": [], "modules": []}
    resealed(hello, scratch, json.dumps(content).encode())
    assert elf.read(scratch).content["frozen"] == []
    resealed(hello, scratch, json.dumps(content | changes).encode())
    with pytest.raises(ImageRefused, match="its Floe note is none that this floe reads"):
        elf.read(scratch)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b"9" * 400, b"[" * 200 + b"]" * 200, b"\xff"])
def test_a_note_that_is_no_object(hello: Path, scratch: Path, content: bytes) -> None:
    resealed(hello, scratch, content)
    with pytest.raises(ImageRefused, match="its Floe note is none that this floe reads"):
        elf.read(scratch)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_every_truncation_is_refused(hello: Path, scratch: Path, data: st.DataObject) -> None:
    raw = hello.read_bytes()
    refused(scratch, raw[: data.draw(st.integers(0, len(raw) - 1))])


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_every_mutant_is_refused(hello: Path, scratch: Path, data: st.DataObject) -> None:
    raw = bytearray(hello.read_bytes())
    # Half of the changes go where the structure is: headers, notes, section table.
    place = st.one_of(st.integers(0, 400), st.integers(len(raw) - 1300, len(raw) - 1), st.integers(0, len(raw) - 1))
    for at, bit in data.draw(st.sets(st.tuples(place, st.integers(0, 7)), min_size=1, max_size=4)):
        raw[at] ^= 1 << bit
    refused(scratch, raw)
