# SPDX-License-Identifier: MIT
"""tools/floe/bench/dns.py: rates rise until more is lost than may be, and the zone and its questions fit together."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from floe.bench import dns
from floe.bench.experiment import Options, Turn
from floe.bench.running import Endpoint
from floe.errors import NotFound


def turn(quick: bool = False) -> Turn:
    return Turn(0, quick, time.monotonic() + 150)


def test_rates_rise_until_too_much_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def dnsperf(endpoint: Endpoint, seconds: int, *options: str) -> dict[str, float]:
        rate = float(options[1]) if options[0] == "-Q" else 3000.0
        sent = rate * seconds
        lost = max(0.0, sent - 3000 * seconds)
        return {"sent": sent, "lost": lost, "per_s": (sent - lost) / seconds, "latency_s": 0.002}

    monkeypatch.setattr(dns, "_dnsperf", dnsperf)
    readings = list(dns.climb(Endpoint("127.0.0.1", 53), turn()))
    assert [reading.x for reading in readings] == [100, 500, 1000, 2000, 4000, None]  # and not 8,000
    assert [reading.values["lost"] for reading in readings] == [0, 0, 0, 0, 25, 0]
    assert readings[0].values["latency_ms"] == 2


def test_a_rate_of_which_much_is_late_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """dnsperf does not send what it may not: more than so many wait for their answers."""

    def dnsperf(endpoint: Endpoint, seconds: int, *options: str) -> dict[str, float]:
        return {"sent": 50, "lost": 0, "per_s": 50, "latency_s": 1.0}

    monkeypatch.setattr(dns, "_dnsperf", dnsperf)
    assert [reading.x for reading in dns.climb(Endpoint("127.0.0.1", 53), turn())] == [100, None]


def test_what_is_asked_is_in_the_zone_or_meant_not_to_be() -> None:
    zone = dns.zone_text()
    questions = list(dns.questions(500))
    assert f"$ORIGIN {dns.ZONE}." in zone
    there = [q for q in questions if q.endswith((" A", " AAAA", " MX", " TXT")) and q.startswith("h")]
    assert len(there) > 250
    assert all(f"\n{question.partition('.')[0]} A " in zone for question in there)
    once = [q for q in questions if q.startswith(("n", "www"))]
    assert len(set(once)) == len(once) > 100


def test_three_of_ten_questions_are_for_a_name_that_is_asked_for_once() -> None:
    names = Counter(question.partition(" ")[0] for question in dns.questions(100_000))
    once = sum(count == 1 for count in names.values())
    assert once / 100_000 == pytest.approx(0.3, abs=0.01)
    assert len(names) - once == pytest.approx(3300, abs=10)  # hosts and aliases


def test_from_a_wheel_one_sentence_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(dns, "_IMAGE", tmp_path / "dns")
    with pytest.raises(NotFound, match="images/dns is in a checkout of Floe only"):
        dns.prepare(Options(quick=True, accels=("tcg",)))


def test_without_dnsperf_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NotFound, match="dnsperf is not installed"):
        dns.prepare(Options(quick=True, accels=("tcg",)))


@pytest.mark.parametrize("name", ["Floe, TCG", "nsd, process"])
def test_a_round_of_a_contender(name: str) -> None:
    for tool, wanted in (("dnsperf", True), ("nsd", name.startswith("nsd"))):
        if wanted and shutil.which(tool, path="/usr/bin:/usr/sbin:/bin") is None:
            pytest.skip(f"SKIP: {tool} is not installed")
    experiment = dns.prepare(Options(quick=True, accels=("tcg",)))
    (contender,) = (one for one in experiment.contenders if one.name == name)
    assert contender.against == ("nsd, process" if name.startswith("Floe") else "")
    readings = list(contender.measure(turn(quick=True)))
    assert readings[0].at == "100/s" and readings[-1].at == "fastest, 60 at once"
    assert all(reading.values["per_s"] > 0 and reading.values["latency_ms"] > 0 for reading in readings)
