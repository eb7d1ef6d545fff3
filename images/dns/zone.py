# SPDX-License-Identifier: MIT
"""One zone: its records as a tree of names, checked as a whole, and what the tree says about a name (RFC 1034, 4.3.2).

A node is a dict of type -> RRset; an RRset is a list: the time to live, then the data of each record. Names between
records that have none of their own (empty non-terminals, RFC 4592) are empty dicts.
"""

import dnsname
from rrtype import CNAME, DNAME, DS, NS, SOA, name_of

# What a name is: there; there, with a CNAME for another type; below a delegation; below a DNAME; not there.
EXACT, ALIAS, REFERRAL, SUBSTITUTE, ABSENT = range(5)
_BESIDE_CNAME = (46, 47, 50)  # RRSIG, NSEC, NSEC3


class Zone:
    """Immutable after finish(). `nodes` has what the zone answers for, `glue` the addresses below delegations."""

    def __init__(self, apex: bytes) -> None:
        self.apex = apex
        self.nodes: dict = {apex: {}}
        self.glue: dict = {}
        self.count = 0  # records

    def add(self, owner: bytes, rtype: int, ttl: int, data: bytes) -> None:
        """Raises ValueError."""
        if not dnsname.is_below(owner, self.apex):
            raise ValueError("%s is not in the zone %s" % (dnsname.to_text(owner), dnsname.to_text(self.apex)))
        if rtype == SOA and owner != self.apex:
            raise ValueError("a SOA that is not of the zone's own name")
        node = self.nodes.get(owner)
        if node is None:
            node = self.nodes[owner] = {}
        rrset = node.get(rtype)
        if rrset is None:
            if node and rtype not in _BESIDE_CNAME and (rtype == CNAME or CNAME in node):
                raise ValueError("%s has a CNAME and other data" % dnsname.to_text(owner))
            node[rtype] = [ttl, data]
        elif data in rrset:
            return
        elif rtype in (SOA, CNAME, DNAME):
            raise ValueError("a second %s of %s" % (name_of(rtype), dnsname.to_text(owner)))
        else:
            rrset.append(data)
        self.count += 1

    def finish(self) -> None:
        """Check what needs all records, and take apart what is not the zone's own. Raises ValueError."""
        top = self.nodes[self.apex]
        if SOA not in top:
            raise ValueError("no SOA for %s" % dnsname.to_text(self.apex))
        if NS not in top:
            raise ValueError("no NS for %s" % dnsname.to_text(self.apex))
        cuts = [n for n, node in self.nodes.items() if DNAME in node or (NS in node and n != self.apex)]
        if cuts:
            self._take_out(frozenset(cuts))
        for owner in list(self.nodes):
            while owner != self.apex:
                owner = dnsname.parent(owner)
                if owner in self.nodes:
                    break
                self.nodes[owner] = {}

    def _take_out(self, cuts: frozenset) -> None:
        """Move what is below a delegation to the glue, drop what is below a DNAME."""
        for owner in list(self.nodes):
            top = None
            name = owner
            while name != self.apex:
                name = dnsname.parent(name)
                if name in cuts:
                    top = name  # the highest one counts
            if top is not None:
                node = self.nodes.pop(owner)
                if DNAME not in self.nodes.get(top, ()):
                    self.glue[owner] = node

    def soa(self) -> list:
        return self.nodes[self.apex][SOA]

    def serial(self) -> int:
        return int.from_bytes(self.soa()[1][-20:-16], "big")

    def timers(self) -> tuple:
        """Refresh, retry and expire of the SOA, in seconds."""
        data = self.soa()[1]
        return tuple([int.from_bytes(data[at : len(data) + at + 4], "big") for at in (-16, -12, -8)])

    def find(self, name: bytes, rtype: int) -> tuple:
        """What the zone says about a name in it: (kind, name of the node, node). For ABSENT, the node is that of
        the wildcard or None; the name is then that of the closest encloser."""
        node = self.nodes.get(name)
        if node is not None:
            if NS in node and name != self.apex and rtype != DS:
                return REFERRAL, name, node
            if CNAME in node and rtype not in node:
                return ALIAS, name, node
            return EXACT, name, node
        while node is None:
            name = dnsname.parent(name)
            node = self.nodes.get(name)
        if NS in node and name != self.apex:
            return REFERRAL, name, node
        if DNAME in node:
            return SUBSTITUTE, name, node
        return ABSENT, name, self.nodes.get(b"\x01*" + name)

    def addresses(self, name: bytes) -> dict:
        """The node that has addresses of a name server, wherever in the zone it is."""
        return self.glue.get(name) or self.nodes.get(name) or {}

    def records(self) -> object:
        """Yields (owner, type, ttl, data) of all records, the SOA first and last, as a zone transfer has them."""
        soa = self.soa()
        yield self.apex, SOA, soa[0], soa[1]
        for nodes in (self.nodes, self.glue):
            for owner, node in nodes.items():
                for rtype, rrset in node.items():
                    if rtype == SOA:
                        continue
                    for data in rrset[1:]:
                        yield owner, rtype, rrset[0], data
        yield self.apex, SOA, soa[0], soa[1]
