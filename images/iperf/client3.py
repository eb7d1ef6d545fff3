# SPDX-License-Identifier: MIT
"""The client of iperf3: one test with a server."""

import asyncio
import random
import socket

from control import (
    ACCESS_DENIED,
    CREATE_STREAMS,
    DISPLAY_RESULTS,
    EXCHANGE_RESULTS,
    HELLO,
    IPERF_DONE,
    PARAM_EXCHANGE,
    SERVER_ERROR,
    SERVER_TERMINATE,
    STEP_S,
    TEST_END,
    TEST_RUNNING,
    TEST_START,
    Control,
    ProtocolError,
    results,
    stream_number,
)
from datagram import Datagrams
from flow import Flow
from report import Report

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_HELLOS = 5
_HELLO_MS = 1000
_GRACE_S = 5  # over the time of the test
_LOOK_MS = 10
_ENDS = {
    ACCESS_DENIED: "the server is busy with another test",
    SERVER_ERROR: "the server reports an error",
    SERVER_TERMINATE: "the server ends",
}


class Client3:
    """plan: service.Plan. After run(): report, flows, theirs (the server's results)."""

    def __init__(self, plan: object, say: object) -> None:
        self.plan = plan
        self.flows: list = []
        self.report: Report | None = None
        self.theirs: dict = {}
        self._say = say

    async def run(self) -> None:
        """Raises ProtocolError, OSError, EOFError, asyncio.TimeoutError."""
        plan = self.plan
        reader, _ = await asyncio.wait_for(asyncio.open_connection(plan.host, plan.port), STEP_S)
        control = Control(reader)
        try:
            cookie = "".join([random.choice(_LETTERS) for _ in range(36)]).encode() + b"\0"
            await control.write(cookie)
            state = None
            while state != DISPLAY_RESULTS:
                state = await control.state()
                if state in _ENDS:
                    raise ProtocolError(_ENDS[state])
                await self._step(control, state, cookie)
            await control.say(IPERF_DONE)
        finally:
            for flow in self.flows:
                flow.close()
            await control.close()

    async def _step(self, control: Control, state: int, cookie: bytes) -> None:
        if state == PARAM_EXCHANGE:
            await control.write_json(self._wishes())
        elif state == CREATE_STREAMS:
            for index in range(self.plan.parallel):
                await self._open(index, cookie)
        elif state == TEST_RUNNING:
            await self._measure(control)
            await control.say(TEST_END)
        elif state == EXCHANGE_RESULTS:
            await control.write_json(results(self.flows, self.report.seconds))
            self.theirs = await control.read_json()
        elif state not in (TEST_START, DISPLAY_RESULTS):
            raise ProtocolError("state %d" % state)

    def _wishes(self) -> dict:
        plan = self.plan
        said = {"udp" if plan.udp else "tcp": True, "omit": 0, "time": 0 if plan.bytes else plan.seconds}
        said["num"] = plan.bytes
        said["blockcount"] = 0
        said["parallel"] = plan.parallel
        said["len"] = plan.length
        said["bandwidth"] = plan.rate
        said["pacing_timer"] = 1000
        said["client_version"] = "3.12"
        if plan.reverse:
            said["reverse"] = True
        return said

    async def _open(self, index: int, cookie: bytes) -> None:
        plan = self.plan
        if plan.udp:
            sock = await self._greeted()
        else:
            reader, _ = await asyncio.wait_for(asyncio.open_connection(plan.host, plan.port), STEP_S)
            sock = reader.s
            reader.write(cookie)
            await reader.drain()
        form = Datagrams(plan.length) if plan.udp else None
        flow = Flow(stream_number(index), sock, not plan.reverse, form)
        flow.rate = plan.rate
        flow.limit = 0 if plan.reverse else -(-plan.bytes // plan.parallel)
        self.flows.append(flow)

    async def _greeted(self) -> socket.socket:
        """A UDP socket whose server has answered."""
        peer = socket.getaddrinfo(self.plan.host, self.plan.port, 0, socket.SOCK_DGRAM)[0]
        sock = socket.socket(peer[0], socket.SOCK_DGRAM)
        sock.connect(peer[-1])
        sock.setblocking(False)
        for _ in range(_HELLOS):
            sock.send(HELLO)
            for _ in range(_HELLO_MS // _LOOK_MS):
                await asyncio.sleep_ms(_LOOK_MS)
                try:
                    if sock.recv(4):
                        return sock
                except OSError:
                    pass
        sock.close()
        raise ProtocolError("the server does not answer by UDP")

    async def _measure(self, control: Control) -> None:
        plan = self.plan
        self.report = Report(self.flows, plan.interval, self._say)
        for flow in self.flows:
            flow.start()
        self.report.start()
        try:
            await self.plan.until_done(self.flows, self.report)
        finally:
            for flow in self.flows:
                flow.stop()
            self.report.finish()
        for flow in self.flows:
            if flow.error is not None:
                raise flow.error
