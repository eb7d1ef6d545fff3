# SPDX-License-Identifier: MIT
"""Runs upstream's mpy-tool.py with three mends that version 1.25 needs.

Of a file's name it takes only the slashes out before it makes C names of it: those of `two,cards.py` do not compile,
and `a/b.py` and `a_b.py` have the same ones. Here every character that C has no use for becomes `_`, and no two modules
share a name.

It writes every float constant in all object representations and packs it into 32 bits for one that we do not use: a
literal beyond single precision (1e300) ends it with OverflowError. Here such a value packs as infinity. Goes away when
upstream packs only what the target uses.

It hashes a string in a number that grows with it, which takes minutes for a megabyte. Here the number keeps the
bits that count.

Run by its path and isolated, so that it imports neither from the working folder nor from floe's own:

    python -I .../floe/mpytool.py .../tools/mpy-tool.py ARGS
"""

from __future__ import annotations

import importlib.util
import math
import re
import struct
import sys
from pathlib import Path
from typing import Any


class _Struct:
    """The two functions of `struct` that mpy-tool uses."""

    unpack = staticmethod(struct.unpack)

    @staticmethod
    def pack(layout: str, *values: Any) -> bytes:
        try:
            return struct.pack(layout, *values)
        except OverflowError:
            if layout != "<f":
                raise
            return struct.pack(layout, math.copysign(math.inf, values[0]))


def name_for_c(tool: Any) -> None:
    """Mend the names that mpy-tool gives to what it writes: frozen_module_NAME, proto_fun_NAME and so on."""
    taken: set[str] = set()
    read_raw_code = tool.read_raw_code

    def clean(name: str) -> str:
        return re.sub(r"[^A-Za-z0-9_]", "_", name)

    class CompiledModule(tool.CompiledModule):  # type: ignore[misc]  # upstream's tool has no types
        def __init__(self, *args: Any) -> None:
            name = clean(args[-1])
            while name in taken:
                name += "_"
            taken.add(name)
            super().__init__(*args[:-1], name)

    tool.CompiledModule = CompiledModule
    tool.read_raw_code = lambda reader, parent, *rest: read_raw_code(reader, clean(parent), *rest)


def compute_hash(text: bytes, size: int) -> int:
    """makeqstrdata's, in time that grows with the length alone. size: of the hash, in bytes."""
    mask = (1 << 8 * (size or 2)) - 1
    value = 5381
    for byte in text:
        value = (value * 33 ^ byte) & mask
    return value or 1


def main() -> None:
    path = Path(sys.argv[1])
    sys.path.insert(0, str(path.parent))  # mpy-tool finds makeqstrdata.py from there
    spec = importlib.util.spec_from_file_location("mpy_tool", path)
    assert spec is not None
    assert spec.loader is not None
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.struct = _Struct
    tool.qstrutil.compute_hash = compute_hash
    sys.set_int_max_str_digits(0)  # of a long number in hexadecimal, say
    name_for_c(tool)
    tool.main(sys.argv[2:])


if __name__ == "__main__":
    main()
