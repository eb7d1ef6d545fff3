# SPDX-License-Identifier: MIT
"""The server of iperf 2: each connection, and each peer by UDP, is a test of its own."""

import asyncio
import time

from flow import Flow
from iperf2 import DATAGRAM, HEADER, SHORTEST, Datagrams2, Header, header_size, pack_report
from report import megabits
from udpport import UdpPort

_MOST = 128  # tests at a time
_LINGER_MS = 2000  # for a client that did not hear the report
_LOOK_S = 1
_LAST_TRIES = 10
_DEFAULT_RATE = 1048576  # of UDP, where a client names none


class Server2:
    """Owns its ports and the tests."""

    def __init__(self, app: object, tests: object, moved: object) -> None:
        self.app = app
        self._idle_s = app.settings.idle
        self._tests = tests
        self._moved = moved
        self._running: dict = {}  # flow -> its task, of UDP
        self._listener = None
        self._udp = UdpPort(app.settings.port2, self._greet)

    async def start(self) -> None:
        """Raises OSError."""
        self._listener = await asyncio.start_server(self._accept, "::", self.app.settings.port2)
        self._udp.start()

    async def stop(self) -> None:
        self._listener.close()
        self._udp.close()
        for flow in list(self._running):
            flow.close()

    # ---- TCP ----------------------------------------------------------------------------------

    async def _accept(self, reader: object, writer: object) -> None:
        peer = writer.get_extra_info("peername")[0]
        try:
            if len(self._running) < _MOST:
                head = await asyncio.wait_for(self._head(reader), self._idle_s)
                await self._serve(reader.s, peer, head)
        except (OSError, EOFError, asyncio.TimeoutError):
            self.app.log.info("iperf: %s left before a test", peer)
        finally:
            await reader.wait_closed()

    async def _head(self, reader: object) -> bytes:
        """The first bytes: a header, or four bytes of data."""
        first = await reader.readexactly(4)
        size = header_size(first)
        return first + await reader.readexactly(size - 4) if size else first

    async def _serve(self, sock: object, peer: str, head: bytes) -> None:
        header = Header.read(head) if len(head) >= SHORTEST else Header()
        flows = []
        if not header.reverse:
            flows.append(Flow(1, sock, False))
            flows[0].bytes = len(head)
        if header.reverse or header.both:
            flows.append(Flow(2, sock, True))
            flows[-1].limit, flows[-1].rate = header.bytes, header.rate
        began = time.ticks_ms()
        for flow in flows:
            self._running[flow] = None
            flow.start()
        try:
            await asyncio.gather(*(self._watch(flow, header) for flow in flows))
        finally:
            seconds = time.ticks_diff(time.ticks_ms(), began) / 1000
            for flow in flows:
                flow.stop()
                self._running.pop(flow, None)
                self._tell(peer, flow, seconds)

    async def _watch(self, flow: Flow, header: Header) -> None:
        """Until a flow ends, stands still for too long, or a sender's time is over."""
        left = header.seconds if flow.sending and not header.bytes else None
        seen, still = -1, 0.0
        while still < self._idle_s and (left is None or left > 0):
            step = _LOOK_S if left is None else min(left, _LOOK_S)
            try:
                await asyncio.wait_for(flow.ended.wait(), step)
                return
            except asyncio.TimeoutError:
                pass
            left = None if left is None else left - step
            still = still + step if flow.bytes == seen else 0.0
            seen = flow.bytes

    # ---- UDP ----------------------------------------------------------------------------------

    def _greet(self, data: bytes, address: object, open: object) -> None:
        if len(data) < DATAGRAM or data[0] & 0x80 or len(self._running) >= _MOST:
            return  # none of iperf's, or a last one that comes late
        head = data[DATAGRAM : DATAGRAM + HEADER]
        header = Header.read(head) if len(head) >= SHORTEST and header_size(head[:4]) else Header()
        form = Datagrams2(len(data))
        flow = Flow(1, open(), header.reverse, form)
        if flow.sending:
            flow.limit, flow.rate = header.bytes, header.rate or _DEFAULT_RATE
        elif form.arrived(data):
            flow.bytes += len(data)
        self._running[flow] = asyncio.create_task(self._serve_udp(flow, address[0], header))

    async def _serve_udp(self, flow: Flow, peer: str, header: Header) -> None:
        began = time.ticks_ms()
        flow.start()
        try:
            await self._watch(flow, header)
            flow.stop()
            seconds = time.ticks_diff(time.ticks_ms(), began) / 1000
            self._tell(peer, flow, seconds)
            if flow.sending:
                await self._say_last(flow)
            elif flow.form.over:
                await self._say_report(flow, seconds)
        except OSError as exc:
            self.app.log.info("iperf: %s is gone (error %d)", peer, exc.errno)
        finally:
            self._running.pop(flow, None)
            flow.close()

    async def _say_last(self, flow: Flow) -> None:
        """Until the client says that it has heard it."""
        last = flow.form.last()
        for _ in range(_LAST_TRIES):
            flow.sock.send(last)
            await asyncio.sleep_ms(100)
            if _heard(flow.sock):
                return

    async def _say_report(self, flow: Flow, seconds: float) -> None:
        """Again for each last datagram that still comes."""
        report = pack_report(flow.form.last(), flow.form, flow.bytes, seconds)
        flow.sock.send(report)
        end = time.ticks_add(time.ticks_ms(), _LINGER_MS)
        while time.ticks_diff(end, time.ticks_ms()) > 0:
            await asyncio.sleep_ms(50)
            if _heard(flow.sock):
                flow.sock.send(report)

    def _tell(self, peer: str, flow: Flow, seconds: float) -> None:
        kind, verb = "TCP" if flow.form is None else "UDP", "sent" if flow.sending else "received"
        self._tests.labels("iperf", kind).inc()
        self._moved.labels(verb).inc(flow.bytes)
        more = ""
        if flow.form is not None and not flow.sending:
            more = ", %d of %d datagrams lost" % (flow.form.lost, flow.form.packets)
        what = (peer, verb, flow.bytes, kind, megabits(flow.bytes, seconds), more)
        self.app.log.info("iperf: %s: %s %d bytes of %s, %.1f Mbit/s%s", *what)


def _heard(sock: object) -> bool:
    try:
        return bool(sock.recv(DATAGRAM))
    except OSError:
        return False
