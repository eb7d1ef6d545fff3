# SPDX-License-Identifier: MIT
"""What dom0 knows of the use that domains make of their machine: `xl list`, once for all."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from floe.xen.places import Place

_SCRIPT = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\nexec xl list\n"
_CHUNK = 1 << 16
# Name, number, MiB, virtual processors, state, seconds of processor time.
_ROW = re.compile(r"(\S.*?)\s+(\d+)\s+(\d+)\s+\d+\s+[a-zA-Z-]+\s+(\d+\.\d+)\s*")


class Row(NamedTuple):
    """A domain. at: when, by time.monotonic()."""

    at: float
    cpu_s: float
    bytes: int


def domains(place: Place, deadline_s: float) -> dict[str, Row]:
    """By the domain's name. Raises OSError and what place.connect() does."""
    ends = time.monotonic() + deadline_s
    said = bytearray()
    with place.connect(_SCRIPT) as sock:
        while True:
            sock.settimeout(max(0.01, ends - time.monotonic()))
            if not (data := sock.recv(_CHUNK)):
                return parse(said.decode("utf-8", "replace"), time.monotonic())
            said += data


def parse(text: str, at: float) -> dict[str, Row]:
    """The rows of xl's table; what is none, as its head and warnings, is left out."""
    rows = [row for line in text.splitlines() if (row := _ROW.fullmatch(line)) is not None]
    return {row[1]: Row(at, float(row[4]), int(row[3]) << 20) for row in rows}
