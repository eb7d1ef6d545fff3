# SPDX-License-Identifier: MIT
"""Makes a zone of a zone file."""

from zone import Zone
from zonefile import Reader, ZoneError


def open_lines(path: str) -> object:
    """The lines of a file as bytes; a line that has no end is one, too."""
    with open(path, "rb") as file:
        while True:
            line = file.readline()
            if not line:
                return
            yield line


def load(name: bytes, path: str) -> Zone:
    """Raises ZoneError."""
    zone = Zone(name)
    add = zone.add
    for line, file, record in Reader(name, _open_checked).records(path):
        try:
            add(record[0], record[1], record[2], record[3])
        except ValueError as exc:
            raise ZoneError(file, line, str(exc))
    try:
        zone.finish()
    except ValueError as exc:
        raise ZoneError(path, 0, str(exc))
    return zone


def _open_checked(path: str) -> object:
    open(path, "rb").close()  # a generator would find out too late
    return open_lines(path)
