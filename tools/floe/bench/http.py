# SPDX-License-Identifier: MIT
"""HTTP at rising rates, then as fast as it is answered: files, JSON from a script that is the same everywhere,
Microdot. Each system in turn, one processor each, behind a tap; times are from when a request was due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from floe.bench import contest, guests, httpload, running
from floe.bench.contest import Start
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.guests import LABELS, SCRIPTS, WEB
from floe.bench.httpload import Counted, Load
from floe.bench.running import App, Endpoint
from floe.build import port_archive
from floe.errors import FloeError, VmError

_PATHS = ("/", "/style.css", "/app.js", "/logo.svg", "/icon.png", "/routes.json", "/robots.txt", "/about/")
# More than one address may have by itself, as all of the load has: the most connections here are its.
_LIMITS = {"MAX_CONNECTIONS": "512", "MAX_PER_ADDRESS": "512"}
APPS = {
    "static": App("static", WEB, env=_LIMITS),
    "json": App("json", SCRIPTS / "json_server.py"),
    "microdot": App("microdot", port_archive.ROOT / "images" / "microdot"),
}
_TITLES = {"static": "files", "json": "JSON", "microdot": "Microdot"}
_RATES = (100.0, 300.0, 1000.0, 3000.0, 10_000.0)
_QUICK_RATES = (100.0, 500.0)
_CONNECTIONS = 32
_HELD = 0.95  # of a rate has to be answered, or higher ones are not tried
_TOGETHER = (2, 4, 8)
_BEHIND = (1, 2, 4, 8)  # VMs behind a proxy
_HOST = "10.0.2.2"  # this machine, for a VM behind QEMU's user network
FIGURES = (
    Figure("p99_ms", "99 % answered within", "ms"),
    Figure("p50_ms", "50 % answered within", "ms"),
    Figure("p90_ms", "90 % answered within", "ms"),
    Figure("p999_ms", "99.9 % answered within", "ms"),
    Figure("per_s", "answered", "1/s", more_is_better=True),
    Figure("errors", "errors", "%"),
    Figure("late_ms", "the load itself late by at most", "ms"),
)


@dataclass(frozen=True)
class _Kind:
    """A way to load a server as fast as it answers."""

    at: str
    connections: int = _CONNECTIONS
    each: bool = False
    vary: bool = False


_FASTEST = (
    _Kind("fastest, 1 connection", 1),
    _Kind("fastest, 32 connections"),
    _Kind("fastest, 500 connections", 500),
    _Kind("fastest, a connection each", each=True),
    _Kind("fastest, requests that differ", vary=True),
)
_QUICK_FASTEST = _FASTEST[1:2]


def prepare(options: Options) -> Experiment:
    """Raises NotFound without gcc, what the builds do, and ConfigError of a peer's file."""
    httpload.program()
    tap, left_out = contest.without_taps()
    contenders: list[Contender] = []
    for service, app in APPS.items():
        if service == "microdot" and options.quick:
            left_out.append(LeftOut(_TITLES[service], "not in --quick"))
            continue
        try:
            options.say(f"http: building {app.app.name}")
            guests.build(app.app)
            found, without = contest.contenders(app, _TITLES[service], options, tap, partial(_contender, service))
            if service == "static" and not options.quick:
                found += [_together(n, accel, app) for accel in options.accels for n in _TOGETHER]
                found += [_behind(n, accel, app) for accel in options.accels for n in _BEHIND]
        except FloeError as e:
            if service != "microdot":
                raise
            left_out.append(LeftOut(_TITLES[service], e.message))
            continue
        contenders += found
        left_out += without
    if options.quick:
        kinds = [kind.at for kind in _FASTEST if kind not in _QUICK_FASTEST]
        for what in (
            f"rates above {_QUICK_RATES[-1]:.0f}/s",
            *kinds,
            f"{_TOGETHER[0]} and more VMs at once",
            "a proxy",
        ):
            left_out.append(LeftOut(what, "not in --quick"))
    names = {contender.name for contender in contenders}
    contenders = [one if one.against in names else replace(one, against="") for one in contenders]
    return Experiment(
        "http",
        "HTTP",
        "Requests at rising rates over 32 connections that are kept open, differing ones among them, and as fast as "
        "they are answered; latency from when a request was due, whether it could be sent then or not.",
        FIGURES,
        tuple(contenders),
        rounds=options.of(6, 1),
        seconds=60 if options.quick else 9000,
        left_out=tuple(left_out),
        axis="requests offered, 1/s",
        note="Rates rise until one is not held: less than 95 % is answered. Times that are not much longer than the "
        "load itself was late say nothing of the server. Load and server share this machine's processors.",
    )


def _contender(service: str, name: str, start: Start, against: str) -> Contender:
    paths = _PATHS if service == "static" else ("/",)
    return Contender(name, partial(_measure, start, paths), against=against, limit_s=180)


def _measure(start: Start, paths: tuple[str, ...], turn: Turn) -> Iterator[Reading]:
    with start(contest.start_by(turn)) as endpoint:
        yield from climb([endpoint], paths, turn)


def climb(endpoints: list[Endpoint], paths: tuple[str, ...], turn: Turn) -> Iterator[Reading]:
    """Readings at rising rates until one is not held, and then as fast as it goes. Raises VmError where nothing is
    answered at all."""
    seconds = 1.0 if turn.quick else 3.0

    def put(load: Load) -> Counted:
        turn.left()
        targets = [(endpoint.address, endpoint.port) for endpoint in endpoints]
        counted = httpload.put(load, targets, endpoints[0].prefix)
        if not counted.answered:
            raise VmError("no request was answered", evidence=str(counted.kinds))
        return counted

    put(Load(0.5, rate=20, connections=_CONNECTIONS, paths=paths))  # what is first made at a first request
    for rate in _QUICK_RATES if turn.quick else _RATES:
        counted = put(Load(seconds, rate=rate, connections=_CONNECTIONS, paths=paths, vary=True))
        yield Reading(_values(counted), f"{rate:.0f}/s", rate)
        if counted.answered < _HELD * counted.requests or counted.per_s < _HELD * rate * seconds / (seconds + 1):
            break
    for kind in _QUICK_FASTEST if turn.quick else _FASTEST:
        if kind.connections < len(endpoints):  # not all of them would be asked
            continue
        load = Load(seconds, connections=kind.connections, each=kind.each, vary=kind.vary, paths=paths)
        yield Reading(_values(put(load), paced=False), kind.at)


def _values(counted: Counted, paced: bool = True) -> dict[str, float]:
    times = {key: getattr(counted, key) for key in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "per_s")}
    late = {"late_ms": counted.late_ms} if paced else {}
    return {**times, "errors": 100 * counted.errors / max(counted.requests, 1), **late}


def _together(count: int, accel: str, app: App) -> Contender:
    """Several VMs at once, what they answer summed; beside the same number of requests to one."""
    command = running.command(app, accel, tap=False)
    return _several(f"{count} VMs of Floe", accel, app, partial(_all_together, count, accel, app), command)


def _behind(count: int, accel: str, app: App) -> Contender:
    """VMs that one more passes the requests on to."""
    command = running.command(_proxy(app, range(8081, 8081 + count)), accel, tap=False)
    name = f"{count} VM{'s' * (count > 1)} behind a proxy of Floe"
    return _several(name, accel, app, partial(_all_behind, count, accel, app), command)


def _several(name: str, accel: str, app: App, measure: Callable[[Turn], Iterator[Reading]], command: str) -> Contender:
    """Beside one VM that is asked directly."""
    one, many = (f"{who}, {LABELS[accel]}, user network: {_TITLES[app.service]}" for who in ("Floe", name))
    return Contender(many, measure, against=one, command=command, limit_s=180)


def _all_together(count: int, accel: str, app: App, turn: Turn) -> Iterator[Reading]:
    with _running(count, accel, app, turn) as started:
        yield from climb(started, _PATHS, turn)


def _all_behind(count: int, accel: str, app: App, turn: Turn) -> Iterator[Reading]:
    with _running(count, accel, app, turn) as started:
        proxy = _proxy(app, [endpoint.port for endpoint in started])
        with running.ours(proxy, accel, contest.start_by(turn), tap=False) as endpoint:
            yield from climb([endpoint], _PATHS, turn)


def _proxy(app: App, ports: Iterable[int]) -> App:
    """The same image before others that are at these ports of this machine."""
    return replace(app, env={**app.env, "UPSTREAMS": ",".join(f"{_HOST}:{port}" for port in ports)})


@contextmanager
def _running(count: int, accel: str, app: App, turn: Turn) -> Iterator[list[Endpoint]]:
    with ExitStack() as stack:
        start = partial(running.ours, app, accel, tap=False)
        yield [stack.enter_context(start(contest.start_by(turn))) for _ in range(count)]
