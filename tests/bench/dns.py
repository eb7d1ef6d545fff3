# SPDX-License-Identifier: MIT
"""DNS queries per second by UDP, of questions that differ: images/dns and Debian's nsd in the Linux microVM.

Both have the same zone, one CPU, the same machine type and QEMU's user network. For each system dnsperf asks as fast
as it gets answers (`per_s`), and at rates from 100 a second upwards until the first that loses a query.
"""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from floe.errors import NotFound, VmError
from tests.bench.common import ROOT, Options, Report, alternate, build, expect, floe_vm, median, ratios, spread
from tests.bench.linux import MACHINE, LinuxVm, program

ZONE = "bench.test"
_HOSTS = 3000
_QUESTIONS = 200_000
_RATES = (100, 500, 1000, 2000, 4000, 6000, 8000, 12000, 16000, 24000, 32000, 48000)
_ANSWER_S = 60
_NSD_CONF = """server:
  ip-address: 0.0.0.0@53
  username: "root"
  chroot: ""
  zonesdir: "/app"
  database: ""
  pidfile: "/tmp/nsd.pid"
  xfrdfile: "/tmp/xfrd.state"
  xfrdir: "/tmp"
  zonelistfile: "/tmp/zone.list"
  server-count: 1
  minimal-responses: yes
  round-robin: no
  refuse-any: no
  rrl-ratelimit: 0
  do-ip6: no
remote-control:
  control-enable: no
zone:
  name: "bench.test"
  zonefile: "bench.zone"
"""


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
    """One line each. Six of ten are for what is there; the other names come once."""
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
    """The image with the zone, the zone, and the questions; kept until the end."""
    folder = Path(tempfile.mkdtemp(prefix="floe-bench-dns."))
    shutil.copytree(ROOT / "images" / "dns", folder / "dns", ignore=shutil.ignore_patterns("data"))
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


def _dnsperf(port: int, seconds: int, *options: str) -> Report:
    argv = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(question_file()), "-l", str(seconds)]
    argv += ["-e", "-t", "2", "-c", "8", *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60, check=False)
    found = {key: re.search(rf"{key}: +([\d.]+)", done.stdout) for key in _FIGURES}
    if done.returncode or not all(found.values()):
        raise VmError("dnsperf measured nothing", evidence=(done.stdout + done.stderr)[-1500:])
    report = {name: float(match[1]) for name, match in zip(_FIGURES.values(), found.values(), strict=True) if match}
    codes = re.search(r"Response codes: +(.*)", done.stdout)
    return {**report, "codes": codes[1] if codes else ""}


_FIGURES = {
    "Queries sent": "sent",
    "Queries lost": "lost",
    "Queries per second": "per_s",
    r"Average Latency \(s\)": "latency_s",
}


def _wait_until_it_answers(port: int) -> None:
    """Raises VmError if there is no good answer in time."""
    query = b"\0\1\0\0\0\1\0\0\0\0\0\0\2h1\5bench\4test\0\0\1\0\1"
    deadline = time.monotonic() + _ANSWER_S
    answer = b""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.connect(("127.0.0.1", port))
        while time.monotonic() < deadline:
            try:
                sock.send(query)
                answer = sock.recv(2048)
            except (TimeoutError, ConnectionError):
                continue
            if answer[3] & 15 == 0 and answer[7] == 1:
                return
    raise VmError("no good answer", evidence=answer.hex())


def _measure(port: int, seconds: int, rates: tuple[int, ...]) -> Report:
    _wait_until_it_answers(port)
    _dnsperf(port, seconds, "-q", "60")
    ladder: dict[str, Report] = {}
    for rate in rates:
        ladder[str(rate)] = run = _dnsperf(port, 3, "-Q", str(rate), "-q", "1000")
        if run["lost"] or run["per_s"] < 0.95 * rate:
            break
    return {"fastest": _dnsperf(port, seconds, "-q", "60"), "rates": ladder}


@contextmanager
def running_floe(accel: str, machine: str) -> Iterator[int]:
    """Its port on this machine."""
    with floe_vm(build(image()), accel=accel, machine=machine, memory="64M", ports=["53/udp"]) as vm:
        expect(vm, "dns: serving 1 zones on port 53")
        yield vm.ports[53]


@contextmanager
def running_nsd(accel: str) -> Iterator[int]:
    """Its port on this machine."""
    files = {"app/nsd.conf": _NSD_CONF.encode(), "app/bench.zone": zone_text().encode()}
    root = program("nsd", "-d -c /app/nsd.conf", files)
    with LinuxVm(None, ("53/udp",), {}, accel=accel, root=root) as vm:
        vm.wait_for("nsd started")
        yield vm.ports[53]


def _run(start: Callable[[], Any], seconds: int, rates: tuple[int, ...]) -> Report:
    with start() as port:
        return _measure(port, seconds, rates)


def _summary(values: list[Report]) -> Report:
    fastest = [run["fastest"] for run in values]
    return {
        "per_s": spread([run["per_s"] for run in fastest], 0),
        "latency_ms": median([run["latency_s"] * 1000 for run in fastest]),
        "lost": sum(run["lost"] for run in fastest),
        "codes": fastest[-1]["codes"],
        "rates": [
            {
                rate: f"{run['per_s']:.0f}/s, {run['lost']:.0f} lost, {run['latency_s'] * 1000:.2f} ms"
                for rate, run in each["rates"].items()
            }
            for each in values
        ],
    }


def bench(options: Options) -> Report:
    """In turns; nsd under TCG, as the Linux microVM of the other benches. Each is asked for some seconds first."""
    if shutil.which("dnsperf") is None:
        raise NotFound("dnsperf is not installed", hint="make setup-tests")
    seconds = options.seconds(15)
    rates = _RATES[:3] if options.quick else _RATES
    systems: dict[str, Callable[[], Any]] = {
        f"floe {accel} {MACHINE}": partial(_run, partial(running_floe, accel, MACHINE), seconds, rates)
        for accel in options.accels
    }
    systems[f"nsd tcg {MACHINE}"] = partial(_run, partial(running_nsd, "tcg"), seconds, rates)
    runs = alternate(2 if options.quick else 3, systems)
    report: Report = {name: _summary(values) for name, values in runs.items()}
    speeds = {name: [run["fastest"] for run in values] for name, values in runs.items()}
    report["ratios"] = ratios(speeds, "per_s")
    return report
