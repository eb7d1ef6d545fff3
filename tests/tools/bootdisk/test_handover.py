# SPDX-License-Identifier: MIT
"""The boot disk's kernel: what it tells an image, where it puts it, and what it refuses of loaders and images."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.c.support.harness import BUILD_DEADLINE_S, FLAGS

MIB = 1 << 20
MAGIC = 0x36D76289
TABLE = 0x90000  # where the loader's table lies
RAM, RESERVED, RECLAIMABLE, NVS = 1, 2, 3, 4
MAP = ((0, 0x9F000, RAM), (MIB, 0x7FE0_0000, RAM), (0xFEFF_C000, 0x4000, RESERVED), (4 << 30, 2 << 30, RAM))
RSDP = b"RSD PTR " + bytes(28)
CODE, DATA = b"code" * 1000, b"data" * 100
ROOM = 0x5000  # of the data in memory
HEAD, RAM_SIZE, RAM_MAX = 56, 24, 8


class Told(NamedTuple):
    """What an image is told: RAM as (start, size), and its own memory from 1 MiB on."""

    entry: int
    ram: list[tuple[int, int]]
    rsdp: bytes
    line: bytes
    memory: bytes


def tag(kind: int, body: bytes) -> bytes:
    return (struct.pack("<II", kind, 8 + len(body)) + body).ljust((15 + len(body)) // 8 * 8, b"\0")


def table(*tags: bytes) -> bytes:
    body = b"".join(tags) + tag(0, b"")
    return struct.pack("<II", 8 + len(body), 0) + body


def memory_map(entries: Any = MAP) -> bytes:
    return tag(6, struct.pack("<II", 24, 0) + b"".join(struct.pack("<QQII", *entry, 0) for entry in entries))


def module(at: int, size: int, line: bytes = b"") -> bytes:
    return tag(3, struct.pack("<II", at, at + size) + line + b"\0")


def segment(kind: int, offset: int, at: int, size: int, room: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 7, offset, at, at, size, room, 4096)


def image(
    *more: bytes, at: int = MIB, entry: int = MIB, room: int = ROOM, kind: bytes = b"Xen\0", **head: int
) -> bytes:
    """An ELF of two segments and a PVH note."""
    note = struct.pack("<III", len(kind), 4, 18) + kind + struct.pack("<I", entry)
    segments = [
        segment(1, 4096, at, len(CODE), len(CODE)),
        segment(1, 8192, at + 0x2000, len(DATA), room),
        segment(4, 2048, at, len(note), len(note)),
        *more,
    ]
    fields = {"machine": 62, "offset": 64, "each": 56, "count": len(segments)} | head
    first = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    first += struct.pack("<HHIQQQIHHHHHH", 2, fields["machine"], 1, entry, fields["offset"], 0, 0, 64, fields["each"],
                         fields["count"], 0, 0, 0)  # fmt: skip
    return ((first + b"".join(segments)).ljust(2048, b"\0") + note).ljust(4096, b"\0") + CODE.ljust(4096, b"\0") + DATA


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiled = tmp_path_factory.mktemp("handover") / "handover"
    argv = [shutil.which("gcc") or "clang", *FLAGS, str(Path(__file__).with_name("handover.c")), "-o", str(compiled)]
    subprocess.run(argv, check=True, timeout=BUILD_DEADLINE_S)
    return compiled


def run(program: Path, pieces: dict[int, bytes], eax: int = MAGIC, ebx: int = TABLE, length: int = 0) -> Told | str:
    given = struct.pack("<II", eax, ebx)
    given += b"".join(struct.pack("<II", at, len(piece)) + piece for at, piece in pieces.items())
    done = subprocess.run([program, str(length)], input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    entry, rest = int.from_bytes(done.stdout[:4], "little"), done.stdout[4:]
    if not entry:
        return rest.decode()
    magic, version, flags, modules, _, line, rsdp, ram, count, _ = struct.unpack_from("<IIIIQQQQII", rest)
    assert (magic, version, flags, modules) == (0x336EC578, 1, 0, 0)
    base = 0x50000
    assert (ram, rsdp in (0, ram + RAM_MAX * RAM_SIZE), line) == (base + HEAD, True, base + HEAD + RAM_MAX * 24 + 64)
    regions = [struct.unpack_from("<QQII", rest, HEAD + RAM_SIZE * i) for i in range(count)]
    assert {(kind, zero) for _, _, kind, zero in regions} == {(1, 0)}
    behind = rest[HEAD + RAM_MAX * RAM_SIZE :]
    text = behind[64 : 64 + 4096].partition(b"\0")[0]
    return Told(entry, [r[:2] for r in regions], behind[:64] if rsdp else b"", text, behind[64 + 4096 :])


def placed(program: Path, elf: bytes, at: int, line: bytes = b"", tags: tuple[bytes, ...] = ()) -> Told | str:
    given = table(*(tags or (memory_map(), tag(15, RSDP))), module(at, len(elf), line))
    return run(program, {TABLE: given, at: elf}, length=0x8000)


@pytest.mark.parametrize("at", [0x10000, MIB - 4096, MIB, MIB + 0x1000, MIB + 0x2000, MIB + 0x7000, 64 * MIB])
def test_the_image_lies_where_it_belongs(program: Path, at: int) -> None:
    """Wherever the loader has put the file, as in the way of its own segments."""
    told = placed(program, image(), at, b"env.A=1 -- b")
    assert isinstance(told, Told)
    assert told.entry == MIB
    assert told.memory[: len(CODE)] == CODE
    assert told.memory[0x2000 : 0x2000 + ROOM] == DATA.ljust(ROOM, b"\0")
    assert told.line == b"env.A=1 -- b"
    assert told.rsdp[: len(RSDP)] == RSDP


def test_ram_is_told_joined_and_from_1_mib_on(program: Path) -> None:
    """Whatever its order; and of more regions than an image looks at the largest, its own always."""
    told = placed(program, image(), 64 * MIB)
    assert isinstance(told, Told)
    assert told.ram == [(MIB, 0x7FE0_0000), (4 << 30, 2 << 30)]
    split = [(i * 16 * MIB, (8 + i % 3) * MIB, RAM) for i in range(1, 30)]
    tags = (memory_map([(512 * MIB, MIB, RAM), *split, (0, 4 * MIB, RAM), (4 * MIB, 4 * MIB, NVS)]),)
    told = placed(program, image(), 0x10000, tags=tags)
    assert isinstance(told, Told)
    assert told.ram[0] == (MIB, 7 * MIB)
    assert len(told.ram) == RAM_MAX
    assert told.ram == sorted(told.ram)
    assert {size for _, size in told.ram[1:]} == {10 * MIB}
    assert told.rsdp == b""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'a\\\\b \\"\\" c', b'a\\b "" c'),
        (b'env.A=x "one two" -- y', b"env.A=x one two -- y"),
        (b"x" * 4095, b"x" * 4095),
        (b"end\\", b"end"),
    ],
)
def test_a_line_loses_what_grub_puts_into_it(program: Path, line: bytes, said: bytes) -> None:
    told = placed(program, image(), 64 * MIB, line)
    assert isinstance(told, Told)
    assert told.line == said


ELF = image()
WRONG = [
    ("the loader's table is too large", struct.pack("<II", 2 << 20, 0), ELF),
    ("the loader's table is cut", struct.pack("<IIII", 24, 0, 3, 400) + bytes(8), ELF),
    ("the loader's table is cut", struct.pack("<IIII", 24, 0, 3, 7) + bytes(8), ELF),
    ("there is not one module, the image", table(memory_map()), ELF),
    ("there is not one module, the image", table(memory_map(), module(MIB, 1), module(MIB, 1)), ELF),
    ("there is no map of memory", table(module(64 * MIB, len(ELF))), ELF),
    ("the module is no ELF for x86-64", (), b"\x7fELF\x01\x01".ljust(5000, b"\0")),
    ("the module is no ELF for x86-64", (), image(machine=3)),
    ("the module is no ELF for x86-64", (), image(each=40)),
    ("the module is no ELF for x86-64", (), ELF[:63]),
    ("the image is cut", (), image(offset=len(ELF) - 56)),
    ("the image is cut", (), image(offset=1 << 63)),
    ("the image is cut", (), image(segment(4, len(ELF), 0, 4, 4), kind=b"Abc\0")),
    ("a segment of the image does not fit", (), ELF[:-1]),
    ("a segment of the image does not fit", (), image(at=MIB - 4096)),
    ("a segment of the image does not fit", (), image(at=1 << 30)),
    ("a segment of the image does not fit", (), image(room=1 << 63)),
    ("a segment of the image does not fit", (), image(room=len(DATA) - 1)),
    ("a segment of the image does not fit", (), image(*[segment(1, 0, 8 * MIB, 1, 1)] * 15)),
    ("the image has no PVH entry", (), image(kind=b"Abc\0")),
    ("the image has no PVH entry", (), image(entry=MIB - 1)),
    ("the image has no PVH entry", (), image(entry=MIB + 0x2000 + ROOM)),
    ("the image's place is not all RAM here", table(memory_map(MAP[:1]), module(64 * MIB, len(ELF))), ELF),
    ("the image's place is not all RAM here", table(tag(6, bytes(40)), module(64 * MIB, len(ELF))), ELF),
    ("the image's command line has more than 4095 bytes", (), b""),
]


@pytest.mark.parametrize(("said", "given", "elf"), WRONG)
def test_what_is_wrong_is_said(program: Path, said: str, given: Any, elf: bytes) -> None:
    line = b"x" * 4096 if not elf else b""
    elf = elf or ELF
    given = given or table(memory_map(), module(64 * MIB, len(elf), line))
    assert run(program, {TABLE: given, 64 * MIB: elf}) == said


def test_another_loader_is_refused(program: Path) -> None:
    assert run(program, {}, eax=0x2BADB002) == "the loader does not speak Multiboot2"


def test_too_little_ram_is_said(program: Path) -> None:
    """The file lies where the image belongs, and there is no other place for it."""
    elf = image().ljust(3 * MIB, b"\0")
    tags = (memory_map([(MIB, 0x7000 + 2 * MIB, RAM)]),)
    assert placed(program, elf, MIB, tags=tags) == "there is too little RAM for the image"


def test_no_bytes_do_harm(program: Path) -> None:
    """Tables and images with wrong bytes are refused, or placed; sanitizers watch."""
    chance = random.Random(15)
    good = table(memory_map(), tag(15, RSDP), module(64 * MIB, len(ELF), b"env.A=1"))
    answers = set()
    for _ in range(100):
        both = [bytearray(good), bytearray(ELF)]
        for _ in range(chance.randint(1, 4)):
            one = chance.choice(both)
            one[chance.randrange(min(len(one), 300))] = chance.choice((0, 1, 3, 0x7F, 0xFF, chance.randrange(256)))
        said = run(program, {TABLE: bytes(both[0]), 64 * MIB: bytes(both[1])})
        answers.add(said if isinstance(said, str) else "placed")
    assert {"placed", "the image is cut", "a segment of the image does not fit"} <= answers
