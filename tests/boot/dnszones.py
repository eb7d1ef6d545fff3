# SPDX-License-Identifier: MIT
"""Zones and queries made at random from a seed: every kind of name that an answer can depend on."""

from __future__ import annotations

import random

import dns.message

APEX = "gen.test."
_LABELS = ("a", "b", "c", "mail", "www", "x1", "_tcp", "_sip", "deep", "Upper", "very-long-label-of-a-name", "*")
_TYPES = ("A", "AAAA", "MX", "TXT", "SRV", "CAA", "NS", "PTR", "DS", "TYPE65400", "HINFO")
_TWO_UNITS, _TWO_UNITS_S = "2h30m", 9000
CLASSES = ("IN",) * 40 + ("CH", "HS", "NONE", "CLASS7")
OPCODES = (1, 2, 3, 6, 7, 15)  # without NOTIFY and UPDATE
ASKED = ("A", "AAAA", "MX", "TXT", "SRV", "CAA", "NS", "CNAME", "SOA", "PTR", "DS", "TYPE65400", "DNAME")


class Made:
    """A zone as text, the names in it, and queries about it."""

    def __init__(self, seed: int, names: int) -> None:
        self.random = random.Random(seed)
        self.lines = ["$TTL 1h", f"$ORIGIN {APEX}"]
        self.lines += [
            "@ 7200 IN SOA ns1 host.master ( 7 2h 15m 2w",
            "  600 ) ; minimum",
            " NS ns1",
            " NS ns2.other.test.",
        ]
        self.lines += ["ns1 A 192.0.2.1", " AAAA 2001:db8::1"]
        self.names = ["@", "ns1"]
        self._plain: list[str] = ["@"]
        self._cuts: list[str] = []
        while len(self.names) < names:
            self._add_name()

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    @property
    def for_nsd(self) -> str:
        """The same zone, its TTLs of two units in seconds: nsd 4.12 refuses those, unlike 4.6."""
        return self.text.replace(f" {_TWO_UNITS} ", f" {_TWO_UNITS_S} ")

    def _fresh(self, wild: bool = True) -> str:
        above = self.random.choice(self._plain)
        depth = self.random.choice((1, 1, 1, 2, 3))
        label = self.random.choice(_LABELS if wild else _LABELS[:-1])
        labels = [label if label == "*" else f"{label}{self.random.randrange(30)}"]
        labels += [self.random.choice(_LABELS[:-1]) for _ in range(depth - 1)]
        return ".".join(labels + ([] if above == "@" else [above]))

    def _below_cut(self, name: str) -> bool:
        return any(name.lower() == cut or name.lower().endswith("." + cut) for cut in self._cuts)

    def _add_name(self) -> None:
        name = self._fresh()
        taken = {n.lower() for n in self.names}
        if name.lower() in taken or self._below_cut(name) or len(name) > 150:
            return
        if any(n.endswith("." + name.lower()) for n in taken):
            return  # what is below must not become occluded
        what = self.random.random()
        if what < 0.10:
            target = self.random.choice([*self.names, self._fresh(False), "www.other.test.", name])
            self.lines.append(f"{name} CNAME {_full(target)}")
        elif what < 0.18 and "*" not in name:
            self._delegate(name)
        elif what < 0.21 and "*" not in name:
            self.lines.append(f"{name} DNAME {_full(self.random.choice(self._plain))}")
            self._cuts.append(name.lower())
        else:
            self._records(name)
            self._plain += [] if name.startswith("*") else [name]
        self.names.append(name)

    def _delegate(self, name: str) -> None:
        self._cuts.append(name.lower())
        self.lines += [f"{name} NS ns.{name}", f"ns.{name} 300 A 198.51.100.{self.random.randrange(256)}"]
        if self.random.random() < 0.5:
            self.lines += [
                f"{name} NS ns2.deeper.{name}",
                f"ns2.deeper.{name} AAAA 2001:db8::{self.random.randrange(99)}",
            ]
        if self.random.random() < 0.5:
            self.lines.append(f"{name} NS ns.elsewhere.test.")
        if self.random.random() < 0.5:
            self.lines.append(f"{name} DS 4711 13 2 {self.random.randbytes(32).hex()}")

    def _records(self, name: str) -> None:
        for kind in self.random.sample(_TYPES, self.random.choice((1, 1, 2, 3))):
            if kind in ("NS", "DS"):
                continue
            ttl = self.random.choice(("", "", "300 ", "1d ", "IN ", f"{_TWO_UNITS} IN ", "IN 60 "))
            for _ in range(self.random.choice((1, 1, 2, 4))):
                self.lines.append(f"{name} {ttl}{kind} {self._data(kind)}")
        if self.lines[-1].split()[0] != name:
            self.lines.append(f"{name} TXT none")

    def _data(self, kind: str) -> str:
        r = self.random
        number = r.randrange(65536)
        name = _full(r.choice([*self.names, "far.other.test."]))
        return {
            "A": f"10.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(256)}",
            "AAAA": f"2001:db8:{number:x}::{r.randrange(65536):x}",
            "MX": f"{number} {name}",
            "TXT": f'"text {number}; \\"quoted\\" \\\\ \\200" ' + "(more\n " + "x" * r.randrange(200) + "y )",
            "SRV": f"1 2 {number} {name}",
            "CAA": f'128 issue "ca{number}.test"',
            "PTR": name,
            "TYPE65400": f"\\# 4 {number:08x}",
            "HINFO": f"cpu{number} os",
        }[kind]

    def message(self, names: tuple[str, ...] = ()) -> tuple[bytes, bool]:
        """A query with header, class and EDNS of any kind, and whether it is to go by UDP. names: further ones."""
        r = self.random
        name, kind = self.query()
        if names and r.random() < 0.4:
            name = r.choice(names)
        query = dns.message.make_query(name, "ANY" if r.random() < 0.01 else kind, r.choice(CLASSES))
        query.flags = r.choice((0, 0x0100, 0x0100, r.randrange(0x800) & ~0x20F))  # no TC, no code
        if r.random() < 0.6:
            query.use_edns(0, 0x8000 if r.random() < 0.3 else 0, r.choice((0, 100, 512, 700, 1232, 1400, 4096, 65535)))
        if r.random() < 0.02:
            query.use_edns(r.choice((1, 7, 255)), 0, 1232)
        wire = bytearray(query.to_wire())
        if r.random() < 0.02:
            wire[2] |= r.choice(OPCODES) << 3
        return bytes(wire), r.random() > 0.05

    def query(self) -> tuple[str, str]:
        """A name with its last dot, and a type."""
        r = self.random
        name = _full(r.choice(self.names))
        what = r.random()
        if what < 0.25:
            name = f"{r.choice(('nope', 'x.y', 'a', 'www', '*', 'a.*'))}.{name}"
        elif what < 0.35:
            name = name.split(".", 1)[1]
        elif what < 0.40:
            name = "".join(c.upper() if r.random() < 0.5 else c for c in name)
        elif what < 0.42:
            name = r.choice(("other.test.", "test.", ".", "gen.test.other."))
        return name or ".", r.choice(ASKED)


def _full(name: str) -> str:
    if name.endswith("."):
        return name
    return APEX if name == "@" else f"{name}.{APEX}"
