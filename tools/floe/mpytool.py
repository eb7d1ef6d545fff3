# SPDX-License-Identifier: MIT
"""Runs upstream's mpy-tool.py with one mend that it needs on a port with double-precision floats.

Version 1.25 writes every float constant in all object representations and packs it into 32 bits for one that
we do not use: a literal beyond single precision (1e300) ends it with OverflowError. Here such a value packs as
infinity. Goes away when upstream packs only what the target uses.

    python -m floe.mpytool .../tools/mpy-tool.py ARGS
"""

from __future__ import annotations

import importlib.util
import math
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


def main() -> None:
    path = Path(sys.argv[1])
    sys.path[0] = str(path.parent)  # mpy-tool finds makeqstrdata.py from there
    spec = importlib.util.spec_from_file_location("mpy_tool", path)
    assert spec is not None
    assert spec.loader is not None
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.struct = _Struct
    tool.main(sys.argv[2:])


if __name__ == "__main__":
    main()
