# SPDX-License-Identifier: MIT
"""GET and SET at a server of Redis's protocol: images/redis and redis-server, behind taps of their own, asked by
redis-benchmark with one connection and fifty, one command at a time on each and sixteen."""

from __future__ import annotations

import csv
import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from floe.bench import contest, guests
from floe.bench.contest import Start
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.running import App, Endpoint
from floe.build import port_archive
from floe.errors import VmError

_IMAGE = port_archive.ROOT / "images" / "redis"
_KEYS = 10_000
_BYTES = 64  # of a value
_PROBE, _PROBE_S = 100, 0.05  # requests and time, at least, by which is found how many take their time
_TOOL_S = 30
FIGURES = (
    Figure("per_s", "answered", "1/s", more_is_better=True),
    Figure("p50_ms", "50 % answered within", "ms"),
    Figure("p99_ms", "99 % answered within", "ms"),
)


@dataclass(frozen=True)
class Load:
    """ahead: commands on their way on each connection."""

    connections: int
    ahead: int

    @property
    def at(self) -> str:
        return f"{self.connections} connection{'s' * (self.connections > 1)}, {self.ahead} ahead"


_LOADS = (Load(1, 1), Load(50, 1), Load(1, 16), Load(50, 16))
_QUICK_LOADS = (_LOADS[0], _LOADS[3])


def prepare(options: Options) -> Experiment:
    """Raises NotFound without redis-benchmark and without a checkout, what the builds do, and ConfigError of a peer's
    file."""
    guests.need("redis-benchmark", "redis-tools")
    guests.need_image(_IMAGE)
    app = App("redis", _IMAGE, port=6379, ready="serving on port 6379", memory="64M")
    options.say("redis: building images/redis")
    guests.build(app.app)
    found, left_out = contest.of_one(app, options, _contender)
    if options.quick:
        left_out += [LeftOut(load.at, "not in --quick") for load in _LOADS if load not in _QUICK_LOADS]
    return Experiment(
        "redis",
        "Redis",
        f"GET and SET of {_BYTES} bytes at {_KEYS:,} keys by redis-benchmark, as fast as they are answered: so many "
        "connections, and so many commands ahead on each.",
        FIGURES,
        tuple(found),
        rounds=options.of(6, 1),
        seconds=60 if options.quick else 2700,
        left_out=tuple(left_out),
        note="Nothing is written to a disk. Load and server share this machine's processors.",
    )


def _contender(name: str, start: Start, against: str) -> Contender:
    return Contender(name, partial(_measure, start), against=against, limit_s=180)


def _measure(start: Start, turn: Turn) -> Iterator[Reading]:
    with start(contest.start_by(turn)) as endpoint:
        for load in _QUICK_LOADS if turn.quick else _LOADS:
            yield from commands(endpoint, load, turn)


def commands(endpoint: Endpoint, load: Load, turn: Turn) -> Iterator[Reading]:
    """SET, then GET, each for a second or three: as many as a short run before says. Raises VmError."""
    seconds = 1 if turn.quick else 3
    for command in ("SET", "GET"):
        requests = _PROBE + 10 * load.connections
        # redis-benchmark counts whole milliseconds, and divides by none: inf.
        while (per_s := _redis_benchmark(endpoint, load, command, requests, turn)["per_s"]) * _PROBE_S > requests:
            requests *= 10
        values = _redis_benchmark(endpoint, load, command, max(_PROBE, int(per_s * seconds)), turn)
        if not math.isfinite(values["per_s"]):
            raise VmError(f"redis-benchmark, {command}, {load.at}, took no time")
        yield Reading(values, f"{command}, {load.at}")


def _redis_benchmark(endpoint: Endpoint, load: Load, command: str, requests: int, turn: Turn) -> dict[str, float]:
    argv = [*endpoint.prefix, "redis-benchmark", "-h", endpoint.address, "-p", str(endpoint.port), "--csv"]
    argv += ["-t", command.lower(), "-n", str(requests), "-c", str(load.connections), "-P", str(load.ahead)]
    argv += ["-r", str(_KEYS), "-d", str(_BYTES)]
    limit_s = min(turn.left(), _TOOL_S)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as e:
        said = b"".join(filter(None, (e.stdout, e.stderr)))[-1000:].decode(errors="replace")
        what = f"redis-benchmark, {command}, {load.at}, did not end within {limit_s:.0f} s"
        raise VmError(what, evidence=said.strip()) from None
    return figures("" if done.returncode else done.stdout, command, done.stdout + done.stderr)


def figures(said: str, command: str, evidence: str = "") -> dict[str, float]:
    """What redis-benchmark --csv says of a command. Raises VmError."""
    rows = [row for row in csv.DictReader(said.splitlines()) if row.get("test") == command]
    try:
        (row,) = rows
        return {
            "per_s": float(row["rps"]),
            "p50_ms": float(row["p50_latency_ms"]),
            "p99_ms": float(row["p99_latency_ms"]),
        }
    except (KeyError, TypeError, ValueError):
        raise VmError(
            f"redis-benchmark, {command}, measured nothing",
            hint="it has to be 6.2 or newer",
            evidence=evidence.strip()[-1000:],
        ) from None
