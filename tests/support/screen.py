# SPDX-License-Identifier: MIT
"""What a terminal shows of a console's text: enough of ECMA-48 for a line editor (BS, CR, CUB, EL)."""

from __future__ import annotations

import re
import unicodedata

_CONTROL = re.compile(r"\x1b\[(\d*)([DK])|(.)", re.S)


def last_line(text: str) -> tuple[str, int]:
    """The line the cursor is in, and the cursor's column. Characters that are wide take two columns."""
    cells: list[str] = []
    at = 0
    for count, control, char in _CONTROL.findall(text.rpartition("\n")[2]):
        if control == "D":
            at = max(at - int(count or "1"), 0)
        elif control == "K":
            del cells[at:]
        elif char == "\b":
            at = max(at - 1, 0)
        elif char == "\r":
            at = 0
        else:
            taken = [char] + [""] * (unicodedata.east_asian_width(char) in "WF")
            cells[at : at + len(taken)] = taken
            at += len(taken)
    return "".join(cells), at
