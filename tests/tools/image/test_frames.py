# SPDX-License-Identifier: MIT
"""frames.py: on a memory made here, that a guest that lies costs no more than one that does not; and on VMs, that what
it says of functions of every kind is what stands in the script."""

from __future__ import annotations

import contextlib
import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.errors import VmError
from floe.hypervisor import registry
from floe.image import frames, vitals
from floe.image.frames import Frame, Program, Reader, Torn, line_at
from floe.image.vitals import Table
from floe.store import vmfolder
from tests.support.vms import Vms, log, until
from tests.tools.image.memory import BASE, SIZE, Memory

WAIT_S = 60
NLR_TOP, POOLS, STACK = BASE + 0x100, BASE + 0x108, (BASE + 0x8000, BASE + 0xC000)
INTERPRETER, KIND = BASE + 0x200, BASE + 0x300
MADE = Program(
    Table(BASE, struct.pack("<2Q", NLR_TOP, POOLS)),
    [INTERPRETER],
    [("mp_execute_bytecode", 0x80)],
    STACK,
    (INTERPRETER, INTERPRETER + 0x80),
    frozenset({KIND}),
)
# What a script may be in: each line marked is one of the stack, from the outermost on.
EVERY_KIND = '''
import asyncio


def endless(a, b, c, d, e, f=6, *more, key, other=8, **rest):
    """A docstring, which is no line of its own in the table."""
    total = 0
    while True:
        total = (total + a + key) % 1000  # 9


def outside(x):
    def inside(y):
        def innermost():
            endless(x, y, 3, 4, 5, key=7)  # 8

        innermost()  # 7

    return inside


class Thing:
    def method(self):
        for _ in generate(self):  # 5
            pass


def generate(thing):
    yield outside(thing is None)(2)  # 6
BLANKS

async def task():
    Thing().method()  # 4


async def main():
    print("at it")
    await asyncio.create_task(task())


asyncio.run(main())  # 1
'''.replace("BLANKS", "\n" * 3000)


@contextlib.contextmanager
def reader(name: str) -> Iterator[Reader]:
    folder = vmfolder.find(name)
    program, known, vm = frames.program(folder.image), vitals.code(folder.image), folder.vm
    assert program is not None and known is not None and vm is not None
    memory = registry.create(folder.spec.hypervisor).memory(vm.pid, folder.spec.memory, folder.spec.machine, known)
    assert memory is not None
    try:
        yield Reader(program, memory.read)
    finally:
        memory.close()


def most_frequent(name: str) -> list[Frame]:
    found: Counter[tuple[Frame, ...]] = Counter()
    with reader(name) as one:
        for _ in range(400):
            with contextlib.suppress(Torn):
                found[tuple(one.stack())] += 1
    assert found.total() > 100
    return list(found.most_common(1)[0][0])


def marked(script: str) -> list[int]:
    """The numbers of the lines that a number is behind, in that one's order."""
    lines = [(int(line.rpartition("# ")[2]), at) for at, line in enumerate(script.split("\n"), 1) if "  # " in line]
    return [at for _, at in sorted(lines)]


def test_functions_of_every_kind_are_named_with_their_lines(vms: Vms, tmp_path: Path, accel: str) -> None:
    script = tmp_path / "kinds.py"
    script.write_text(EVERY_KIND)
    vms.run(script, "--name", "kinds", "--accel", accel)
    until(lambda: "at it" in log("kinds"), "the script", WAIT_S)
    functions = ["<module>", "task", "method", "generate", "inside", "innermost", "endless"]
    until(lambda: len(most_frequent("kinds")) > len(functions), "its loop", WAIT_S)
    stack = most_frequent("kinds")
    own = [frame for frame in stack if frame.file == "kinds.py"]
    assert [(frame.line, frame.function) for frame in own] == list(zip(marked(EVERY_KIND), functions, strict=True))
    asyncio = [frame for frame in stack if frame.file == "asyncio/core.py"]
    assert [frame.function for frame in asyncio] == ["run", "run_until_complete", "_run"]
    assert stack.index(own[0]) < stack.index(asyncio[0]) < stack.index(own[1])


def test_code_compiled_in_the_guest_is_named_too(vms: Vms, tmp_path: Path) -> None:
    script = tmp_path / "made.py"
    code = "def made_here(n):\\n\\n    while True:\\n        n = n + 1 & 255\\n\\nmade_here(1)\\n"
    script.write_text(f'print("at it")\nexec("{code}")\n')
    vms.run(script, "--name", "made", "--accel", "tcg", "--dev", "--no-aslr", "--machine", "q35")
    until(lambda: "at it" in log("made"), "the script", WAIT_S)
    until(lambda: most_frequent("made")[-1].function == "made_here", "its loop", WAIT_S)
    assert most_frequent("made")[-3:] == [
        Frame("made.py", 2, "<module>"),
        Frame("<string>", 6, "<module>"),
        Frame("<string>", 4, "made_here"),
    ]


def test_a_file_that_is_no_image_says_nothing(tmp_path: Path) -> None:
    assert frames.program(tmp_path / "none.elf") is None
    (tmp_path / "text.elf").write_text("text")
    assert frames.program(tmp_path / "text.elf") is None


def test_lines_are_found_as_the_interpreter_finds_them() -> None:
    # 3 bytes: 2 lines further; 15 bytes: 0x345 lines further; 31 bytes and then 3 more of one line: 1 line further.
    table = bytes([2 << 5 | 3, 0x80 | 3 << 4 | 15, 0x45, 0 << 5 | 31, 1 << 5 | 3])
    places = [(0, 1), (2, 1), (3, 3), (17, 3), (18, 3 + 0x345), (51, 3 + 0x345), (52, 4 + 0x345), (9999, 4 + 0x345)]
    assert [line_at(table, offset) for offset, _ in places] == [line for _, line in places]
    assert line_at(b"", 5) == 1
    assert line_at(b"\x8f", 20) == 1  # cut off


def test_addresses_have_the_function_that_they_are_in() -> None:
    program = Program(MADE.table, [10, 20, 30], [("a", 5), ("service_idle", 0), ("c", 4)], STACK, (0, 0), frozenset())
    found = [program.function_at(address) for address in (9, 10, 14, 15, 20, 29, 30, 34)]
    assert found == ["?", "a", "a", "?", "idle", "idle", "c", "?"]


def made() -> Memory:
    """With one frame, of a function f in a.py."""
    memory = Memory()
    catcher, state, function, bytecode, context = (BASE + at for at in (0x9000, 0x9100, 0x1000, 0x1100, 0x1200))
    memory.put(BASE, NLR_TOP, POOLS)
    memory.put(NLR_TOP, catcher, BASE + 0x1300)
    memory.put(catcher, 0, 0, INTERPRETER + 5, state, 0, 0, 0, 0, 0, 0)
    memory.put(state, function, bytecode + 8)
    memory.put(function, KIND, context, 0, bytecode)
    memory.content[0x1100:0x1108] = bytes(
        [0, 2 << 1, 1, 1 << 5 | 2, 0, 0, 0, 0]
    )  # name 1; 2 bytes of line 1, then line 2
    memory.put(context, 0, 0, BASE + 0x1280)
    memory.content[0x1280:0x1284] = struct.pack("<2H", 7, 8)
    memory.put(BASE + 0x1300, 0, 7, 2, 2, 0, 0, BASE + 0x1400, BASE + 0x1440)  # a pool with the names 7 and 8
    memory.content[0x1400:0x1405], memory.content[0x1440:0x1442] = b"a.py\0", b"f\0"
    return memory


def test_a_frame_is_read() -> None:
    assert Reader(MADE, made().read).stack() == [Frame("a.py", 2, "f")]


def test_before_the_interpreter_begins_there_are_no_frames() -> None:
    memory = made()
    memory.put(NLR_TOP, 0)
    assert Reader(MADE, memory.read).stack() == []


@pytest.mark.parametrize("at", [0, 8, STACK[0] - 8, STACK[1], STACK[1] - 16, STACK[0] + 4, 1 << 63])
@pytest.mark.parametrize("where", ["first", "next"])
def test_a_chain_that_leaves_the_stack_is_no_chain(at: int, where: str) -> None:
    memory = made()
    memory.put(NLR_TOP if where == "first" else BASE + 0x9000, at)
    if at == 0:
        assert len(Reader(MADE, memory.read).stack()) == (0 if where == "first" else 1)
    else:
        with pytest.raises(Torn):
            Reader(MADE, memory.read).stack()


def test_a_chain_without_an_end_is_left() -> None:
    memory = made()
    memory.put(BASE + 0x9000, BASE + 0x9000)
    with pytest.raises(Torn):
        Reader(MADE, memory.read).stack()


def test_what_is_no_frame_any_more_is_none() -> None:
    memory = made()
    memory.put(BASE + 0x1000, KIND + 8)  # the function's type
    with pytest.raises(Torn):
        Reader(MADE, memory.read).stack()


@pytest.mark.parametrize("seed", range(50))
def test_a_memory_of_chance(seed: int) -> None:
    chance = random.Random(seed)
    memory = made()
    for _ in range(30 * (seed % 8)):
        at = chance.randrange(0x1000, SIZE, 8)
        memory.put(BASE + at, chance.choice((BASE + chance.randrange(SIZE), chance.getrandbits(64))))
    memory.content[0x1100:0x1140] = chance.randbytes(64)  # the function's bytecode
    with contextlib.suppress(Torn, OSError, struct.error):
        Reader(MADE, memory.read).stack()
    assert memory.reads < 20_000 and memory.bytes < 1 << 22


def test_xen_has_no_way_to_ask() -> None:
    import asyncio

    with pytest.raises(VmError, match="under Xen"):
        asyncio.run(registry.create("xen").instruction())
