# SPDX-License-Identifier: MIT
"""tools/floe/bench/crowd.py, density.py and scale.py: some VMs, what they take, and that each is gone afterwards."""

from __future__ import annotations

import resource
import time

import pytest

from floe import hostmemory
from floe.bench import crowd, density, guests, scale, surroundings
from floe.bench.experiment import Options, Turn


def turn(seconds: float = 300) -> Turn:
    return Turn(0, True, time.monotonic() + seconds)


def test_idle_vms_take_memory_and_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density, "_IDLE_S", 1.0)
    before = set(surroundings.descendants())
    one, two = density._idle(guests.build(guests.WEB), "tcg", (1, 2), turn())
    assert [(reading.at, reading.x) for reading in (one, two)] == [("1 VM", 1), ("2 VMs", 2)]
    for reading in (one, two):
        assert 4 < reading.values["own"] <= reading.values["memory"] < 200
        assert 0 < reading.values["cpu"] < 90
    assert set(surroundings.descendants()) <= before


def test_vms_are_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "_AGAIN", 2)
    before, limit = set(surroundings.descendants()), resource.getrlimit(resource.RLIMIT_NOFILE)
    (reading,) = scale._again(guests.build(guests.WEB), "tcg", (3,), turn())
    assert (reading.at, reading.x) == ("3 VMs", 3)
    assert 0 < reading.values["reachable"] <= reading.values["slowest"]
    assert reading.values["ended"] > 0
    assert set(surroundings.descendants()) <= before
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limit


def test_a_crowd_that_is_broken_off_is_gone() -> None:
    before = set(surroundings.descendants())
    with pytest.raises(KeyboardInterrupt), crowd.many(guests.build(guests.WEB), "tcg") as running:
        running.start(2, turn())
        assert len(set(surroundings.descendants()) - before) >= 2
        raise KeyboardInterrupt
    assert set(surroundings.descendants()) <= before


def test_what_does_not_fit_into_this_machine_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostmemory, "left", lambda: 2 << 30)
    for module in (density, scale):
        left_out = module.prepare(Options(accels=("tcg",))).left_out
        assert ("100 VMs" if module is density else "80 VMs", "this machine has no memory for them") in [
            (one.name, one.why) for one in left_out
        ]
