# SPDX-License-Identifier: MIT
"""10,000 connections one after the other, then 200 at once, to images/web; RAM before and after."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import time

from floe.errors import VmError
from tests.bench.common import WEB, Options, Report, build, expect, floe_vm, say

_PATH = "/style.css"
_SETTLE_S = 60.0  # connections on their way out must be gone by then


def _one(port: int) -> http.client.HTTPConnection:
    """A connection that has had one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    _again(connection)
    return connection


def _again(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", _PATH)
    answer = connection.getresponse()
    if answer.status != 200 or int(answer.headers["Content-Length"]) != len(answer.read()):
        raise VmError(f"status {answer.status}")


def _memory(port: int) -> Report:
    """The guest's own figures once all connections but this one are gone."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/api/status")
        status: Report = json.loads(connection.getresponse().read())
        connection.close()
        if status["connections"] == 1:
            memory = status["memory"]
            taken = memory["ram"] - memory["ram_free"]
            return {"ram_taken": taken, "gc_used": memory["gc_used"], "c_used": memory["c_used"]}
        if time.monotonic() > deadline:
            raise VmError(f"{status['connections']} connections are still there after {_SETTLE_S} s")
        time.sleep(0.2)


def _sequential(port: int, count: int) -> float:
    start = time.monotonic()
    for _ in range(count):
        _one(port).close()
    return round(count / (time.monotonic() - start), 1)


def _parallel(port: int, count: int) -> int:
    """Open all and keep them, then use all at the same time, three times. Returns how many the guest counted."""
    connections = [_one(port) for _ in range(count)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            list(pool.map(_again, connections))
    probe = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    probe.request("GET", "/api/status")
    counted: int = json.loads(probe.getresponse().read())["connections"]
    for connection in [*connections, probe]:
        connection.close()
    return counted


def bench(options: Options) -> Report:
    sequential = 1000 if options.quick else 10_000
    report: Report = {"sequential": sequential, "parallel": 200}
    for accel in options.accels:
        say(f"connections: {accel}")
        with floe_vm(build(WEB / "main.py"), accel=accel, ports=[80]) as vm:
            expect(vm, "serving")
            port = vm.ports[80]
            _parallel(port, 200)  # tables and heaps grow to their size
            before = _memory(port)
            rate = _sequential(port, sequential)
            counted = _parallel(port, 200)
            after = _memory(port)
        change = {key: after[key] - before[key] for key in before}
        report[accel] = {
            "connections_per_s": rate,
            "counted_in_parallel": counted,
            "before": before,
            "after": after,
            "change": change,
            "ram_change_percent": round(100 * change["ram_taken"] / before["ram_taken"], 3),
        }
    return report
