# SPDX-License-Identifier: MIT
"""Zones that belong together: a parent and its child on one server, aliases from one to the other, every type."""

from __future__ import annotations

_HEAD = (
    "$TTL 1h\n@ SOA ns1 host.master 3 2h 15m 2w 7m\n NS ns1\n NS ns.far.example.\nns1 A 192.0.2.1\n AAAA 2001:db8::1\n"
)
_INCLUDED = "$TTL 600\n$ORIGIN inc.parent.test.\n@ TXT included\nhost A 192.0.2.99\n*.w A 192.0.2.98\n"
_PARENT = (
    _HEAD
    + """inc NS ns.inc
child NS ns1.child
child NS ns.parent.test.
child DS 4711 13 2 ( 00112233445566778899aabbccddeeff
   00112233445566778899aabbccddeeff )
ns1.child A 192.0.2.3
ns A 192.0.2.4
cut NS ns.cut
cut NS ns.inside.of.cut
cut NS ns.outside.example.
cut DS 1 8 1 0011223344556677889900112233445566778899
ns.cut A 198.51.100.1
ns.inside.of.cut AAAA 2001:db8:1::1
lame NS nowhere.parent.test.
to-child CNAME www.child
to-child2 CNAME to-child
to-other CNAME www.other.test.
to-cut CNAME www.cut
to-nothing CNAME not.there
to-wild CNAME a.b.wild
to-ent CNAME x.ent
loop1 CNAME loop2
loop2 CNAME loop1
self CNAME self
c1 CNAME c2
c2 CNAME c3
c3 CNAME c4
c4 CNAME target
target A 192.0.2.5
target A 192.0.2.6
a.b.c.ent TXT deep
*.wild A 192.0.2.7
*.wild TXT "wild one" "two"
*.sub.wild MX 5 mail
here.wild AAAA 2001:db8::7
x.y.wild TXT under
*.wcname CNAME target
*.wchain CNAME x.wcname
*.wcut CNAME www.cut
*.*.star TXT stars
old DNAME new
www.new A 192.0.2.8
a.b.new CNAME www.new
longer DNAME xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.new
d1 DNAME d2
d2 DNAME new
to-old CNAME www.old
away DNAME other.test.
mail MX 0 .
mx MX 10 mail
mx MX 20 MX2.Parent.Test.
mx MX 20 mx.other.test.
mx2 A 192.0.2.9
_s._tcp SRV 1 2 3 target
_s._tcp SRV 0 0 0 .
ptr PTR target.parent.test.
caa CAA 0 issue "ca.example; account=1"
caa CAA 128 iodef "mailto:x@example"
naptr NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:x@y!" .
rp RP me.parent.test. txt.parent.test.
afsdb AFSDB 1 target
sshfp SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
tlsa TLSA 3 1 1 0011223344556677889900112233445566778899001122334455667788990011
dnskey DNSKEY 256 3 13 AAECAwQFBgcICQoLDA0ODw==
unknown TYPE65333 \\# 5 0102030405
unknown TYPE731 \\# 0
unknown A \\# 4 c0000263
long TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
"""
    + "".join(f'long TXT "{i}" "{"abcdefghij" * 25}"\n' for i in range(9))
    + "".join(f"many A 10.0.{i}.1\nmanyns NS ns{i}.manyns\nns{i}.manyns A 10.1.{i}.1\n" for i in range(40))
    + "".join(f"mx-many MX {i} host{i}.a-long-name-of-{i}.example.\n" for i in range(25))
    + "ttl0 0 A 192.0.2.10\nttlmax 2147483647 A 192.0.2.11\nesc\\.dot A 192.0.2.12\nesc\\000nul TXT \\007\nUPPER.Case A 192.0.2.13\n"
)
ZONES = {
    "parent.test.": _PARENT,
    "child.parent.test.": _HEAD + "www A 192.0.2.20\n*.w CNAME www\nback CNAME target.parent.test.\n",
    "other.test.": _HEAD + "www A 192.0.2.30\nwww.x A 192.0.2.31\nmx A 192.0.2.32\nback CNAME to-other.parent.test.\n",
    "2.0.192.in-addr.arpa.": _HEAD + "".join(f"{i} PTR h{i}.parent.test.\n" for i in range(1, 40)),
}
INCLUDING = ("inc.parent.test.", "$TTL 600\n@ SOA ns host 1 2 3 4 5\n@ NS ns\n$INCLUDE {file}\n")
INCLUDED = _INCLUDED


def names() -> tuple[str, ...]:
    """Every owner, what is above and below it, and its neighbours."""
    found = set()
    for apex, text in ZONES.items():
        owners = {line.split()[0] for line in text.splitlines() if line[:1] not in (" ", "$", "@")}
        for owner in owners | {""}:
            name = f"{owner}.{apex}" if owner else apex
            found |= {
                name,
                f"x.{name}",
                f"a.b.{name}",
                f"*.{name}",
                f"www.{name}",
                name.upper(),
                name.partition(".")[2],
            }
            found |= {f"c.{name}", f"x.{name.partition('.')[2]}"}
    found |= {"host.inc.parent.test.", "q.w.inc.parent.test.", "inc.parent.test.", "test.", "."}
    found |= {f"{'y' * 60}.{'z' * 60}.longer.parent.test.", f"{'y' * 60}.{'z' * 60}.{'w' * 60}.longer.parent.test."}
    return tuple(sorted(name for name in found if name))
