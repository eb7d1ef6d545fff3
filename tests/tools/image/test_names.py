# SPDX-License-Identifier: MIT
"""names.py: which names an image keeps, and that its tables are whole."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile

from floe.build import pipeline
from floe.image import names


def test_a_panic_finds_its_function_and_tests_their_places(tmp_path: Path) -> None:
    """A file's own constants and variables are not in the table; what is asked for by name is, and the file is whole."""
    script = tmp_path / "main.py"
    script.write_text("print(1)\n")
    with pipeline.build(script).path.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        symbols = list(table.iter_symbols())
        sections = {section.name: number for number, section in enumerate(elf.iter_sections())}
    own = {sections[name] for name in (".rodata", ".data", ".bss")}
    local = [s for s in symbols if s["st_info"]["bind"] == "STB_LOCAL"]
    assert not [s.name for s in local if s["st_info"]["type"] == "STT_OBJECT" and s["st_shndx"] in own]
    assert symbols.index(local[-1]) + 1 == table["sh_info"] == len(local)
    assert {"link_text", "link_end", "monitor_gdt", "boot_stack_bottom"} <= {s.name for s in symbols}
    assert sum(s["st_info"]["type"] == "STT_FUNC" for s in local) > 100


def test_a_file_of_another_form_stays_as_it_is(tmp_path: Path) -> None:
    """Its tables are not at its end, or it has been here before."""
    script = tmp_path / "main.py"
    script.write_text("print(1)\n")
    raw = pipeline.build(script).path.read_bytes()
    for number, content in enumerate((raw, raw + bytes(8), raw[:0x3E] + bytes(2) + raw[0x40:])):
        file = tmp_path / f"{number}.elf"
        file.write_bytes(content)
        names.drop_own_data(file)
        assert file.read_bytes() == content
