# SPDX-License-Identifier: MIT
"""Boot stamps: the guest's, printed as one line on its console, put on the host's clock.

A guest with floe.stamps=1 on its command line prints `floe: stamps {"NAME": MICROSECONDS, ...}`, counted from
kernel entry, right after the last of them. The line is for us: it is taken out of what the user sees.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass

SWITCH = "floe.stamps=1"
_PREFIX = b"floe: stamps "
_MOST = 1000  # bytes of such a line; a guest may write anything there


@dataclass(frozen=True)
class BootTimes:
    """Milliseconds from the start of QEMU to each stamp; None where it was not seen."""

    kernel_entry: float | None = None
    first_python_line: float | None = None
    first_byte: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """For JSON; the first stamp, the start of the VMM, is 0 by definition."""
        return {
            "vmm_start": 0.0,
            "kernel_entry": self.kernel_entry,
            "first_python_line": self.first_python_line,
            "first_byte": self.first_byte,
        }

    def text(self) -> str:
        """One line for people."""
        names = {
            "kernel_entry": "kernel entry",
            "first_python_line": "first Python line",
            "first_byte": "first byte served",
        }
        seen = [
            f"{names[key]} {value:.1f}" for key, value in self.as_dict().items() if value is not None and key in names
        ]
        return "boot, ms since QEMU was started: " + ", ".join(seen)


class StampFilter:
    """Takes the guest's line out of a stream of bytes. The line counts only where it starts a line."""

    def __init__(self) -> None:
        self.times: BootTimes | None = None
        self._held = b""  # the start of a line that may still become ours
        self._at_line_start = True

    def feed(self, data: bytes, arrived_ms: float) -> bytes:
        """Bytes to show for bytes received; arrived_ms: since the start of QEMU."""
        if self.times is not None:
            return data
        data, self._held = self._held + data, b""
        shown = b""
        for line in io.BytesIO(data):  # bytes' own splitlines() ends a line at a carriage return, too
            if self.times is None and self._at_line_start and (line.startswith(_PREFIX) or _PREFIX.startswith(line)):
                if not line.endswith(b"\n") and len(line) <= _MOST:
                    self._held = line
                    break
                self.times = _read(line[len(_PREFIX) :], arrived_ms)
                if self.times is not None:
                    continue
            shown += line
            self._at_line_start = line.endswith(b"\n")
        return shown

    def rest(self) -> bytes:
        """What was held back, once the stream has ended."""
        held, self._held = self._held, b""
        return held


def _read(text: bytes, arrived_ms: float) -> BootTimes | None:
    if len(text) > _MOST:
        return None
    try:
        stamps = json.loads(text)
        last = max(stamps.values()) / 1000
        entry = arrived_ms - last
        python = entry + stamps["python"] / 1000
        if not math.isfinite(entry) or not math.isfinite(python):
            return None
        return BootTimes(round(entry, 2), round(python, 2))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None  # somebody else's line that only looks like ours
