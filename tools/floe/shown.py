# SPDX-License-Identifier: MIT
"""Text of a guest's, or of anybody's, for a terminal that shall show it and not obey it.

An escape sequence can set a terminal's title or clipboard, and make it type an answer at the shell: each control
character but line feed and tab becomes visible, as `cat -v` has it (^[ for escape, \\x9b for a C1 control). A carriage
return stays in front of a line feed. Standard library only.
"""

from __future__ import annotations

import codecs
import re

_CONTROLS = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def shown(text: str) -> str:
    """The text without a control character that acts."""
    return _CONTROLS.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code > 0x7F else f"^{chr(code ^ 0x40)}"


class Stream:
    """Bytes that come in pieces, as text to show; what is not UTF-8 as \\xNN."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""  # a carriage return whose successor is not known yet

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """What can be told of it by now; all of it where it is the last."""
        text = self._held + self._decoder.decode(data, final)
        self._held = "\r" if text.endswith("\r") and not final else ""
        return shown(text[: len(text) - len(self._held)])
