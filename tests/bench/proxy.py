# SPDX-License-Identifier: MIT
"""What images/web as a reverse proxy adds to a request's time: a web VM asked directly, and through the proxy in a VM.

Beside them what no proxy in a VM can do better than: a VM that passes bytes on and reads none of them, and for the
share of the VM in that, a process of this machine that does so. Requests are all different, on connections that are
kept; the four take turns, some requests each, in one run. `closed` is one request at a time, the next at once; `paced`
is eight connections that share 200 requests a second.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.bench.common import GUESTS, WEB, Options, Report, build, expect, floe_vm, say

_READY = "serving on port 80"
_PATHS = ("/", "/style.css", "/app.js", "/logo.svg", "/icon.png", "/routes.json", "/robots.txt", "/about/")
_FIELDS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br",
}
_TURN = 48  # requests of one system, until it is the next one's turn
_CALM_S = 0.02  # between connections: the accept queue of QEMU's port forwarding holds two
_LOADS = {"closed": (1, 0.0), "paced": (8, 200.0)}  # connections, requests a second
_RELAY = """
import asyncio, sys

async def pass_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()

async def serve(reader, writer):
    others = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(pass_on(reader, others[1]), pass_on(others[0], writer))

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def _relay(port: int) -> Iterator[int]:
    """A relay to that port, as a process; the port it listens on."""
    with subprocess.Popen([sys.executable, "-c", _RELAY, str(port)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


class _Client:
    """Kept connections to one system, asked in turn. times: milliseconds of each request."""

    def __init__(self, port: int, connections: int) -> None:
        self.times: list[float] = []
        self._count = 0
        self._connections = []
        for _ in range(connections):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            self._connections.append(connection)
            self._ask(connection)
            time.sleep(_CALM_S)

    def _ask(self, connection: http.client.HTTPConnection) -> float:
        self._count += 1
        path = f"{_PATHS[self._count % len(_PATHS)]}?v={self._count}"
        start = time.perf_counter()
        connection.request("GET", path, headers={**_FIELDS, "Cookie": f"seen={self._count}"})
        answer = connection.getresponse()
        body = answer.read()
        taken = time.perf_counter() - start
        assert answer.status == 200 and body, (answer.status, path)
        return taken * 1000

    def turn(self, rate: float) -> None:
        due = time.perf_counter()
        for number in range(_TURN):
            if rate:
                due += 1 / rate
                time.sleep(max(0.0, due - time.perf_counter()))
            self.times.append(self._ask(self._connections[number % len(self._connections)]))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def _measure(ports: dict[str, int], seconds: int, connections: int, rate: float) -> Report:
    clients = {name: _Client(port, connections) for name, port in ports.items()}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in clients.values():
            client.turn(rate)
    report: Report = {"requests each": len(clients["web"].times)}
    p50 = {name: statistics.median(client.times) for name, client in clients.items()}
    for name, client in clients.items():
        client.close()
        cut = statistics.quantiles(client.times, n=100)
        report[name] = {
            "p50_ms": round(p50[name], 3),
            "p99_ms": round(cut[98], 3),
            "min_ms": round(min(client.times), 3),
            "adds_ms": round(p50[name] - p50["web"], 3),
        }
    return report


def _systems(stack: ExitStack, accel: str) -> dict[str, int]:
    """Started until the stack ends; the port of this machine that leads to each."""

    def vm(app: Any, *env: tuple[str, str]) -> int:
        guest = stack.enter_context(floe_vm(build(app), accel=accel, ports=[80], env=env))
        expect(guest, _READY)
        return guest.ports[80]

    web = vm(WEB)
    # What is behind a port of the host is at 10.0.2.2 for a guest.
    upstream = f"10.0.2.2:{web}"
    return {
        "web": web,
        "proxy": vm(WEB, ("UPSTREAMS", upstream)),
        "relay VM": vm(GUESTS / "guest_relay.py", ("UPSTREAM", upstream)),
        "relay process": stack.enter_context(_relay(web)),
    }


def bench(options: Options) -> Report:
    """On each accelerator; `adds_ms` is of p50, to the web VM asked directly."""
    report: Report = {}
    for accel in options.accels:
        with ExitStack() as stack:
            ports = _systems(stack, accel)
            for load, (connections, rate) in _LOADS.items():
                say(f"  {accel}, {load}")
                report[f"{accel} {load}"] = _measure(ports, options.seconds(20), connections, rate)
    return report
