# SPDX-License-Identifier: MIT
"""The load of the soak: real clients at a modest constant rate, all at once, and what they met."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from floe.bench import dns
from floe.errors import VmError
from tests.bench.common import GUESTS, HERE
from tests.bench.soakset import Set
from tests.support.command import floe

_HANDSHAKE_EVERY_S = 2.0
_SWAP_EVERY_S = 10.0
_QUERIES_PER_S = 50
_GRACE_S = 60.0
_PAUSED = re.compile(r"the program paused for ([\d.]+) ms")
_PART = GUESTS / "soak" / "part.py"


@dataclass
class Result:
    """Of one kind of requests. errors: each as text, the number of them first where a tool counted."""

    count: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    errors: list[str] = field(default_factory=list)


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """The half, and 99 of a hundred, are not above these. (0, 0) of nothing."""
    if not values:
        return 0.0, 0.0
    ascending = sorted(values)
    return statistics.median(ascending), ascending[min(len(ascending) - 1, int(len(ascending) * 0.99))]


def wrk(url: str, seconds: int, connections: int, pause_ms: int) -> subprocess.Popen[str]:
    argv = [
        "wrk",
        f"-t{connections}",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
    ]
    return subprocess.Popen(
        [*argv, "-s", str(HERE / "wrk.lua"), url],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"BENCH_PAUSE_MS": str(pause_ms)},
    )


def dnsperf(port: int, seconds: int, out: Path) -> subprocess.Popen[str]:
    """It prints each query: to a file, for a pipe that nobody reads meanwhile would hold it up."""
    argv = ["dnsperf", "-v", "-s", "127.0.0.1", "-p", str(port), "-d", str(dns.question_file())]
    argv += ["-l", str(seconds), "-Q", str(_QUERIES_PER_S), "-t", "5", "-e"]
    with out.open("w") as file:
        return subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT, text=True)


def of_wrk(text: str) -> Result:
    """What wrk.lua printed."""
    line = next((line for line in text.splitlines() if line.startswith("JSON ")), None)
    if line is None:
        return Result(errors=[f"wrk measured nothing: {text[-300:]}"])
    told = json.loads(line.removeprefix("JSON "))
    kinds = [f"{told[kind]} {kind}" for kind in ("connect", "read", "write", "status", "timeout") if told[kind]]
    return Result(told["requests"], told["p50_us"] / 1000, told["p99_us"] / 1000, kinds)


def of_dnsperf(text: str) -> Result:
    """What dnsperf -v printed: each answer with its time, T for none in time."""
    good = re.findall(r"^> (\w+) \S+ \w+ ([\d.]+)$", text, re.MULTILINE)
    p50, p99 = quantiles([float(time) * 1000 for _, time in good])
    lost = len(re.findall(r"^> T ", text, re.MULTILINE))
    wrong = [code for code, _ in good if code not in ("NOERROR", "NXDOMAIN")]
    errors = [f"{lost} lost"] if lost else []
    errors += [f"{len(wrong)} wrong: {wrong[0]}"] if wrong else []
    errors += [] if good else [f"dnsperf measured nothing: {text[-300:]}"]
    return Result(len(good), p50, p99, errors)


class _Handshakes:
    """Connections that are new each time, the certificate checked."""

    def __init__(self, vms: Set) -> None:
        self._argv = [
            "curl",
            "-sSf",
            "-m",
            "20",
            "-o",
            "/dev/null",
            "-w",
            "%{time_total}",
            "--cacert",
            str(vms.ca),
        ]
        self._argv.append(f"https://localhost:{vms.https.ports['443']}/style.css")
        self._address = f"localhost:{vms.https.ports['443']}"
        self._times: list[float] = []
        self._errors: list[str] = []

    def once(self) -> None:
        done = subprocess.run(self._argv, capture_output=True, text=True, timeout=40, check=False)
        if done.returncode:
            self._errors.append(done.stderr.strip())
        else:
            self._times.append(float(done.stdout) * 1000)

    def resume(self) -> None:
        """openssl connects once and then five times with the session it got."""
        argv = [
            "openssl",
            "s_client",
            "-connect",
            self._address,
            "-tls1_2",
            "-reconnect",
        ]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        reused = len(re.findall("^Reused, TLSv1.2", done.stdout, re.MULTILINE))
        if done.returncode or reused != 5:
            self._errors.append(f"{reused} of 5 sessions resumed: {done.stderr.strip()[-200:]}")

    def result(self) -> Result:
        return Result(len(self._times), *quantiles(self._times), self._errors)


class _Swaps:
    """The module part of the store, each time of another version; the time is how long the program paused."""

    def __init__(self, vms: Set, version: int) -> None:
        self.version = version
        self._file = vms.folder / "part.py"
        self._url = f"http://127.0.0.1:{vms.store.ports['80']}/version"
        self._name = vms.store.name
        self._times: list[float] = []
        self._errors: list[str] = []

    def once(self) -> None:
        self.version += 1
        self._file.write_text(_PART.read_text().replace("VERSION = 0", f"VERSION = {self.version}", 1))
        done = floe("swap", self._name, "part", Path(self._file))
        paused = _PAUSED.search(done.stdout + done.stderr)
        told = subprocess.run(
            ["curl", "-sSf", "-m", "20", self._url],
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        if done.returncode or paused is None or told.stdout != f"{self.version}\n":
            self._errors.append(f"version {self.version}: {done.stderr.strip()} {told.stdout}{told.stderr}")
        else:
            self._times.append(float(paused[1]))

    def result(self) -> Result:
        return Result(len(self._times), *quantiles(self._times), self._errors)


class Load:
    """Minute by minute."""

    def __init__(self, vms: Set) -> None:
        self._vms = vms
        self._version = 0

    def run(self, seconds: int) -> dict[str, Result]:
        """All kinds of requests for so long. Raises VmError where a client does not end."""
        vms = self._vms
        queries = vms.folder / "dnsperf.out"
        clients = {
            "http": wrk(f"http://127.0.0.1:{vms.http.ports['80']}/", seconds, 4, 20),
            "https": wrk(f"https://localhost:{vms.https.ports['443']}/", seconds, 2, 40),
            "store": wrk(f"http://127.0.0.1:{vms.store.ports['80']}/turn", seconds, 2, 50),
            "dns": dnsperf(vms.dns.ports["53/udp"], seconds, queries),
        }
        handshakes, swaps = _Handshakes(vms), _Swaps(vms, self._version)
        try:
            self._meanwhile(time.monotonic() + seconds, handshakes, swaps)
            said = {kind: client.communicate(timeout=_GRACE_S)[0] for kind, client in clients.items()}
            handshakes.resume()
        except subprocess.TimeoutExpired as e:
            raise VmError(f"a client of the load did not end: {e.cmd}") from e
        finally:
            for client in clients.values():
                client.kill()
                client.wait()
        self._version = swaps.version
        return {
            **{kind: of_wrk(said[kind]) for kind in ("http", "https", "store")},
            "dns": of_dnsperf(queries.read_text()),
            "handshake": handshakes.result(),
            "swap": swaps.result(),
        }

    def _meanwhile(self, end: float, handshakes: _Handshakes, swaps: _Swaps) -> None:
        next_swap = time.monotonic() + 1.0
        while (now := time.monotonic()) < end - 1.0:
            handshakes.once()
            if now >= next_swap:
                next_swap += _SWAP_EVERY_S
                swaps.once()
            time.sleep(max(0.0, min(end - 1.0, now + _HANDSHAKE_EVERY_S) - time.monotonic()))
