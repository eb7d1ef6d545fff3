# SPDX-License-Identifier: MIT
"""What the bench `packet` stands on: the load counts and times what arrives, the search finds what a router can do, and
nft and the VM are told the same rules."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from floe.bench.linux import MACHINE
from floe.errors import VmError
from tests.bench import packet, routers
from tests.bench.common import Report
from tests.packet.language import rules as r
from tests.support.spaces import spaces


@pytest.fixture
def straight() -> Iterator[routers.Way]:
    with routers.direct(0) as way:
        yield way


def test_the_load_counts_and_times_what_arrives(straight: routers.Way) -> None:
    run = routers.load(straight, 2000, 0.5)
    assert run["arrived"] == run["offered"] and 900 <= run["offered"] <= 1001 and run["answered"] == 50
    run = routers.load(straight, 1000, 0.5, "time")
    assert 0 < run["p50_us"] <= run["p99_us"] <= run["most_us"] < 1e6
    straight.right.run("nft", "add chain netdev sink sink { policy drop; }")  # behind what counts
    assert routers.load(straight, 1000, 0.3, "fill")["arrived"] >= 290
    straight.right.ip("link", "set", straight.right.tap, "down")
    run = routers.load(straight, 1000, 0.3, "fill")
    assert run["arrived"] == 0 and run["offered"] >= 290


def router_of(most: float, overload: float) -> Any:
    """A router that forwards all up to a rate, and beyond it falls; and the rates that were offered."""
    offered: list[float] = []

    def offer(rate: float) -> Report:
        offered.append(rate)
        passed = rate if rate <= most else max(overload, most - (rate - most))
        return {"offered": rate, "arrived": passed, "offered_per_s": rate, "arrived_per_s": passed}

    return offer, offered


@pytest.mark.parametrize("most", [700.0, 3000.0, 42_000.0, 310_000.0])
def test_the_highest_rate_that_loses_nothing(most: float) -> None:
    offer, offered = router_of(most, most / 2)
    found = packet.rates(offer)
    assert most * 0.94 <= found["loss_free_per_s"] <= most * 1.002
    assert most * 0.9 <= found["per_s"] <= most * 1.002 and found["overload_per_s"] == most / 2
    assert max(offered) <= max(4 * most, 2000) and len(offered) < 60


def test_a_rate_that_loses_once_is_tried_again() -> None:
    offer, _ = router_of(50_000, 20_000)
    seen: set[float] = set()

    def hiccups(rate: float) -> Report:
        run: Report = offer(rate)
        if rate not in seen:
            seen.add(rate)
            run["arrived"] = min(run["arrived"], 0.9 * rate)
        return run

    assert packet.rates(hiccups)["loss_free_per_s"] > 48_000


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("at", [2000, 4000, 32_000])
def test_a_machine_that_stands_still_ends_no_search(at: float, times: int) -> None:
    """All of a run's frames are lost with it, whatever the rate is."""
    offer, offered = router_of(50_000, 20_000)

    def stalls(rate: float) -> Report:
        run: Report = offer(rate)
        if rate == at and offered.count(rate) <= times:
            run["arrived"] = 0.1 * rate
        return run

    found = packet.rates(stalls)
    assert found["loss_free_per_s"] > 47_000 and found["per_s"] > 47_000


def test_the_report_has_what_was_measured_before_a_failure() -> None:
    def half(out: Report) -> None:
        out["good"] = 1
        raise VmError("iperf3 measured nothing", evidence="refused")

    def assertion(out: Report) -> None:
        raise AssertionError("ip link")

    report = packet.measured({"a": 1}, {"half": half, "whole": lambda out: out.update(b=2), "other": assertion})
    assert report["half"]["good"] == 1 and "iperf3 measured nothing\nrefused" in report["half"]["failed"]
    assert report["whole"] == {"b": 2} and report["failed"] == ["half", "other"] and report["a"] == 1


def test_ratios_of_what_there_is() -> None:
    ours, theirs = "floe tcg microvm", f"linux tcg {MACHINE}"
    runs: dict[str, list[Report]] = {ours: [{"per_s": 30.0}, {"per_s": 8.0}], theirs: [{"per_s": 10.0}, {"per_s": 0.0}]}
    (found,) = packet.ratios(runs).values()
    assert found == {"per_s": {"goal": ">= 1.5", "median": 3.0, "min": 3.0, "max": 3.0, "values": [3.0]}}


def test_a_latency_is_of_the_rate_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [400.0, 1300.0, 1010.0]
    monkeypatch.setattr(packet, "load", lambda *words: {"offered_per_s": said.pop(0), "p50_us": 1.0})
    way: Any = None
    assert packet.timed(way, 1000.0, 1.0)["offered_per_s"] == 1010.0
    said += [400.0, 400.0, 400.0]
    with pytest.raises(VmError, match="no latency at 1000 frames a second"):
        packet.timed(way, 1000.0, 1.0)


def test_frames_of_others_take_no_time(straight: routers.Way) -> None:
    """They are stamped before the frame of their number is sent."""
    ends = threading.Event()
    frame = Ether(dst=straight.hop) / IP(src="10.1.0.2", dst="10.2.0.2", id=499) / UDP(sport=5, dport=9) / (b"x" * 18)

    def disturb() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((straight.left.tap, 0))
            while not ends.wait(0.005):
                sock.send(bytes(frame))

    thread = threading.Thread(target=straight.left.call, args=(disturb,))
    thread.start()
    try:
        run = routers.load(straight, 1000, 0.5, "time")
    finally:
        ends.set()
        thread.join()
    assert 0 < run["p50_us"] <= run["most_us"] < 1e6


@pytest.mark.parametrize("rules", packet.RULES.values(), ids=lambda rules: f"{rules[0]}-{rules[1]}")
def test_nft_takes_the_rules(rules: routers.Rules) -> None:
    text = routers.nft_rules(rules)
    lines = text.splitlines()
    assert len([line for line in lines if line.endswith(" drop")]) == rules[0]
    assert rules[0] == 0 or (lines.index("ct state established,related accept") < 10) == rules[1]
    with spaces("n") as (space,):
        argv = space.argv("nft", "-c", "-f", "-")
        done = subprocess.run(argv, input=text.replace("iif ", "iifname ").replace("oif ", "oifname "), text=True,
                              capture_output=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr[:500]


def test_the_rules_are_the_same() -> None:
    """Of each kind one rule as guest_router.py makes it, beside nft's words."""
    text = routers.nft_rules((1000, False)).splitlines()
    for number, asked, said in (
        (7, r.rule(src="172.16.7.0/24"), "ip saddr 172.16.7.0/24 drop"),
        (777, r.rule(dst="10.9.3.27", proto="tcp", dport="778"), "ip daddr 10.9.3.27 tcp dport 778 drop"),
        (999, r.rule(proto="udp", dport="29990-29997"), "udp dport 29990-29997 drop"),
    ):
        word, value, proto, port = routers.refused(1000)[number]
        conditions = {word: value} if word else {}
        made = r.rule(**conditions, **({"proto": proto, "dport": port} if proto else {}))
        assert made.conditions == asked.conditions and text[3 + number] == said


def test_ratios_stand_beside_what_they_should_be() -> None:
    run = {"per_s": 10.0, "loss_free_per_s": 8.0, "tcp_1": 4.0, "tcp_4": 4.0, "added_p99_us": 50.0}
    ours = {key: value * 2 for key, value in run.items()}
    found = packet.ratios({"floe kvm microvm": [ours], "floe tcg microvm": [ours, run], "linux tcg q35": [run, run]})
    assert list(found) == ["floe tcg microvm : linux tcg q35"]  # none under KVM, where there is no Linux
    each = found["floe tcg microvm : linux tcg q35"]
    assert each["per_s"]["values"] == [2.0, 1.0] and each["per_s"]["goal"] == ">= 1.5"
    assert each["added_p99_us"]["goal"] == "<= 0.5" and each["added_p99_us"]["median"] == 1.5


def test_a_vm_forwards_the_load(accel: str) -> None:
    with routers.ours(1, accel, packet.RULES["1,000 rules before"]) as way:
        routers.check_rules(way, 1000)
        run = routers.load(way, 500, 0.5, "time")
        assert run["arrived"] == run["offered"] and run["answered"] == 50 and run["p50_us"] > 0
        assert int(way.ask("flows")) >= 50
