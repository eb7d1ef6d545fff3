# SPDX-License-Identifier: MIT
"""Names of this network's machines: of DHCP's clients, of reservations and of [hosts], and of their addresses. Stands
where the DNS server of images/dns asks other servers: what is not of here goes on to them."""

import struct

from compose import NOERROR, NXDOMAIN, REFUSED
from dhcpmessage import label
from message import HEADER, Query

_A, _PTR, _ANY = 1, 12, 255
_TTL_S = 60  # a lease may end
_REVERSE = b"\7in-addr\4arpa\0"


class Names:
    """forwarder: a forwarder.Forwarder, or None: other names are refused. access: who may ask. find(domain, name):
    an address, or None; find_name(address): a name in full, or None, False where the address is not of here."""

    def __init__(self, domains: list, access: object, find: object, find_name: object) -> None:
        self.forwarder = None
        self.hits = 0
        self._domains = [(wire(each), each) for each in domains]
        self._access = access
        self._find = find
        self._find_name = find_name

    def answer(self, query: Query, via: object, address: tuple, refuse: object) -> object:
        """As Forwarder.answer()."""
        if query.rclass != 1 or not self._access.allows(address[0], None):
            return refuse(query, REFUSED)
        found = self._local(query)
        if found is not None:
            self.hits += 1
            return found
        if self.forwarder is None:
            return refuse(query, REFUSED)
        return self.forwarder.answer(query, via, address, refuse)

    def _local(self, query: Query) -> bytes | None:
        name = query.name
        for suffix, domain in self._domains:
            if name.endswith(suffix) and _is_label(name, len(name) - len(suffix)):
                size = len(name) - len(suffix)
                address = self._find(domain, _host(name[1:size])) if size else None
                if not size:
                    return _reply(query, NOERROR, b"")
                return _reply(query, NXDOMAIN if address is None else NOERROR, _a(query, address))
            if name == suffix or (len(name) > len(suffix) and name.endswith(suffix) and _ends_label(name, suffix)):
                return _reply(query, NXDOMAIN if name != suffix else NOERROR, b"")
        if name[-1:] == b"\0" and len(name) == name[0] + 2 and name[0]:  # one label: a host of the first domain
            for _, domain in self._domains:
                address = self._find(domain, _host(name[1:-1]))
                if address is not None:
                    return _reply(query, NOERROR, _a(query, address))
        if name.endswith(_REVERSE):
            return self._reverse(query)
        return None

    def _reverse(self, query: Query) -> bytes | None:
        number, at, shift = 0, 0, 0
        name = query.name
        end = len(name) - len(_REVERSE)
        while at < end and shift < 32:
            label = name[at + 1 : at + 1 + name[at]]
            if not label.isdigit() or int(label) > 255:
                return None
            number |= int(label) << shift
            shift += 8
            at += 1 + name[at]
        if at != end or shift != 32:
            return None
        text = self._find_name(number)
        if text is False:
            return None
        if text is None:
            return _reply(query, NXDOMAIN, b"")
        data = wire(text)
        return _reply(query, NOERROR, _record(_PTR, data) if query.rtype in (_PTR, _ANY) else b"")


def wire(name: str) -> bytes:
    """A name whose labels were checked."""
    out = b""
    for part in name.split("."):
        out += bytes((len(part),)) + part.encode()
    return out + b"\0"


def _host(part: bytes) -> str:
    """A label of a question as a machine's name; of DHCP's label() the domain behind a dot, and zeros, are no part."""
    return "" if b"." in part or b"\0" in part else label(part)


def _is_label(name: bytes, size: int) -> bool:
    """Whether what stands before is one label, or nothing."""
    return not size or name[0] == size - 1


def _ends_label(name: bytes, suffix: bytes) -> bool:
    """Whether the suffix begins where a label does."""
    at = 0
    while at < len(name) - len(suffix):
        at += 1 + name[at]
    return at == len(name) - len(suffix)


def _a(query: Query, address: int | None) -> bytes:
    if address is None or query.rtype not in (_A, _ANY):
        return b""
    return _record(_A, address.to_bytes(4, "big"))


def _record(rtype: int, data: bytes) -> bytes:
    return struct.pack(">HHHIH", 0xC000 | HEADER, rtype, 1, _TTL_S, len(data)) + data


def _reply(query: Query, code: int, records: bytes) -> bytes:
    """With authority: nobody else knows these names."""
    opt = query.opt(1232)
    head = struct.pack(
        ">HHHHH", 0x8480 | (query.message[2] & 1) << 8 | code, 1, 1 if records else 0, 0, 1 if opt else 0
    )
    return b"".join((query.message[:2], head, query.message[HEADER : query.end], records, opt))
