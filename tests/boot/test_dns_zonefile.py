# SPDX-License-Identifier: MIT
"""images/dns reads zone files: every form of a record, and of each error the file, the line and the cause."""

from __future__ import annotations

from pathlib import Path

import dns.name
import dns.zone
import pytest

from tests.boot import dnsguest
from tests.boot.dnszones import APEX, Made

assert dnsguest.IMAGE  # puts the image's folder into sys.path

import dnsname  # noqa: E402 - the path first
import loader  # noqa: E402 - the path first
import rrtype  # noqa: E402 - the path first
import zonefile  # noqa: E402 - the path first

HEAD = "@ 1h IN SOA ns host 1 2 3 4 5\n@ NS ns\n"
NAME = dnsname.from_text(b"z.test.")


def load(folder: Path, text: str, head: str = HEAD) -> loader.Zone:
    (folder / "z.test.zone").write_bytes((head + text).encode("latin-1"))
    return loader.load(NAME, str(folder / "z.test.zone"))


def records(zone: loader.Zone) -> list[str]:
    return [f"{dnsname.to_text(o)} {t} {rrtype.name_of(k)} {d.hex()}" for o, k, t, d in zone.records()][:-1]


def one(folder: Path, line: str) -> str:
    """The only record that a line makes besides the SOA and NS."""
    (made,) = [r for r in records(load(folder, line)) if " SOA " not in r and " NS " not in r]
    return made


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("a A 192.0.2.1", "a.z.test. 3600 A c0000201"),
        ("A 5 IN A 192.0.2.1", "a.z.test. 5 A c0000201"),
        ("a IN 5 A 192.0.2.1", "a.z.test. 5 A c0000201"),
        ("a 1d2h3m4s a 192.0.2.1", "a.z.test. 93784 A c0000201"),
        ("a 1W A 192.0.2.1", "a.z.test. 604800 A c0000201"),
        ("a.z.test. AAAA 2001:DB8::1", "a.z.test. 3600 AAAA 20010db8" + "0" * 23 + "1"),
        ("a AAAA ::ffff:192.0.2.1", "a.z.test. 3600 AAAA " + "0" * 20 + "ffffc0000201"),
        ("a AAAA ::", "a.z.test. 3600 AAAA " + "0" * 32),
        (r"a\.b A 192.0.2.1", r"a\.b.z.test. 3600 A c0000201"),
        (r"a\032b A 192.0.2.1", r"a\032b.z.test. 3600 A c0000201"),
        (r"\@ A 192.0.2.1", r"\@.z.test. 3600 A c0000201"),
        ("* A 192.0.2.1", "*.z.test. 3600 A c0000201"),
        ('a TXT "a b;c" d "(" ""', "a.z.test. 3600 TXT 056120623b630164012800"),
        (r'a TXT "q\"\\ \200"', "a.z.test. 3600 TXT 0571225c20c8"),
        ("a TXT ( one ; comment\n  two\n ) three", "a.z.test. 3600 TXT 036f6e650374776f057468726565"),
        ("a MX 10 @", "a.z.test. 3600 MX 000a017a047465737400"),
        ("a SRV 1 2 3 .", "a.z.test. 3600 SRV 00010002000300"),
        ('a CAA 128 issue "ca.test; x=1"', "a.z.test. 3600 CAA 80056973737565" + b"ca.test; x=1".hex()),
        ("a DS 1 8 2 ab cd EF", "a.z.test. 3600 DS 00010802abcdef"),
        ("a TYPE1 \\# 4 c0 000201", "a.z.test. 3600 A c0000201"),
        ("a A \\# 4 c0000201", "a.z.test. 3600 A c0000201"),
        ("a TYPE65280 \\# 0", "a.z.test. 3600 TYPE65280 "),
        ("$ORIGIN b\n$TTL 7\na A 192.0.2.1", "a.b.z.test. 7 A c0000201"),
        ("a A 192.0.2.1\na 9 A 192.0.2.1", "a.z.test. 3600 A c0000201"),
        ("a A 192.0.2.1 ; end\r\n", "a.z.test. 3600 A c0000201"),
    ],
)
def test_record(tmp_path: Path, line: str, made: str) -> None:
    assert one(tmp_path, line) == made


@pytest.mark.parametrize(
    ("line", "where", "cause"),
    [
        ("a A 192.0.2", 3, "192.0.2 is no IPv4 address"),
        ("a A 192.0.2.256", 3, "192.0.2.256 is no IPv4 address"),
        ("a AAAA 1::2::3", 3, "1::2::3 is no IPv6 address"),
        ("a AAAA 1:2:3:4:5:6:7:8:9", 3, "1:2:3:4:5:6:7:8:9 is no IPv6 address"),
        ("a AAAA g::", 3, "g:: is no IPv6 address"),
        ("a NOTYPE x", 3, "NOTYPE is no type of a record"),
        ("a TYPE65536 \\# 0", 3, "TYPE65536 is no type of a record"),
        ("a AXFR \\# 0", 3, "AXFR is no type of a record"),
        ("a OPT \\# 0", 3, "OPT is no type of a record"),
        ("a CH A 192.0.2.1", 3, "class CH is not served"),
        ("a 1h", 3, "a record without a type"),
        ("a 1x A 192.0.2.1", 3, "1x is no time"),
        ("a 9999999999 A 192.0.2.1", 3, "9999999999 is no time"),
        ("a MX ten mail", 3, "ten is no number from 0 to 65535"),
        ("a MX 65536 mail", 3, "65536 is no number from 0 to 65535"),
        ("a MX 10", 3, "MX has 2 fields, here are 1"),
        ("a A 192.0.2.1 2", 3, "A has 1 fields, here are 2"),
        ("a TXT", 3, "TXT lacks data"),
        ('a TXT "' + "x" * 256 + '"', 3, "a string over 255 bytes"),
        ('a TXT "open', 3, "a string without its closing quote"),
        ("a TXT ( open\n x", 3, "an opening parenthesis without its closing one"),
        ("\n\na TXT ) x", 5, "a closing parenthesis without an opening one"),
        ("a DS 1 8 2 abc", 3, "abc is not hexadecimal"),
        ("a TYPE65280 \\# 3 abcd", 3, "\\# says 3 bytes, here are 2"),
        ("a TYPE65280 abcd", 3, "data of TYPE65280 is written as \\# LENGTH HEX"),
        ("a TYPE15 \\# 1 00", 3, "no data of a MX"),
        ("a..b A 192.0.2.1", 3, "a..b has an empty label"),
        ("x" * 64 + " A 192.0.2.1", 3, "x" * 64 + " has a label over 63 bytes"),
        (".".join(["x" * 60] * 5) + " A 192.0.2.1", 3, ("x" * 60 + "." + "x" * 19) + " has over 255 bytes"),
        ("a\\999 A 192.0.2.1", 3, "bad escape \\999"),
        ("a CNAME b\na A 192.0.2.1", 4, "a.z.test. has a CNAME and other data"),
        ("a A 192.0.2.1\na CNAME b", 4, "a.z.test. has a CNAME and other data"),
        ("a CNAME b\na CNAME c", 4, "a second CNAME of a.z.test."),
        ("a SOA ns host 1 2 3 4 5", 3, "a SOA that is not of the zone's own name"),
        ("@ SOA ns host 2 2 3 4 5", 3, "a second SOA of z.test."),
        ("a.other.test. A 192.0.2.1", 3, "a.other.test. is not in the zone z.test."),
        ("az.test. A 192.0.2.1", 3, "az.test. is not in the zone z.test."),
        ("$TTL", 3, "$TTL is no directive, or not whole"),
        ("$GENERATE 1-2 a A 192.0.2.1", 3, "$GENERATE is no directive, or not whole"),
        ("$INCLUDE", 3, "$INCLUDE takes a file and perhaps an origin"),
        ("$ORIGIN a..", 3, "a.. has an empty label"),
        ("a\x00b A", 3, "A has 1 fields, here are 0"),
    ],
)
def test_error(tmp_path: Path, line: str, where: int, cause: str) -> None:
    with pytest.raises(zonefile.ZoneError) as caught:
        load(tmp_path, line)
    assert str(caught.value) == f"{tmp_path}/z.test.zone:{where}: {cause}"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", ": no SOA for z.test."),
        ("@ 1h SOA ns host 1 2 3 4 5", ": no NS for z.test."),
        (" A 192.0.2.1", ":1: the first record has no owner"),
        ("@ NS ns", ":1: no time to live: $TTL, or one before the type"),
    ],
)
def test_error_of_the_whole(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(zonefile.ZoneError) as caught:
        load(tmp_path, text, head="")
    assert str(caught.value) == f"{tmp_path}/z.test.zone{cause}"


def test_old_files_take_the_ttl_from_the_soa(tmp_path: Path) -> None:
    zone = load(tmp_path, "", head="@ SOA ns host 1 2 3 4 55\n NS ns\n 7 A 192.0.2.1\nb A 192.0.2.1\n")
    assert [(t, k) for _, k, t, _ in zone.records()][:-1] == [(55, 6), (55, 2), (7, 1), (7, 1)]
    assert (zone.serial(), zone.timers()) == (1, (2, 3, 4))


def test_include(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "hosts").write_text("h1 A 192.0.2.1\n$ORIGIN elsewhere\nh2 A 192.0.2.2\n$INCLUDE more\n")
    (tmp_path / "sub" / "more").write_text("h3 A 192.0.2.3\n")
    zone = load(tmp_path, "a A 192.0.2.9\n$INCLUDE sub/hosts lan ; comment\n TXT back\nb A 192.0.2.8\n")
    names = {r.split()[0]: r.split()[2] for r in records(zone)[2:]}
    assert set(names) == {f"{n}.z.test." for n in ("a", "h1.lan", "h2.elsewhere.lan", "h3.elsewhere.lan", "b")}
    assert rrtype.TXT in zone.nodes[dnsname.from_text(b"a", NAME)]


def test_include_errors(tmp_path: Path) -> None:
    for text, said in (
        ("$INCLUDE nothing", "nothing: cannot be read (error 2)"),
        ("$INCLUDE bad", "bad:2: x is no IPv4 address"),
        ("$INCLUDE z.test.zone", "z.test.zone:3: files include one another 8 deep"),
    ):
        (tmp_path / "bad").write_text("a A 192.0.2.1\nb A x\n")
        with pytest.raises(zonefile.ZoneError) as caught:
            load(tmp_path, text, head="@ 1h SOA ns host 1 2 3 4 5\n NS ns\n")
        assert str(caught.value) == f"{tmp_path}/{said}"


@pytest.mark.parametrize("seed", range(5))
def test_the_same_records_as_dnspython_reads(tmp_path: Path, seed: int) -> None:
    text = Made(seed, 200).text
    (tmp_path / "gen").write_text(text)
    ours = loader.load(dnsname.from_text(APEX.encode()), str(tmp_path / "gen"))
    theirs = dns.zone.from_text(text, APEX, relativize=False)
    expected = {
        (name.to_wire().lower(), int(rdata.rdtype), rdataset.ttl, rdata.to_digestable())
        for name, rdataset in theirs.iterate_rdatasets()
        for rdata in rdataset
    }
    skipped = {(n, d) for n, k, _, d in expected if k == 39}  # what a DNAME hides is not served
    hidden = [n for n, _ in skipped]
    expected = {r for r in expected if not any(r[0].endswith(h) and r[0] != h for h in hidden)}
    found = {(o, k, t, d) for o, k, t, d in ours.records()}
    assert found == expected
    assert ours.count >= len(found)
