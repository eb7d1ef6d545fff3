# SPDX-License-Identifier: MIT
"""tools/floe/bench/forward.py: what comes through routers of all kinds, and who has none is told why."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from floe.bench import forward, net, spaces
from floe.bench.experiment import Options, Turn
from floe.bench.running import Endpoint
from floe.errors import NotFound, VmError

QUICK = Options(quick=True, accels=("tcg",))
HAS_SPACES = pytest.mark.skipif(bool(spaces.why_none()), reason=f"SKIP: {spaces.why_none()}")


def turn() -> Turn:
    return Turn(0, True, time.monotonic() + 200)


def own_spaces() -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"floe-{os.getpid()}-*")]


def test_small_datagrams_that_came_are_counted_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def iperf3(endpoint: Endpoint, turn: Turn, *words: str) -> dict[str, Any]:
        asked.extend(words)
        return {"sum": {"packets": 9000, "lost_packets": 3000, "seconds": 2.0, "lost_percent": 100 / 3}}

    monkeypatch.setattr(net, "iperf3", iperf3)
    reading = forward.small(Endpoint("127.0.0.1", 1), net.WAYS[1], turn())
    assert reading.values == {"from_per_s": 3000.0, "from_lost": 100 / 3}
    assert asked == ["-R", "-u", "-b", "0", "-l", "64"]


@pytest.mark.parametrize(("missing", "words"), [("iperf3", "iperf3 is not installed"), ("root", "need root")])
def test_what_it_needs_is_told(monkeypatch: pytest.MonkeyPatch, missing: str, words: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == missing else f"/usr/bin/{name}")
    if missing == "root":
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotFound, match=words):
        forward.prepare(QUICK)


@HAS_SPACES
def test_without_nft_its_contender_is_left_out_and_ours_has_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    if which("iperf3") is None:
        pytest.skip("SKIP: iperf3 is not installed")
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == "nft" else which(name, **more))
    experiment = forward.prepare(QUICK)
    assert {one.name: one.why for one in experiment.left_out}[forward._TABLE] == "nft is not installed"
    assert [(one.name, one.against) for one in experiment.contenders] == [("Floe, TCG", "")]


@HAS_SPACES
def test_a_round_of_a_vm_of_ours() -> None:
    if shutil.which("iperf3") is None:
        pytest.skip("SKIP: iperf3 is not installed")
    (ours,) = (one for one in forward.prepare(QUICK).contenders if one.name == "Floe, TCG")
    readings = list(ours.measure(turn()))
    keys = {key for reading in readings for key, value in reading.values.items() if value > 0}
    assert {"to_mbit_s", "from_mbit_s", "to_per_s", "from_per_s"} <= keys
    assert own_spaces() == []


@HAS_SPACES
def test_the_peer_s_rules_let_pass_what_is_of_their_card_s_network_and_nothing_else() -> None:
    with contextlib.ExitStack() as stack:
        try:
            left, right = stack.enter_context(forward.this_machine(0.0))
        except (NotFound, VmError) as e:
            pytest.skip(f"SKIP: {e.message}")
        left.ip("addr", "add", "10.9.0.2/24", "dev", left.tap)
        sink = right.call(bound, "10.2.0.2")
        with sink, left.call(bound, "10.9.0.2") as foreign, left.call(bound, "10.1.0.2") as own:
            sink.settimeout(20)
            for sock, said in ((foreign, b"foreign"), (own, b"own")):  # a router keeps their order
                sock.sendto(said, sink.getsockname())
            assert sink.recv(16) == b"own"


def bound(address: str) -> socket.socket:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


@HAS_SPACES
def test_where_nothing_comes_through_it_is_told() -> None:
    with spaces.wired("l", "r", ("10.1.0.2/24", "10.1.0.1/24")) as (left, right):
        endpoint = Endpoint("10.2.0.2", 5201, space=left)
        with pytest.raises(VmError, match=r"nothing comes through the router: .*unreachable"):
            forward._wait_until_through(endpoint, right, time.monotonic() + 0.3)


def test_a_user_can_start_the_same_vm() -> None:
    words = shlex.split(forward.command("tcg"))
    argv = [str(Path(sys.executable).with_name("floe")), *words[1:-1], "--dry-run", words[-1]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "ifname=tap0" in done.stdout and "ifname=tap1" in done.stdout
