# SPDX-License-Identifier: MIT
"""Where things lie in an image, for guests that touch what they may not."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile

from floe.image import names


class Layout:
    """Addresses of an image, from its symbols and its bytes."""

    def __init__(self, elf: Path) -> None:
        with elf.open("rb") as f:
            file = ELFFile(f)
            self.symbols = {symbol.name: symbol.value for symbol in names.read(file) if symbol.name}
            text = file.get_section_by_name(".text")
            self.text, self.code = int(text["sh_addr"]), bytes(text.data())

    def __getitem__(self, place: str) -> int:
        """A symbol, or a symbol and an offset: "link_end+8"."""
        name, _, offset = place.partition("+")
        return self.symbols[name] + int(offset or "0", 0)

    def bytes_in_text(self, *patterns: bytes) -> int:
        """Where the text happens to hold an instruction."""
        found = [at for p in patterns if (at := self.code.find(p)) >= 0]
        assert found, f"no {patterns} in the text"
        return self.text + found[0]
