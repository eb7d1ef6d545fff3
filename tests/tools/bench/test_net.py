# SPDX-License-Identifier: MIT
"""tools/floe/bench/net.py: UDP's rates rise until one is not held, and iperf3's own errors are told."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import Any

import pytest

from floe.bench import net
from floe.bench.experiment import Options, Turn
from floe.bench.running import Endpoint
from floe.errors import NotFound, VmError

HERE = Endpoint("127.0.0.1", 1)  # nobody listens there
WAY = net.Way("to")


def turn(quick: bool = False) -> Turn:
    return Turn(0, quick, time.monotonic() + 200)


def needs_iperf3() -> None:
    if shutil.which("iperf3") is None:
        pytest.skip("SKIP: iperf3 is not installed")


@pytest.mark.parametrize(("most", "rates"), [(60.0, [5, 20, 100]), (10_000.0, [5, 20, 100, 400, 1600])])
def test_rates_of_udp_rise_until_one_is_not_held(
    monkeypatch: pytest.MonkeyPatch, most: float, rates: list[int]
) -> None:
    def iperf3(endpoint: Endpoint, turn: Turn, *words: str) -> dict[str, Any]:
        rate = float(words[words.index("-b") + 1].removesuffix("M"))
        lost = max(0.0, 100 * (1 - most / rate))
        return {"sum": {"lost_percent": lost, "bits_per_second": rate * 1e6}}

    monkeypatch.setattr(net, "iperf3", iperf3)
    readings = list(net.datagrams(HERE, WAY, turn()))
    assert [reading.x for reading in readings] == rates
    assert readings[-1].values["to_mbit_s"] == pytest.approx(min(most, rates[-1]))


def test_what_a_sender_holds_back_is_not_held_either(monkeypatch: pytest.MonkeyPatch) -> None:
    end = {"sum": {"lost_percent": 0.0, "bits_per_second": 15e6}}
    monkeypatch.setattr(net, "iperf3", lambda *words: end)
    assert [reading.x for reading in net.datagrams(HERE, WAY, turn())] == [5, 20]


def test_what_iperf3_says_of_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_iperf3()
    monkeypatch.setattr(net, "_BUSY_S", 0.2)
    with pytest.raises(VmError, match=r"measured nothing: .*Connection refused"):
        list(net.streams(HERE, WAY, turn()))


@pytest.mark.parametrize("busy", [
    "error - the server is busy running a test. try again later", "unable to connect to server: Connection reset by peer",
])  # fmt: skip
def test_a_server_that_is_still_busy_is_asked_again(busy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [f'{{"error": "{busy}"}}', '{"end": {"sum": 1}}']
    monkeypatch.setattr(subprocess, "run", lambda argv, **more: subprocess.CompletedProcess(argv, 0, said.pop(0)))
    assert net.iperf3(HERE, turn()) == {"sum": 1}
    assert said == []


def test_without_iperf3_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NotFound, match="iperf3 is not installed"):
        net.prepare(Options(quick=True, accels=("tcg",)))


@pytest.mark.parametrize("name", ["Floe, TCG", "iperf3, process"])
def test_a_round_of_a_contender(name: str) -> None:
    needs_iperf3()
    experiment = net.prepare(Options(quick=True, accels=("tcg",)))
    (contender,) = (one for one in experiment.contenders if one.name == name)
    readings = list(contender.measure(turn(quick=True)))
    for way in ("to_mbit_s", "from_mbit_s"):
        found = {reading.at: reading.values[way] for reading in readings if way in reading.values}
        assert found["TCP, 1 connection"] > 1
        if "taps, and UDP" not in {one.name for one in experiment.left_out}:
            assert found["UDP, 5 Mbit/s"] > 0.1
