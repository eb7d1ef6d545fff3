# SPDX-License-Identifier: MIT
"""The client of iperf 2: one test with a server."""

import asyncio
import socket

from flow import Flow
from iperf2 import Datagrams2, Header, ServerReport, pack_report
from report import Report

_CONNECT_S = 15
_LAST_TRIES = 10
_LAST_MS = 250


class Client2:
    """plan: service.Plan. After run(): report, flows, theirs (of UDP: a ServerReport for each flow that has one)."""

    def __init__(self, plan: object, say: object) -> None:
        self.plan = plan
        self.flows: list = []
        self.report: Report | None = None
        self.theirs: list = []
        self._say = say
        header = Header(plan.reverse)
        header.seconds, header.rate = plan.seconds, plan.rate
        header.bytes = -(-plan.bytes // plan.parallel)
        self._header = header.pack(plan.port)

    async def run(self) -> None:
        """Raises OSError, asyncio.TimeoutError."""
        plan = self.plan
        try:
            for index in range(plan.parallel):
                await self._open(index + 1)
            self.report = Report(self.flows, plan.interval, self._say)
            for flow in self.flows:
                flow.start()
            self.report.start()
            await plan.until_done(self.flows, self.report)
            for flow in self.flows:
                flow.stop()
            self.report.finish()
            if plan.udp:
                await asyncio.gather(*(self._end_udp(flow) for flow in self.flows))
        finally:
            for flow in self.flows:
                flow.close()
        for flow in self.flows:
            if flow.error is not None and not plan.reverse:
                raise flow.error

    async def _open(self, number: int) -> None:
        plan = self.plan
        if plan.udp:
            peer = socket.getaddrinfo(plan.host, plan.port, 0, socket.SOCK_DGRAM)[0]
            sock = socket.socket(peer[0], socket.SOCK_DGRAM)
            sock.connect(peer[-1])
            form = Datagrams2(plan.length, self._header)
            if plan.reverse:
                first = bytearray(plan.length)
                form.prepare(memoryview(first))
                form.stamp(memoryview(first))
                sock.send(first)
        else:
            reader, _ = await asyncio.wait_for(asyncio.open_connection(plan.host, plan.port), _CONNECT_S)
            sock, form = reader.s, None
            reader.write(self._header)
            await asyncio.wait_for(reader.drain(), _CONNECT_S)
        flow = Flow(number, sock, not plan.reverse, form)
        flow.rate = plan.rate
        flow.limit = 0 if plan.reverse else -(-plan.bytes // plan.parallel)
        self.flows.append(flow)

    async def _end_udp(self, flow: Flow) -> None:
        """Say that it was the last one until the server reports; of a reverse test, report."""
        if not flow.sending:
            flow.sock.send(pack_report(flow.form.last(), flow.form, flow.bytes, self.report.seconds))
            return
        last = flow.form.last()
        flow.bytes += len(last)
        for _ in range(_LAST_TRIES):
            flow.sock.send(last)
            await asyncio.sleep_ms(_LAST_MS)
            try:
                self.theirs.append(ServerReport(flow.sock.recv(2048)))
                return
            except (OSError, ValueError):
                pass
