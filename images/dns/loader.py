# SPDX-License-Identifier: MIT
"""Makes a zone of a zone file, and a zone file of a zone."""

import os

import dnsname
from rrtype import SOA
from zone import Zone
from zonefile import Reader, ZoneError

_STEP = 50  # lines read between two turns of others


def open_lines(path: str) -> object:
    """The lines of a file as bytes. Raises OSError at once and not when the first is asked for."""
    return _lines(open(path, "rb"))


def _lines(file: object) -> object:
    with file:
        while True:
            line = file.readline()
            if not line:
                return
            yield line


def steps(name: bytes, path: str) -> object:
    """Load a zone piece by piece: yields None now and then, and at last the zone. Raises ZoneError."""
    zone = Zone(name)
    left = _STEP
    for line, file, record in Reader(name, open_lines).records(path):
        try:
            zone.add(record[0], record[1], record[2], record[3])
        except ValueError as exc:
            raise ZoneError(file, line, str(exc))
        left -= 1
        if not left:
            left = _STEP
            yield None
    try:
        zone.finish()
    except ValueError as exc:
        raise ZoneError(path, 0, str(exc))
    yield zone


def load(name: bytes, path: str) -> Zone:
    """The whole zone at once. Raises ZoneError."""
    made = None
    for step in steps(name, path):
        made = step
    return made


def save(zone: Zone, path: str) -> None:
    """Write a zone to a file that load() reads, which is whole at every time. Raises OSError."""
    new = path + ".new"
    seen = 0
    with open(new, "wb") as file:
        for owner, rtype, ttl, data in zone.records():
            seen += rtype == SOA
            if seen < 2:
                line = "%s %d TYPE%d \\# %d %s\n" % (dnsname.to_text(owner), ttl, rtype, len(data), data.hex())
                file.write(line.encode())
    os.rename(new, path)
