# SPDX-License-Identifier: MIT
"""DNS by UDP at rising rates: images/dns and nsd with the same zone, behind taps of their own; what is answered, what
is lost, how long an answer takes. dnsperf asks, at a rate whether answers come or not; three of ten questions are for
names that no other is for, the rest for 3,000 hosts."""

from __future__ import annotations

import atexit
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from floe.bench import contest, guests
from floe.bench.contest import Start
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.running import App, Endpoint
from floe.build import port_archive
from floe.errors import VmError

ZONE = "bench.test"
_IMAGE = port_archive.ROOT / "images" / "dns"
_HOSTS = 3000
_QUESTIONS = 200_000
_RATES = (100, 500, 1000, 2000, 4000, 8000, 16_000, 32_000)
_QUICK_RATES = (100, 1000)
_LOST = 0.05  # beyond this share no higher rate is tried
_TOOL_S = 60
FIGURES = (
    Figure("lost", "lost", "%"),
    Figure("latency_ms", "mean latency", "ms"),
    Figure("per_s", "answered", "1/s", more_is_better=True),
)
_SAID = {
    "Queries sent": "sent",
    "Queries lost": "lost",
    "Queries per second": "per_s",
    r"Average Latency \(s\)": "latency_s",
}


def prepare(options: Options) -> Experiment:
    """Raises NotFound without dnsperf and without a checkout, what the builds do, and ConfigError of a peer's file."""
    guests.need("dnsperf", "dnsperf")
    guests.need_image(_IMAGE)
    app = App("dns", image(), port="53/udp", ready="dns: serving 1 zones on port 53", memory="64M")
    found, left_out = contest.of_one(app, options, _contender)
    if options.quick:
        left_out.append(LeftOut(f"rates above {_QUICK_RATES[-1]}/s", "not in --quick"))
    return Experiment(
        "dns",
        "DNS",
        "Questions by UDP at rising rates and as fast as they are answered, three of ten for a name that is asked for "
        "once, the rest for 3,000 hosts: which part is lost, how long an answer takes.",
        FIGURES,
        tuple(found),
        rounds=options.of(6, 1),
        seconds=40 if options.quick else 1800,
        left_out=tuple(left_out),
        axis="questions offered, 1/s",
        note="Rates rise until more than 5 % is lost. Questions and server share this machine's processors.",
    )


def _contender(name: str, start: Start, against: str) -> Contender:
    return Contender(name, partial(_measure, start), against=against, limit_s=180)


def _measure(start: Start, turn: Turn) -> Iterator[Reading]:
    with start(contest.start_by(turn)) as endpoint:
        _wait_until_it_answers(endpoint, turn.end)
        yield from climb(endpoint, turn)


def climb(endpoint: Endpoint, turn: Turn) -> Iterator[Reading]:
    """Readings at rising rates until one is not held, then as fast as answers come. Raises VmError."""
    seconds = 1 if turn.quick else 3
    for rate in _QUICK_RATES if turn.quick else _RATES:
        turn.left()
        said = _dnsperf(endpoint, seconds, "-Q", str(rate), "-q", "1000")
        lost = said["lost"] / max(said["sent"], 1)
        yield Reading(_values(said), f"{rate}/s", rate)
        if lost > _LOST or said["per_s"] < (1 - _LOST) * rate * seconds / (seconds + 1):
            break
    turn.left()
    yield Reading(_values(_dnsperf(endpoint, seconds, "-q", "60")), "fastest, 60 at once")


def _values(said: dict[str, float]) -> dict[str, float]:
    lost = 100 * said["lost"] / max(said["sent"], 1)
    return {"lost": lost, "latency_ms": said["latency_s"] * 1000, "per_s": said["per_s"]}


def _dnsperf(endpoint: Endpoint, seconds: int, *options: str) -> dict[str, float]:
    argv = [*endpoint.prefix, "dnsperf", "-s", endpoint.address, "-p", str(endpoint.port), "-d", str(question_file())]
    argv += ["-l", str(seconds), "-e", "-t", "2", "-c", "8", *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + _TOOL_S, check=False)
    found = {key: re.search(rf"{key}: +([\d.]+)", done.stdout) for key in _SAID}
    if done.returncode or not all(found.values()):
        raise VmError("dnsperf measured nothing", evidence=(done.stdout + done.stderr)[-1500:])
    return {name: float(match[1]) for name, match in zip(_SAID.values(), found.values(), strict=True) if match}


def _wait_until_it_answers(endpoint: Endpoint, end: float) -> None:
    """Raises VmError if there is no good answer in time."""
    query = b"\0\1\0\0\0\1\0\0\0\0\0\0\2h1\5bench\4test\0\0\1\0\1"

    def ask() -> bytes:
        answer = b""
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.3)
            sock.connect((endpoint.address, endpoint.port))
            while time.monotonic() < end:
                with suppress(TimeoutError, ConnectionError):
                    sock.send(query)
                    answer = sock.recv(2048)
                    if answer[3] & 15 == 0 and answer[7] == 1:
                        return b""
        return answer or b"none"

    if answer := endpoint.call(ask):
        raise VmError("no good answer", evidence=repr(answer))


def zone_text() -> str:
    """Hosts with four types each, aliases, a wildcard, delegations with glue."""
    lines = ["$TTL 3600", f"$ORIGIN {ZONE}.", "@ SOA ns1 host 1 7200 900 1209600 300", " NS ns1", " NS ns2"]
    lines += ["ns1 A 192.0.2.1", "ns2 A 192.0.2.2", "*.wild A 192.0.2.90", "*.wild MX 10 h1"]
    for i in range(_HOSTS):
        lines += [f"h{i} A 10.1.{i >> 8}.{i & 255}", f" AAAA 2001:db8::{i:x}", f" MX 10 h{i // 2}", f' TXT "host {i}"']
        if not i % 10:
            lines += [f"c{i} CNAME h{i}", f"d{i} NS ns.d{i}", f"ns.d{i} A 198.51.100.{i % 256}"]
    return "\n".join(lines) + "\n"


def questions(count: int) -> Iterator[str]:
    """One line each. Six of ten are for what is there, one for an alias or a type that is not there, three for names
    that come once: by a wildcard, below a delegation, and nowhere."""
    r = random.Random(11)
    for n in range(count):
        host = r.randrange(_HOSTS)
        tenth = host - host % 10
        what = r.random()
        if what < 0.60:
            yield f"h{host}.{ZONE} {r.choice(('A', 'AAAA', 'MX', 'TXT'))}"
        elif what < 0.65:
            yield f"c{tenth}.{ZONE} A"
        elif what < 0.70:
            yield f"h{host}.{ZONE} SRV"
        elif what < 0.80:
            yield f"n{n}.wild.{ZONE} A"
        elif what < 0.90:
            yield f"www{n}.d{tenth}.{ZONE} A"
        else:
            yield f"none{n}.{ZONE} A"


@cache
def _folder() -> Path:
    """The image with the zone, the zone, and the questions; kept until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="floe-bench-dns."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(_IMAGE, folder / "dns", ignore=shutil.ignore_patterns("data"))
    (folder / "dns" / "data" / "zones").mkdir(parents=True)
    (folder / "dns" / "data" / "zones" / f"{ZONE}.zone").write_text(zone_text())
    settings = folder / "dns" / "image.toml"  # the budget is for the image without this zone
    settings.write_text(settings.read_text().partition("[budget]")[0])
    (folder / "questions").write_text("\n".join(questions(_QUESTIONS)) + "\n")
    return folder


def image() -> Path:
    """images/dns with the zone."""
    return _folder() / "dns"


def question_file() -> Path:
    return _folder() / "questions"
