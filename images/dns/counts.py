# SPDX-License-Identifier: MIT
"""How many answers have left, by transport, type of the question and code."""

import rrtype
from message import HEADER

_TYPES = {number: name for name, (number, _) in rrtype.FORMATS.items()}
_TYPES.update({0: "other", 64: "SVCB", 65: "HTTPS", rrtype.IXFR: "IXFR", rrtype.AXFR: "AXFR", rrtype.ANY: "ANY"})
_CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")


class Counts:
    """A cell is a list with a number in it, which who has it adds to: the native code does, too (modules/dns)."""

    def __init__(self) -> None:
        self.cells: dict = {}  # type << 5 | code << 1 | whether by UDP -> cell

    def cell(self, message: bytes, udp: int) -> list:
        """That of an answer; of a query: that of its answer if all is well. udp: 1 or 0."""
        end = message.find(b"\0", HEADER) + 1
        if 0 < end < len(message) - 1:
            udp |= message[end] << 13 | message[end + 1] << 5
        udp |= (message[3] & 15) << 1
        return self.cells.get(udp) or self.add(udp)

    def add(self, key: int) -> list:
        """A cell that is not there yet."""
        return self.cells.setdefault(key if key >> 5 in _TYPES else key & 31, [0])

    def total(self, udp: int) -> int:
        return sum([cell[0] for key, cell in self.cells.items() if key & 1 == udp])

    def values(self) -> list:
        """((transport, type, code), number) of each."""
        return [
            (("udp" if key & 1 else "tcp", _TYPES[key >> 5], _code(key >> 1 & 15)), cell[0])
            for key, cell in self.cells.items()
        ]


def _code(number: int) -> str:
    return _CODES[number] if number < len(_CODES) else "%d" % number
