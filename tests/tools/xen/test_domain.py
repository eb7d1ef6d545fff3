# SPDX-License-Identifier: MIT
"""The proxy process of a Xen domain, its scripts under a real shell, and xl's configuration: against an xl of a
few lines, whose domain is a pty. With a real Xen: tests/xen."""

from __future__ import annotations

import base64
import os
import re
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from floe.errors import FloeError, UsageError
from floe.hypervisor.xen_driver import Xen
from floe.spec import network
from floe.spec.handover import Blob
from floe.spec.ports import Forward
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec, Wires
from floe.vm import plan
from floe.xen import dom0, places, scripts, xlconfig
from floe.xenlab import lab
from tests.support.fakedomain import HOME, Fake, up


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    made = Fake(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    "reason, said, status, word",
    [
        (0, "0 5", 3, "guest-shutdown"),
        (0, "3 5", (3 + 1) << 1 | 1, "guest-shutdown"),
        (1, "122 5", (122 + 1) << 1 | 1, "guest-reset"),
        (3, "120 5", (120 + 1) << 1 | 1, "guest-panic"),
        (0, None, 0, "guest-shutdown"),
        (1, None, 0, "guest-reset"),
        (3, None, 0, "guest-panic"),
        (0, "0", 3, "guest-shutdown"),
        (0, "999 5", 0, "guest-shutdown"),
        (0, "-1 -1", 0, "guest-shutdown"),
        (0, "* * *\nfloe: shutdown 3 120", 0, "guest-shutdown"),
        (0, "x" * 3000, 0, "guest-shutdown"),
        (0, "0\\nfloe: shutdown 3", 0, "guest-shutdown"),
        (0, "3 5\nfloe: \n", (3 + 1) << 1 | 1, "guest-shutdown"),
        (0, "0 99999", 3, "guest-shutdown"),
    ],
)
def test_how_a_domain_ends(fake: Fake, reason: int, said: str | None, status: int, word: str) -> None:
    up(fake)
    os.write(fake.master, b"hello")
    fake.ends(reason, said)
    assert fake.console.recv(100) == b"hello"
    assert fake.event() == {"event": "SHUTDOWN", "data": {"reason": word}}
    assert fake.process.wait(20) == status
    assert fake.calls() == ["create", "destroy"]


def test_bytes_that_come_after_the_end_are_waited_for(fake: Fake) -> None:
    up(fake)
    fake.ends(0, "0 10")
    for _ in range(10):
        select.select([], [], [], 0.1)
        os.write(fake.master, b"x")
    assert fake.process.wait(20) == 3
    assert fake.console.recv(100) == b"x" * 10


def test_every_byte_passes_both_ways(fake: Fake) -> None:
    up(fake)
    every = bytes(range(256)) * 10
    fake.console.sendall(every)
    got = b""
    while len(got) < len(every):
        got += os.read(fake.master, 4096)
    assert got == every
    os.write(fake.master, every)
    got = b""
    while len(got) < len(every):
        got += fake.console.recv(4096)
    assert got == every


def test_a_domain_whose_owner_reads_nothing_loses_nothing(fake: Fake) -> None:
    up(fake)
    os.set_blocking(fake.master, False)
    written = 0
    stuck = time.monotonic()
    while time.monotonic() - stuck < 1:  # until every buffer on the way is full
        try:
            written += os.write(fake.master, b"y" * 4096)
            stuck = time.monotonic()
        except BlockingIOError:
            select.select([], [], [], 0.05)
        assert written < 8 << 20
    fake.ends(0, f"4 {written}")
    got = 0
    while data := fake.console.recv(1 << 16):
        got += len(data)
    assert got == written
    assert fake.process.wait(20) == (4 + 1) << 1 | 1


def test_sigterm_destroys_it(fake: Fake) -> None:
    up(fake)
    fake.process.send_signal(signal.SIGTERM)
    assert fake.event() == {"event": "SHUTDOWN", "data": {"reason": "host-signal"}}
    assert fake.process.wait(20) == 0
    assert fake.calls() == ["create", "destroy"]


def test_sigkill_destroys_it_too(fake: Fake) -> None:
    up(fake)
    fake.process.kill()
    deadline = time.monotonic() + 20
    while fake.calls() != ["create", "destroy"]:
        assert time.monotonic() < deadline
        select.select([], [], [], 0.02)


def test_the_end_of_its_owner_s_sockets_is_no_end(fake: Fake) -> None:
    up(fake)
    fake.console.close()
    fake.serial.close()
    fake.ends(0, "2 0")
    assert fake.process.wait(20) == (2 + 1) << 1 | 1


def test_xl_refuses(fake: Fake) -> None:
    fake.refusal.write_text("libxl: error: no bridge of that name\n")
    fake.start()
    event = fake.event()
    assert event["event"] == "FAILED"
    assert event["data"] == {
        "message": "xl refused to create the domain",
        "evidence": "xl: libxl: error: no bridge of that name",
        "hint": "--net bridge:NAME with a bridge that dom0 has, or --net none",
    }
    assert fake.process.wait(20) == 1
    assert fake.calls() == ["create"]


def test_destroyed_by_another(fake: Fake) -> None:
    up(fake)
    (fake.folder / "end").write_text("Domain 7 has been destroyed.\n")
    event = fake.event()
    assert event["event"] == "FAILED"
    assert "destroyed from outside" in str(event["data"])
    assert fake.process.wait(20) == 1


def test_a_later_owner_is_served(tmp_path: Path) -> None:
    fake = Fake(tmp_path, listening=True)
    try:
        fake.start()
        assert fake.event()["event"] == "RESUME"
        for s in (fake.console, fake.serial, fake.events):  # the first owner was killed
            s.close()
        fake.connect()
        os.write(fake.master, b"still here")
        assert fake.console.recv(100) == b"still here"
        fake.ends(0, "0 10")
        assert fake.process.wait(20) == 3
    finally:
        fake.close()


def test_a_later_owner_is_served_by_a_process_that_was_held_up(tmp_path: Path) -> None:
    """It finds at once that the first one has left, that another one has come, and what the guest said then."""
    fake = Fake(tmp_path, listening=True)
    try:
        fake.start()
        assert fake.event()["event"] == "RESUME"
        os.write(fake.master, b"up")
        assert fake.console.recv(100) == b"up"  # the console's script has joined
        fake.process.send_signal(signal.SIGSTOP)
        for s in (fake.console, fake.serial, fake.events):
            s.close()
        fake.connect()
        os.write(fake.master, b"still here")
        select.select([], [], [], 0.2)  # for the console's script to pass it on
        fake.process.send_signal(signal.SIGCONT)
        assert fake.console.recv(100) == b"still here"
        fake.ends(0, "0 12")
        assert fake.process.wait(20) == 3
    finally:
        fake.close()


def test_sigterm_before_there_is_a_domain(tmp_path: Path) -> None:
    fake = Fake(tmp_path, listening=True)
    try:
        fake.start(connect=False)
        deadline = time.monotonic() + 20
        while not _handles_sigterm(fake.process.pid):
            assert time.monotonic() < deadline
            select.select([], [], [], 0.02)
        fake.process.send_signal(signal.SIGTERM)
        assert fake.process.wait(20) == 0
        assert fake.calls() == []
    finally:
        fake.close()


def _handles_sigterm(pid: int) -> bool:
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    assert caught is not None
    return bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_a_disk_is_quoted_and_an_argument_is_left_alone(tmp_path: Path) -> None:
    disk = tmp_path / 'a "disk", \\ @DISK1@'
    fake = Fake(tmp_path, "--disk", f"ro,{disk}", "--disk", "rw,/second", "--config", 'cmdline="-- @DISK0@"\n')
    try:
        up(fake)
        target = str(disk).replace("\\", "\\\\").replace('"', '\\"')
        first = f"format=raw,vdev=xvda,access=ro,backendtype=phy,target={target}"
        second = "format=raw,vdev=xvdb,access=rw,backendtype=phy,target=/second"
        assert (tmp_path / "calls").read_text().startswith("create -F -q " if dom0.has_rdrand() else "create -F -p ")
        said = (tmp_path / "config").read_text()
        assert said.startswith(f'cmdline="-- @DISK0@"\ndisk=["{first}", "{second}"]\n')
    finally:
        fake.close()


def test_a_store_that_refuses_a_secret(tmp_path: Path) -> None:
    fake = Fake(tmp_path, blobs=(Blob("secret/big", os.urandom(100_000)),))
    try:
        writer = tmp_path / "bin" / "xenstore-write"
        writer.write_text("#!/bin/sh\necho 'xenstore-write: could not write path' >&2\nexit 1\n")
        fake.start()
        event = fake.event()
        assert event["event"] == "FAILED"
        assert "XenStore did not take secrets or seed" in str(event["data"])
        assert "could not write path" in str(event["data"])
        assert fake.process.wait(20) == 1
        assert set(fake.calls()) == {"create", "destroy"}
    finally:
        fake.close()


def test_an_elf_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    try:
        (tmp_path / "elf").unlink()
        fake.start()
        assert "No such file" in str(fake.event()["data"])
        assert fake.process.wait(20) == 1
        assert fake.process.stderr is not None
        assert b"Traceback" not in fake.process.stderr.read()
    finally:
        fake.close()


def test_what_xl_and_the_store_are_given(tmp_path: Path) -> None:
    big = os.urandom(scripts._CHUNK * 60 + 1)
    fake = Fake(tmp_path, blobs=(Blob("secret/big", big), Blob("env/0", b"")))
    try:
        up(fake)
        assert fake.calls()[:2] == ["create", "unpause"]
        assert (tmp_path / "calls").read_text().startswith("create -F -p -q ")
        said = (tmp_path / "config").read_text()
        assert re.fullmatch(rf'name="x"\n\nkernel="{tmp_path}/run/floe\.\w+/elf"\n', said)
        blobs = tmp_path / "store" / HOME / "floe/blob"
        assert (blobs / "0/name").read_text() == "secret/big"
        assert (blobs / "0/size").read_text() == str(len(big))
        pieces = [(blobs / f"0/{k}").read_text() for k in range(61)]
        assert b"".join(map(base64.b64decode, pieces)) == big
        assert {len(piece) for piece in pieces[:-1]} == {1536}  # oxenstored refuses more than 2048
        assert not (blobs / "0/61").exists()
        assert [path.name for path in sorted((blobs / "1").iterdir())] == ["name", "size"]
        assert (tmp_path / "store" / HOME / "floe/seed").exists() != dom0.has_rdrand()
    finally:
        fake.close()


def test_a_guest_that_cannot_draw_random_numbers_gets_a_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu rdrandom\n")
    monkeypatch.setattr(dom0, "_CPUINFO", tmp_path / "cpuinfo")
    assert not dom0.has_rdrand()
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu rdrand sse\n")
    assert dom0.has_rdrand()
    assert scripts.store((), b"") == ""
    assert scripts.store((), bytes(32)) == f'xenstore-write "$P/floe/seed" {"0" * 64} || return 1\n'
    assert scripts.control(1, "", scripts.store((), bytes(32))).startswith("set -- 1 107 ''\n")
    assert scripts.control(1, "a='b'\n", "").startswith("set -- 1 0 'a='\"'\"'b'\"'\"'\n'\n")


# ---- the configuration ----------------------------------------------------------------------------


def test_quote() -> None:
    assert xlconfig.quote("a\"b\\c'd") == '"a\\"b\\\\c\'d"'
    with pytest.raises(UsageError, match="control character"):
        xlconfig.quote("a\nb")


def test_names_are_for_xl() -> None:
    own = "01234567-89ab-cdef-0123-456789abcdef"
    assert xlconfig.domain_name("my app/ü", own) == "my-app---01234567"
    assert xlconfig.domain_name("", own) == "floe-01234567"


def test_a_mac_is_the_same_at_every_start_and_xen_s() -> None:
    macs = [places.mac("one", 0), places.mac("one", 1), places.mac("two", 0)]
    assert len(set(macs)) == 3
    assert all(re.fullmatch("00:16:3e(:[0-9a-f]{2}){3}", mac) for mac in macs)
    assert macs[0] == places.mac("one", 0)


def test_in_the_lab_a_guest_is_lent_an_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(lab, "running", lambda: None)
    wanted = "user bridge:xenbr0 user,ip=10.0.2.99/24 user,ip=dhcp bridge:xenbr0,ip=none user,ip=192.168.7.2/24"
    cards, lent = places.assign_addresses(places.Lab(), list(map(network.parse_card, wanted.split())), "u")
    try:
        assert [card.ip.partition("/")[0] for card in cards] == [
            "10.0.2.16", "10.0.2.17", "10.0.2.99", "dhcp", "none", "192.168.7.2"
        ]  # fmt: skip
        assert network.guest_words(cards)[1] == "ip=10.0.2.17/24,gw=10.0.2.2,dns=10.0.2.3"
        with pytest.raises(FloeError, match="in the Xen lab is taken"):
            places.assign_addresses(
                places.Lab(), [network.parse_card("user"), network.parse_card("user,ip=10.0.2.99/24")], "v"
            )
        # The one before gave its address back.
        again, more = places.assign_addresses(places.Lab(), [network.parse_card("user")], "v")
        assert again[0].ip == "10.0.2.18/24"
        places.release(more)
    finally:
        places.release(lent)


def test_a_port_in_a_dom0_needs_an_address_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "choose", places.Dom0)
    spec = VmSpec(
        Path("x.elf"), forwards=(Forward("127.0.0.1", 8080, 80),), cards=(network.parse_card("user"),), uuid="u"
    )
    with pytest.raises(UsageError, match="address is not known") as e, Xen().command(spec, Wires("", "", ""), []):
        pass
    assert e.value.hint.startswith("--net bridge:xenbr0,ip=")
    card = network.parse_card("bridge:br7,ip=192.168.1.2/24")
    with Xen().command(replace(spec, cards=(card,)), Wires("", "", ""), []) as (argv, _):
        assert argv[argv.index("--forward") + 1] == "tcp,127.0.0.1,8080,192.168.1.2,80"


def test_an_image_s_own_ports_are_dropped_in_a_dom0_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    web = Path(__file__).resolve().parents[3] / "images/web"
    monkeypatch.setattr(dom0, "is_here", lambda: True)
    said: list[str] = []
    spec, _ = plan.plan(web, RunOptions(hypervisor="xen"), said.append)
    assert spec.forwards == ()
    assert [line for line in said if "is not forwarded: in a dom0" in line]


def test_in_a_dom0_a_guest_has_its_own_address() -> None:
    here = places.Dom0()
    (card,), lent = places.assign_addresses(here, [network.parse_card("user")], "u")
    assert (card.kind, card.name, lent) == ("bridge", "xenbr0", [])
    assert network.guest_words([card]) == ["ip=dhcp"]
    (card,), _ = places.assign_addresses(here, [network.parse_card("bridge:br7,ip=192.168.1.2/24,gw=192.168.1.1")], "u")
    assert network.guest_words([card]) == ["ip=192.168.1.2/24,gw=192.168.1.1"]
    assert xlconfig.vif(card) == f"mac={places.mac('u', 0)},bridge=br7"
