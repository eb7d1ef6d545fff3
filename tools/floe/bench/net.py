# SPDX-License-Identifier: MIT
"""Bulk data over one card, TCP and UDP, to the server and from it: images/iperf and iperf3, behind taps of their own,
asked by this machine's iperf3."""

from __future__ import annotations

import json
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from floe.bench import contest, guests
from floe.bench.contest import Start
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.running import App, Endpoint
from floe.build import port_archive
from floe.errors import VmError

_PORT = 5201
_RATES = (5, 20, 100, 400, 1600)  # Mbit/s of UDP
_QUICK_RATES = (5, 50)
_DATAGRAM = 1400
_LOST = 5.0  # per cent, beyond which no higher rate is tried
_TOOL_S = 30
# What a client is told by a server that is still at the end of the test before, or between two listening sockets.
_BUSY = ("the server is busy", "Connection reset by peer", "Connection refused")
_BUSY_S, _AGAIN_S = 10.0, 0.1
FIGURES = (
    Figure("to_mbit_s", "received by the server", "Mbit/s", more_is_better=True),
    Figure("from_mbit_s", "received from the server", "Mbit/s", more_is_better=True),
    Figure("to_lost", "lost to the server", "%"),
    Figure("from_lost", "lost from the server", "%"),
)


@dataclass(frozen=True)
class Way:
    """name: as keys of figures begin. words: of iperf3's command line."""

    name: str
    words: tuple[str, ...] = ()


WAYS = (Way("to"), Way("from", ("-R",)))


def prepare(options: Options) -> Experiment:
    """Raises NotFound without iperf3, what the builds do, and ConfigError of a peer's file."""
    guests.need("iperf3", "iperf3")
    app = App("bulk", port_archive.ROOT / "images" / "iperf", port=_PORT, ready="serving")
    options.say("net: building images/iperf")
    guests.build(app.app)
    found, left_out = contest.of_one(app, options, _contender, lost="taps, and UDP", rest="TCP")
    if options.quick:
        left_out.append(LeftOut(f"4 connections, and UDP above {_QUICK_RATES[-1]} Mbit/s", "not in --quick"))
    return Experiment(
        "net",
        "Bulk data",
        "TCP as fast as it goes, one connection and four, and UDP at rising rates, to the server and from it: what "
        "is received, and which part is lost.",
        FIGURES,
        tuple(found),
        rounds=options.of(6, 1),
        seconds=60 if options.quick else 2700,
        left_out=tuple(left_out),
        axis="UDP offered, Mbit/s",
        note="UDP is measured behind taps only; its rates rise until more than 5 % is lost or held back. Both ends "
        "share this machine's processors.",
    )


def _contender(name: str, start: Start, against: str) -> Contender:
    return Contender(name, partial(_measure, start), against=against, limit_s=240)


def _measure(start: Start, turn: Turn) -> Iterator[Reading]:
    with start(contest.start_by(turn)) as endpoint:
        for way in WAYS:
            yield from streams(endpoint, way, turn)
        for way in WAYS if endpoint.space is not None else ():
            yield from datagrams(endpoint, way, turn)


def streams(endpoint: Endpoint, way: Way, turn: Turn) -> Iterator[Reading]:
    """TCP. Raises VmError."""
    for count in (1,) if turn.quick else (1, 4):
        end = iperf3(endpoint, turn, *way.words, "-P", str(count))
        at = f"TCP, {count} connection{'s' * (count > 1)}"
        yield Reading({f"{way.name}_mbit_s": end["sum_received"]["bits_per_second"] / 1e6}, at)


def datagrams(endpoint: Endpoint, way: Way, turn: Turn) -> Iterator[Reading]:
    """UDP, until a rate is not held. Raises VmError."""
    for rate in _QUICK_RATES if turn.quick else _RATES:
        words = ("-u", "-b", f"{rate}M", "-l", str(_DATAGRAM))
        end = iperf3(endpoint, turn, *way.words, *words)["sum"]
        lost = float(end["lost_percent"])
        received = end["bits_per_second"] / 1e6 * (1 - lost / 100)
        values = {f"{way.name}_mbit_s": received, f"{way.name}_lost": lost}
        yield Reading(values, f"UDP, {rate} Mbit/s", rate)
        if lost > _LOST or received < (1 - _LOST / 100) * rate * 0.9:
            break


def iperf3(endpoint: Endpoint, turn: Turn, *words: str) -> dict[str, Any]:
    """The part `end` of what iperf3 says of a run. Raises VmError."""
    seconds = 1 if turn.quick else 3
    argv = [*endpoint.prefix, "iperf3", "-J", "-c", endpoint.address, "-p", str(endpoint.port), "-t", str(seconds)]
    until = time.monotonic() + min(turn.left() - seconds, _BUSY_S)
    while True:
        limit_s = min(turn.left(), seconds + _TOOL_S)
        try:
            done = subprocess.run([*argv, *words], capture_output=True, text=True, timeout=limit_s, check=False)
            said: dict[str, Any] = json.loads(done.stdout or "{}")
        except subprocess.TimeoutExpired:
            raise VmError(f"iperf3 {' '.join(words)} did not end within {limit_s:.0f} s") from None
        except ValueError:
            said = {}
        if not any(why in str(said.get("error")) for why in _BUSY) or time.monotonic() > until:
            break
        select.select([], [], [], _AGAIN_S)
    if "error" in said or not said.get("end"):
        why = str(said.get("error") or done.stderr or done.stdout)[-500:]
        raise VmError(f"iperf3 {' '.join(words)} measured nothing: {why.strip()}")
    end: dict[str, Any] = said["end"]
    return end
