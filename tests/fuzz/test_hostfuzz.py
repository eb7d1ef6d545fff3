# SPDX-License-Identifier: MIT
"""The targets in Python: their seeds and a moment more; and that a bug in one is noticed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from floe.detached import control
from floe.qemu import qmp
from tests.fuzz import hosthttp
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


def _eager(sock: Any, left: Any) -> Any:
    """As it was: the length is read before anybody reads the body, and closes the connection."""
    return exactly(sock, int(left))


exactly = hosthttp.requests._exactly


@pytest.mark.parametrize(
    ("name", "module", "place", "bug"),
    [
        ("web_http", hosthttp.http1.Body, "feed", lambda body, buf: (True, b"")),
        ("http_client", hosthttp.requests, "_exactly", _eager),
        ("admin_http", hosthttp.admin, "MAX_HEAD", "2048"),
        ("host_answers", control, "_understood", lambda folder, answer, kind: SimpleNamespace(**answer)),
        ("host_qmp", qmp.Commands, "opened", lambda commands, client: None),
    ],
)
def test_a_bug_in_what_is_fed_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, module: Any, place: str, bug: object
) -> None:
    monkeypatch.setattr(module, place, bug)
    with pytest.raises(HostCrash):
        run(TARGETS[name], tmp_path, seed=1, seconds=60)
