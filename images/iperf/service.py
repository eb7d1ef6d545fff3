# SPDX-License-Identifier: MIT
"""Settings, and what follows from them: a server of both iperfs until the end, or one test as a client."""

import asyncio
import errno
import json
import sys

import appliance
from control import MOST_STREAMS, ProtocolError
from flow import BLOCK
from report import Report

_DEFAULTS = {
    "port": appliance.Port(5201),
    "port2": appliance.Port(5001),
    "idle": appliance.Seconds(30),
    "connect": "",
    "protocol": "iperf3",
    "udp": False,
    "reverse": False,
    "parallel": 1,
    "time": appliance.Seconds(10),
    "bytes": appliance.Size(0),
    "rate": "",
    "length": 0,
    "interval": appliance.Seconds(1),
    "json": False,
}
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_UDP_RATE = 1000000  # as either iperf's
_LENGTHS = {"iperf3": 1460, "iperf": 1470}
_LEAST = 80  # bytes of a datagram: iperf 2's header
_CAUSES = {
    errno.ECONNREFUSED: "refused: no server listens there",
    errno.ECONNRESET: "the server closed the connection",
    errno.EHOSTUNREACH: "no way to that address",
    errno.ETIMEDOUT: "no answer",
    -2: "no such name",
}
_GRACE_S = 10
_LOOK_MS = 10


class Plan:
    """What a client is to do, checked. fail(problem) is called for what cannot be."""

    def __init__(self, settings: object, fail: object) -> None:
        self.protocol = settings.protocol
        if self.protocol not in _LENGTHS:
            fail("PROTOCOL=%s: iperf3 or iperf" % self.protocol)
        if not 1 <= settings.parallel <= MOST_STREAMS:
            fail("PARALLEL=%d: 1 to %d" % (settings.parallel, MOST_STREAMS))
        self.host = settings.connect
        self.port = settings.port if self.protocol == "iperf3" else settings.port2
        self.udp = settings.udp
        self.reverse = settings.reverse
        self.parallel = settings.parallel
        seconds = settings.time
        self.seconds = int(seconds) if seconds == int(seconds) else seconds
        self.bytes = settings.bytes
        self.interval = settings.interval
        self.rate = _rate(settings.rate, fail) or (_UDP_RATE if self.udp and not settings.rate else 0)
        self.length = settings.length or (_LENGTHS[self.protocol] if self.udp else BLOCK)
        if self.udp and not _LEAST <= self.length <= 65507:
            fail("LENGTH=%d: %d to 65507 by UDP" % (self.length, _LEAST))
        if self.protocol == "iperf3" and self.seconds != int(self.seconds):
            fail("TIME=%s: whole seconds with iperf3" % self.seconds)

    async def until_done(self, flows: list, report: Report) -> None:
        """Until the time is over, the bytes have passed, or all flows have ended. Bytes have a deadline, too."""
        seen, since = -1, 0.0
        while not all(flow.ended.is_set() for flow in flows):
            now = report.elapsed()
            moved = sum([flow.bytes for flow in flows])
            if (self.bytes and moved >= self.bytes) or (not self.bytes and now >= self.seconds):
                return
            if moved != seen:
                seen, since = moved, now
            elif now - since > _GRACE_S:
                raise ProtocolError("no byte for %d s" % _GRACE_S)
            await asyncio.sleep_ms(_LOOK_MS)


def _rate(text: str, fail: object) -> int:
    """Bits a second from a number with K, M or G, powers of 1000."""
    unit = text[-1:].upper() if text and not text[-1].isdigit() else ""
    try:
        return int(float(text[: len(text) - len(unit)]) * _UNITS[unit]) if text else 0
    except (ValueError, KeyError):
        return fail("RATE=%s: bits a second, as 500K, 20M or 1G; 0: no limit" % text)


async def _serve(app: appliance.App) -> None:
    from server2 import Server2
    from server3 import Server

    tests = app.counter("iperf_tests_total", "Tests that were finished.", ("protocol", "transport"))
    moved = app.counter("iperf_bytes_total", "Bytes of data in finished tests.", ("direction",))
    servers = [Server(app, tests, moved), Server2(app, tests, moved)]
    for server in servers:
        await server.start()
    app.ready()
    app.log.info("serving iperf3 on port %d, iperf 2 on port %d", app.settings.port, app.settings.port2)
    try:
        await asyncio.Event().wait()
    finally:
        for server in servers:
            await server.stop()


async def _measure(app: appliance.App, plan: Plan) -> int:
    """One test as a client. Returns the exit code."""
    if plan.protocol == "iperf3":
        from client3 import Client3 as Client
    else:
        from client2 import Client2 as Client
    client = Client(plan, lambda line: None if app.settings.json else app.log.info("%s", line))
    app.ready()
    try:
        await client.run()
    except asyncio.TimeoutError:
        app.log.error("%s port %d: no answer in time", plan.host, plan.port)
    except (ProtocolError, EOFError) as exc:
        app.log.error("%s port %d: %s", plan.host, plan.port, str(exc) or "the connection ended")
    except OSError as exc:
        cause = _CAUSES.get(exc.errno) or "error %s" % exc.errno
        app.log.error("%s port %d: %s", plan.host, plan.port, cause)
    else:
        from summary import lines, summary

        said = summary(client)
        if app.settings.json:
            print(json.dumps(said))
        else:
            for line in lines(said):
                app.log.info("%s", line)
        return 0
    return 1


def run() -> None:
    app = appliance.App("iperf", _DEFAULTS)
    if not app.settings.connect:
        app.run(_serve(app))
    else:
        sys.exit(app.run(_measure(app, Plan(app.settings, app.fail))))
