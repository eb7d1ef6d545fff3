# SPDX-License-Identifier: MIT
"""Messages of one publisher to one subscriber and to twenty, QoS 0 and 1: images/mqtt and mosquitto, behind taps of
their own. mqttload.c sends at a rate, then as fast as all have what was sent, and times from when a message was due."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from floe.bench import contest, guests
from floe.bench.compiled import compiled
from floe.bench.contest import Start
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.running import App, Endpoint
from floe.build import port_archive
from floe.errors import VmError

_IMAGE = port_archive.ROOT / "images" / "mqtt"
_RATE = 100  # messages a second of the publisher, which each subscriber gets
_WINDOW = 64  # messages that not all have, as fast as it goes
_BYTES = 64
_TIMEOUT_S = 10.0  # for what is late; who is loaded as far as he goes may stand still for a while
_GRACE_S = 30.0
FIGURES = (
    Figure("p99_ms", "99 % there within", "ms"),
    Figure("p50_ms", "50 % there within", "ms"),
    Figure("per_s", "delivered", "1/s", more_is_better=True),
    Figure("lost", "lost", "%"),
    Figure("late_ms", "the load itself late by at most", "ms"),
)


@dataclass(frozen=True)
class Load:
    """rate: messages a second, 0 for as many as all get with `_WINDOW` of them on their way."""

    qos: int
    subscribers: int
    rate: float

    @property
    def at(self) -> str:
        how = f"{self.rate:.0f}/s" if self.rate else "fastest"
        return f"QoS {self.qos}, {self.subscribers} subscriber{'s' * (self.subscribers > 1)}, {how}"


_LOADS = tuple(Load(qos, count, rate) for qos in (0, 1) for count in (1, 20) for rate in (_RATE, 0))
_QUICK_LOADS = tuple(load for load in _LOADS if load.subscribers == 1)


def prepare(options: Options) -> Experiment:
    """Raises NotFound without gcc and without a checkout, what the builds do, and ConfigError of a peer's file."""
    program()
    guests.need_image(_IMAGE)
    app = App("mqtt", _IMAGE, port=1883, ready="serving on port 1883")
    options.say("mqtt: building images/mqtt")
    guests.build(app.app)
    found, left_out = contest.of_one(app, options, _contender)
    if options.quick:
        left_out.append(LeftOut("20 subscribers", "not in --quick"))
    return Experiment(
        "mqtt",
        "MQTT",
        f"Messages of {_BYTES} bytes from one publisher to all subscribers of a topic, {_RATE} a second, and as fast "
        f"as they get there with {_WINDOW} at most on their way: how long until each subscriber has each.",
        FIGURES,
        tuple(found),
        rounds=options.of(6, 1),
        seconds=60 if options.quick else 2700,
        left_out=tuple(left_out),
        note="A message counts once for each subscriber. Times that are not much longer than the load itself was late "
        "say nothing of the broker. Load and broker share this machine's processors.",
    )


def _contender(name: str, start: Start, against: str) -> Contender:
    return Contender(name, partial(_measure, start), against=against, limit_s=240)


def _measure(start: Start, turn: Turn) -> Iterator[Reading]:
    with start(contest.start_by(turn)) as endpoint:
        for load in _QUICK_LOADS if turn.quick else _LOADS:
            values = put(load, endpoint, turn, 1.0 if turn.quick else 3.0)
            yield Reading(values, load.at)


def program() -> Path:
    """mqttload.c, compiled. Raises NotFound, BuildError."""
    return compiled(Path(__file__).with_name("mqttload.c"))


def put(load: Load, endpoint: Endpoint, turn: Turn, seconds: float) -> dict[str, float]:
    """Load on a broker; what came of it, as figures have it. Raises VmError, NotFound, BuildError."""
    argv = [*endpoint.prefix, str(program()), "-r", f"{load.rate:g}", "-w", str(_WINDOW), "-q", str(load.qos)]
    argv += ["-s", str(load.subscribers), "-b", str(_BYTES), "-d", f"{seconds:g}", "-t", f"{_TIMEOUT_S:g}"]
    argv.append(f"{endpoint.address}:{endpoint.port}")
    limit_s = min(turn.left(), seconds + _TIMEOUT_S + _GRACE_S)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise VmError(f"the load, {load.at}, did not end within {limit_s:.0f} s") from None
    if done.returncode:
        raise VmError(f"the load, {load.at}, measured nothing", evidence=done.stderr.strip()[-1000:])
    said = json.loads(done.stdout)
    if not said["delivered"]:
        raise VmError(f"{load.at}: no message was delivered")
    values = {name: float(said[name]) for name in ("p99_ms", "p50_ms", "per_s")}
    values["lost"] = 100 * (1 - said["delivered"] / said["expected"])
    return values | ({"late_ms": float(said["load_late_ms"])} if load.rate else {})
