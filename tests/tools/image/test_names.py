# SPDX-License-Identifier: MIT
"""names.py: which names an image keeps, that they are where they were, and that what is packed may be damaged."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from floe.build import pipeline
from floe.image import names, symbols, vitals

SOURCE = """
static const int own = 7;
const unsigned long floe_gc_vitals[5] = {1, 2, 3, 4, 5};
static __attribute__((noinline, used)) int inner(int x) { return x * *(const volatile int *)&own; }
int outer(int x) { return inner(x) + 1; }
void _start(void) { outer(1); for (;;) { } }
"""


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A file as GNU ld leaves it."""
    source, out = tmp_path / "source.c", tmp_path / "linked.elf"
    source.write_text(SOURCE)
    how = ("-O1", "-nostdlib", "-static", "-Wl,--build-id=none")
    subprocess.run(["gcc", *how, "-o", str(out), str(source)], check=True, timeout=60)
    return out


def held(path: Path) -> list[names.Symbol]:
    with path.open("rb") as file:
        return names.read(ELFFile(file))


def test_packed_names_are_those_that_were_linked(linked: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.elf"
    shutil.copy(linked, packed)
    names.pack(packed)
    before, after = held(linked), held(packed)
    gone = {symbol.name for symbol in before} - {symbol.name for symbol in after}
    assert gone == {"source.c", "own"}
    assert set(after) == {s for s in before if s.kind != "STT_FILE" and s.name != "own"}
    assert vitals.tables(packed) == vitals.tables(linked) != {}
    inner = next(symbol for symbol in after if symbol.name == "inner")
    assert symbols.symbol_at(packed, inner.value + 2) == "inner+0x2"
    done = subprocess.run(["readelf", "-aW", str(packed)], capture_output=True, text=True, check=True, timeout=20)
    assert done.stderr == ""
    assert ".symtab" not in done.stdout


def test_binutils_reads_what_is_packed(linked: Path, tmp_path: Path) -> None:
    """Local names stand first, as the gABI has it, and the sections are those of the file around it."""
    names.pack(linked)
    with linked.open("rb") as file:
        inner = tmp_path / "inner.elf"
        inner.write_bytes(lzma.decompress(ELFFile(file).get_section_by_name(names.SECTION).data()))
    done = subprocess.run(["readelf", "-SsW", str(inner)], capture_output=True, text=True, check=True, timeout=20)
    assert done.stderr == ""
    listed = subprocess.run(["nm", str(inner)], capture_output=True, text=True, check=True, timeout=20).stdout
    kinds = {line.split()[2]: line.split()[1] for line in listed.splitlines()}
    assert (kinds["inner"], kinds["outer"], kinds["floe_gc_vitals"]) == ("t", "T", "B")
    with inner.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        bindings = [symbol["st_info"]["bind"] for symbol in table.iter_symbols()]
    assert bindings.index("STB_GLOBAL") == table["sh_info"] == bindings.count("STB_LOCAL")


def test_tables_right_behind_the_elf_header_are_packed(linked: Path, tmp_path: Path) -> None:
    """As they stand in what is packed: nothing comes between."""
    names.pack(linked)
    before = held(linked)
    inner = tmp_path / "inner.elf"
    with linked.open("rb") as file:
        inner.write_bytes(lzma.decompress(ELFFile(file).get_section_by_name(names.SECTION).data()))
    names.pack(inner)
    with inner.open("rb") as file:
        assert ELFFile(file).get_section_by_name(".symtab") is None
    assert {s.name for s in held(inner)} == {s.name for s in before} != set()


def test_a_panic_finds_its_function_and_tests_their_places(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text("print(1)\n")
    image = pipeline.build(script).path
    found = held(image)
    assert {"link_text", "link_end", "monitor_gdt", "boot_stack_bottom"} <= {s.name for s in found}
    assert sum(s.kind == "STT_FUNC" and s.binding == "STB_LOCAL" for s in found) > 100
    assert set(vitals.tables(image)) >= {"floe_gc_vitals", "hal_mem_vitals"}


def test_a_file_of_another_form_stays_as_it_is(linked: Path, tmp_path: Path) -> None:
    """Its tables are not at its end, or it has been here before."""
    raw = linked.read_bytes()
    names.pack(linked)
    for number, content in enumerate((linked.read_bytes(), raw + bytes(8), raw[:0x3E] + bytes(2) + raw[0x40:])):
        file = tmp_path / f"{number}.elf"
        file.write_bytes(content)
        names.pack(file)
        assert file.read_bytes() == content


@pytest.mark.parametrize("damage", ["cut", "changed", "no xz", "a bomb", "no ELF", "cut ELF"])
def test_damaged_names_are_none(linked: Path, damage: str) -> None:
    """Whoever wrote the file: no name, no exception, and not more memory than names take."""
    names.pack(linked)
    raw = linked.read_bytes()
    with linked.open("rb") as file:
        header = ELFFile(file).get_section_by_name(names.SECTION).header
    at, size = header.sh_offset, header.sh_size
    content = raw[at : at + size]
    inner = lzma.decompress(content)
    content = {
        "cut": content[: size // 2],
        "changed": content[: size // 2] + bytes([content[size // 2] ^ 0xFF]) + content[size // 2 + 1 :],
        "no xz": bytes(size),
        "a bomb": lzma.compress(inner + bytes(names.MAX_BYTES)),
        "no ELF": lzma.compress(b"x" * 200),
        "cut ELF": lzma.compress(inner[:300]),
    }[damage]
    entry = raw.rindex(at.to_bytes(8, "little") + size.to_bytes(8, "little"))
    moved = len(raw).to_bytes(8, "little") + len(content).to_bytes(8, "little")
    linked.write_bytes(raw[:entry] + moved + raw[entry + 16 :] + content)
    place = 0x401000
    assert symbols.symbol_at(linked, place) is None or damage == "a bomb"
    assert vitals.tables(linked) == {} or damage == "a bomb"
