# SPDX-License-Identifier: MIT
"""Forks of a VM whose cards are on networks that others are in, too: a child has hardware addresses and addresses of its
own (guest_fork_cards.py inside; outside forking_bridge.py in a network namespace, or a hub with a DHCP server)."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from floe.qemu import commandline
from floe.testing import Boot
from floe.testing.lan import Lan
from tests.support.fixtures import REPO
from tests.support.sockets import exactly
from tests.support.spaces import need_own_taps
from tests.support.vms import until
from tests.target.peers.wire import Wire

RARP = b"\x80\x35"
GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_cards.py"


def run_on_bridge(elf: Path, accel: str, kind: str) -> None:
    need_own_taps()
    argv = ["unshare", "-rn", sys.executable, "-m", "tests.target.peers.forking_bridge", str(elf), accel, kind]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_family_on_a_bridge(build: Callable[..., Path], accel: str) -> None:
    """Parent and children answer at addresses of their own, at the same time; a connection of the parent's goes on; no
    frame of one has an address of another's; there are as many as have addresses, and nothing is left of their taps."""
    run_on_bridge(build(GUEST), accel, "bridge")


def test_a_family_on_a_tap_of_another_qemu(
    build: Callable[..., Path], second_qemu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the tap is on a bridge, a child gets another one there; frames for its own hardware address reach it."""
    monkeypatch.setenv(commandline.CHOICE, str(second_qemu))
    run_on_bridge(build(GUEST), "tcg", "tap")


class Wires(threading.Thread):
    """What cards `connect:` to. Reads nothing until it is let: hardware addresses of the senders on each connection, but
    of RARP, by which QEMU itself announces a copy."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.senders: list[set[str]] = []
        self.let = threading.Event()
        self.start()

    def run(self) -> None:
        while True:
            threading.Thread(target=self._read, args=(self._listener.accept()[0],), daemon=True).start()

    def _read(self, sock: socket.socket) -> None:
        found: set[str] = set()
        self.senders.append(found)
        self.let.wait()
        with suppress(OSError, EOFError):
            while True:
                (size,) = struct.unpack(">I", exactly(sock, 4))
                frame = exactly(sock, size)
                if frame[12:14] != RARP:
                    found.add(frame[6:12].hex(":"))


def test_frames_that_do_not_leave_are_not_sent_twice(tmp_path: Path) -> None:
    """A VM whose frames wait in its card has no copy, whose card would have them too: it may try again."""
    wires = Wires(tmp_path / "wires")
    with Boot(accel="tcg") as boot:
        vm = boot(GUEST, args=["fill"], net=[f"connect:{tmp_path}/wires,ip=10.9.0.2/24+1"])
        vm.expect_exact("full")
        assert vm.expect([r"refused 11\n", r"forked \d+\n"]) == 0
        wires.let.set()
        vm.expect(r"forked 0\n")
        vm.expect(r"at \d+ 10\.9\.0\.3 (\w\w)(\w\w)(\w\w)(\w\w)(\w\w)(\w\w)\n")
        own = ":".join(vm.match.groups())
        until(lambda: {own} in wires.senders, "a frame of the child's")
    assert all(len(found) <= 1 for found in wires.senders), wires.senders
    assert sum(found == wires.senders[0] for found in wires.senders) == 1


def test_a_lease_is_the_child_s_own() -> None:
    """It asks DHCP anew, with its own hardware address, and its parent keeps what it has."""
    lan = Lan()
    with closing(lan), Wire(lan.path, lease=("10.9.0.100", 600)) as wire, Boot(accel="tcg") as boot:
        vm = boot(GUEST, args=["lease"], net=[f"connect:{lan.path}"])
        vm.expect_exact("leased")
        wire.lease = ("10.9.0.101", 600)
        vm.send(b"\n")
        vm.expect(r"at 2 10\.9\.0\.101 \w+\n")
    found = re.findall(r"at (\d) (\S+) (\w+)\n", vm.console_text)
    assert {(number, address) for number, address, _ in found} == {
        ("1", "10.9.0.100"),
        ("2", "0.0.0.0"),
        ("2", "10.9.0.101"),
    }
    assert len({mac for number, _, mac in found if number == "1"}) == 1
    assert len({mac for _, _, mac in found}) == 2
    assert wire.said("request 10.9.0.101 from 0.0.0.0")
    assert not wire.said("release")
