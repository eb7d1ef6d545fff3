# SPDX-License-Identifier: MIT
"""tools/floe/bench/redis.py: as many requests as take their time, and what redis-benchmark says of them."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import pytest

from floe.bench import linux, redis
from floe.bench.experiment import Options, Turn
from floe.bench.running import Endpoint
from floe.errors import NotFound, VmError

NOBODY = Endpoint("127.0.0.1", 1)  # nobody listens there
HEAD = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms"\n'


def turn(quick: bool = False) -> Turn:
    return Turn(0, quick, time.monotonic() + 150)


def needs_redis_benchmark() -> None:
    if shutil.which("redis-benchmark") is None:
        pytest.skip("SKIP: redis-benchmark is not installed")


def test_a_short_run_says_how_many_requests_fill_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def benchmark(endpoint: Endpoint, load: redis.Load, command: str, requests: int, turn: Turn) -> dict[str, float]:
        asked.append((command, requests))
        return {"per_s": 2000.0, "p50_ms": 1.0, "p99_ms": 2.0}

    monkeypatch.setattr(redis, "_redis_benchmark", benchmark)
    readings = list(redis.commands(NOBODY, redis.Load(1, 1), turn()))
    assert [reading.at for reading in readings] == ["SET, 1 connection, 1 ahead", "GET, 1 connection, 1 ahead"]
    assert [command for command, _ in asked] == ["SET", "SET", "GET", "GET"]
    assert asked[1][1] == asked[3][1] == 6000 > asked[0][1]


def test_where_a_short_run_took_no_time_a_longer_one_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-benchmark divides by whole milliseconds."""
    asked: list[int] = []

    def benchmark(endpoint: Endpoint, load: redis.Load, command: str, requests: int, turn: Turn) -> dict[str, float]:
        asked.append(requests)
        said = HEAD + f'"SET","{"inf" if requests < 1000 else 30000}","0.1","0.1","0.1","0.1","0.1"\n'
        return redis.figures(said, "SET")

    monkeypatch.setattr(redis, "_redis_benchmark", benchmark)
    next(redis.commands(NOBODY, redis.Load(1, 16), turn()))
    assert asked == [110, 1100, 11000, 90000]


def test_what_redis_benchmark_says_of_a_command_is_read() -> None:
    said = HEAD + '"SET","1500.00","0.9","0.1","0.5","1.0","2.5"\n"GET","3000.00","0.9","0.1","0.4","1.0","2.0"\n'
    assert redis.figures(said, "SET") == {"per_s": 1500.0, "p50_ms": 0.5, "p99_ms": 2.5}


@pytest.mark.parametrize("said", ["", HEAD, '"SET","1500.00"\n', HEAD + '"SET","1500.00"\n'])
def test_what_has_no_latency_is_no_result_and_the_version_is_asked_for(said: str) -> None:
    with pytest.raises(VmError, match="redis-benchmark, SET, measured nothing") as caught:
        redis.figures(said, "SET", "it broke")
    assert (caught.value.evidence, caught.value.hint) == ("it broke", "it has to be 6.2 or newer")


def test_a_server_that_answers_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_redis_benchmark()
    monkeypatch.setattr(redis, "_TOOL_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint("127.0.0.1", silent.getsockname()[1])
        with pytest.raises(VmError, match=r"SET, 1 connection, 1 ahead, did not end within"):
            list(redis.commands(endpoint, redis.Load(1, 1), turn()))


def test_without_redis_benchmark_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NotFound, match="redis-benchmark is not installed"):
        redis.prepare(Options(quick=True, accels=("tcg",)))


def test_from_a_wheel_one_sentence_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(redis, "_IMAGE", tmp_path / "redis")
    with pytest.raises(NotFound, match="images/redis is in a checkout of Floe only"):
        redis.prepare(Options(quick=True, accels=("tcg",)))


@pytest.mark.parametrize("name", ["Floe, TCG", "redis-server, process"])
def test_a_round_of_a_contender(name: str) -> None:
    needs_redis_benchmark()
    if name.startswith("redis") and not linux.is_there("redis-server"):
        pytest.skip("SKIP: redis-server is not installed")
    experiment = redis.prepare(Options(quick=True, accels=("tcg",)))
    (contender,) = (one for one in experiment.contenders if one.name == name)
    found = {reading.at: reading.values for reading in contender.measure(turn(quick=True))}
    assert {f"{command}, {load.at}" for command in ("SET", "GET") for load in redis._QUICK_LOADS} == set(found)
    assert all(values["per_s"] > 0 and 0 < values["p50_ms"] <= values["p99_ms"] for values in found.values())


def test_a_link_that_leads_to_another_package_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "root" / "usr" / "bin"
    folder.mkdir(parents=True)
    (folder / "floe-none").symlink_to("floe-other")
    monkeypatch.setattr(linux, "FOLDER", tmp_path)
    assert not linux.is_there("floe-none")
    (folder / "floe-other").touch()
    assert linux.is_there("floe-none")
