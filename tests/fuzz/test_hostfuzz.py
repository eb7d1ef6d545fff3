# SPDX-License-Identifier: MIT
"""The targets in Python: their seeds and a moment more; and that a bug in one is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.hostfuzz import TARGETS, HostCrash, HostTarget, run

SECONDS = 0.7


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_the_host_takes_anything(target: HostTarget, tmp_path: Path) -> None:
    assert run(target, tmp_path, seed=1, seconds=SECONDS) >= len(target.seeds)


def test_a_planted_bug_is_found(tmp_path: Path) -> None:
    def feed(data: bytes, folder: Path) -> None:
        TARGETS["host_frames"].feed(data, folder)
        if len(data) > 4 and data[4] == 0xFF:
            raise IndexError

    bad = HostTarget("host_frames", "", feed, TARGETS["host_frames"].seeds)
    with pytest.raises(HostCrash) as raised:
        run(bad, tmp_path, seed=1, seconds=20)
    assert raised.value.data[4] == 0xFF and isinstance(raised.value.__cause__, IndexError)


def test_one_seed_is_one_run(tmp_path: Path) -> None:
    fed: list[list[bytes]] = [[], []]
    for seen in fed:
        run(
            HostTarget("x", "", lambda data, folder, seen=seen: seen.append(data), (b"abc",)),
            tmp_path,
            seed=7,
            seconds=0,
            runs=50,
        )
    assert fed[0] == fed[1] and len(fed[0]) == 50
