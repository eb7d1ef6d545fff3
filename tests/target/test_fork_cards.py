# SPDX-License-Identifier: MIT
"""Forks of a VM whose cards are on networks that others are in, too: a child has hardware addresses and addresses of its
own (guest_fork_cards.py inside; outside forking_bridge.py in a network namespace, or a hub with a DHCP server)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from floe.qemu import commandline
from floe.testing import Boot
from floe.testing.lan import Lan
from tests.support.fixtures import REPO
from tests.target.peers.wire import Wire

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_cards.py"


def run_on_bridge(elf: Path, accel: str, kind: str) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("SKIP: no right to make a network namespace")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("SKIP: no right to open /dev/net/tun")
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
