# SPDX-License-Identifier: MIT
"""The server of iperf3: one test at a time, as iperf3's own. A second client is told that the server is busy."""

import asyncio
import struct

from control import (
    ACCESS_DENIED,
    CLIENT_TERMINATE,
    COOKIE,
    CREATE_STREAMS,
    DISPLAY_RESULTS,
    EXCHANGE_RESULTS,
    HELLO_BACK,
    IPERF_DONE,
    NOT_IMPLEMENTED,
    PARAM_EXCHANGE,
    SERVER_ERROR,
    SERVER_TERMINATE,
    STEP_S,
    TEST_END,
    TEST_RUNNING,
    TEST_START,
    Control,
    ProtocolError,
    Request,
    results,
    stream_number,
)
from datagram import Datagrams
from flow import Flow
from report import Report, megabits
from udpport import UdpPort

_STRANGERS = 64  # connections that have not said who they are
_LOOK_S = 0.5


class Session:
    """One test of one client."""

    def __init__(self, server: "Server", control: Control, cookie: bytes) -> None:
        self.cookie = cookie
        self.flows: list = []
        self._server = server
        self._control = control
        self._wanted: list = []  # directions of the streams that are to come
        self._complete = asyncio.Event()
        self._over = asyncio.Event()  # the client has said something while it is measured
        self._said = 0
        self.request: Request | None = None

    def wants(self, udp: bool) -> bool:
        return len(self.flows) < len(self._wanted) and self.request.udp == udp

    def add(self, sock: object) -> None:
        """A stream that the session wants."""
        index = len(self.flows)
        request = self.request
        form = Datagrams(request.length, request.wide) if request.udp else None
        flow = Flow(stream_number(index), sock, self._wanted[index], form)
        flow.rate = request.rate
        self.flows.append(flow)
        if len(self.flows) == len(self._wanted):
            self._complete.set()

    async def run(self) -> Report:
        """Raises ProtocolError, OSError, EOFError, asyncio.TimeoutError."""
        control = self._control
        await control.say(PARAM_EXCHANGE)
        said = await control.read_json()
        try:
            self.request = Request(said)
        except ProtocolError:
            await control.write(struct.pack(">Bii", SERVER_ERROR, NOT_IMPLEMENTED, 0))
            raise
        self._wanted = self.request.directions()
        await control.say(CREATE_STREAMS)
        await asyncio.wait_for(self._complete.wait(), STEP_S)
        await control.say(TEST_START)
        report = Report(self.flows, 1.0, lambda line: self._server.app.log.debug("%s", line))
        await self._measure(report)
        await self._exchange(report)
        return report

    async def _measure(self, report: Report) -> None:
        for flow in self.flows:
            flow.start()
        report.start()
        await self._control.say(TEST_RUNNING)
        listener = asyncio.create_task(self._listen())
        try:
            await self._watch(report)
        finally:
            listener.cancel()
            for flow in self.flows:
                flow.close()  # now: a client may read whole blocks until the end
            report.finish()
        if self._said != TEST_END:
            raise ProtocolError("state %d" % self._said if self._said else "the client gave up")

    async def _listen(self) -> None:
        """The client's next word; a task of its own, for a deadline could come together with the word and lose it."""
        try:
            self._said = (await self._control.stream.readexactly(1))[0]
            if self._said == CLIENT_TERMINATE:
                self._said = 0
        except (OSError, EOFError):
            pass
        self._over.set()

    async def _watch(self, report: Report) -> None:
        """Until the client has said something. Raises ProtocolError if no byte moves for too long."""
        omit = self.request.omit
        seen, silent = -1, 0.0
        while not self._over.is_set():
            try:
                await asyncio.wait_for(self._over.wait(), _LOOK_S)
            except asyncio.TimeoutError:
                pass
            if omit and report.elapsed() >= omit:
                report.forget()
                omit, seen = 0, -1
            moved = sum([flow.bytes for flow in self.flows])
            silent = silent + _LOOK_S if moved == seen else 0.0
            seen = moved
            if silent >= self._server.idle_s:
                raise ProtocolError("no byte for %d s" % self._server.idle_s)

    async def _exchange(self, report: Report) -> None:
        control = self._control
        await control.say(EXCHANGE_RESULTS)
        await control.read_json()
        mine = results(self.flows, report.seconds)
        if self.request.wants_output:
            mine["server_output_text"] = "\n".join(report.lines) + "\n"
        await control.write_json(mine)
        await control.say(DISPLAY_RESULTS)
        await control.expect(IPERF_DONE)

    async def tell_end(self) -> None:
        """Raises OSError, asyncio.TimeoutError."""
        await self._control.say(SERVER_TERMINATE)

    def close(self) -> None:
        for flow in self.flows:
            flow.close()


class Server:
    """Owns its ports and the session."""

    def __init__(self, app: object, tests: object, moved: object) -> None:
        self.app = app
        self.idle_s = app.settings.idle
        self._tests = tests  # counters by labels
        self._moved = moved
        self._session: Session | None = None
        self._strangers = 0
        self._listener = None
        self._udp = UdpPort(app.settings.port, self._greet)

    async def start(self) -> None:
        """Raises OSError."""
        self._listener = await asyncio.start_server(self._accept, "::", self.app.settings.port)
        self._udp.start()

    async def stop(self) -> None:
        self._listener.close()
        self._udp.close()
        session = self._session
        if session is not None:
            try:
                await session.tell_end()
            except (OSError, asyncio.TimeoutError):
                pass
            session.close()  # which may have ended meanwhile

    def _greet(self, data: bytes, address: object, open: object) -> None:
        session = self._session
        if session is not None and len(data) == 4 and session.request is not None and session.wants(udp=True):
            sock = open()
            sock.send(HELLO_BACK)
            session.add(sock)

    async def _accept(self, reader: object, writer: object) -> None:
        control = Control(reader)
        if self._strangers >= _STRANGERS:
            await control.close()
            return
        self._strangers += 1
        try:
            cookie = await control.read(COOKIE)
        except (OSError, EOFError, asyncio.TimeoutError):
            await control.close()
            return
        finally:
            self._strangers -= 1
        session = self._session
        if session is None:
            await self._serve(Session(self, control, cookie), writer.get_extra_info("peername"))
        elif cookie == session.cookie and session.request is not None and session.wants(udp=False):
            session.add(reader.s)
            return  # the session has the socket
        else:
            try:
                await control.say(ACCESS_DENIED)
            except (OSError, asyncio.TimeoutError):
                pass
        await control.close()

    async def _serve(self, session: Session, peer: tuple) -> None:
        self._session = session
        try:
            report = await session.run()
            self._tell(session, peer, report)
        except (ProtocolError, OSError, EOFError, asyncio.TimeoutError) as exc:
            cause = str(exc) or "the connection ended" if not isinstance(exc, asyncio.TimeoutError) else "no answer"
            self.app.log.warning("iperf3: test of %s ended early: %s", peer[0], cause)
        finally:
            self._session = None
            session.close()

    def _tell(self, session: Session, peer: tuple, report: Report) -> None:
        kind = "UDP" if session.request.udp else "TCP"
        self._tests.labels("iperf3", kind).inc()
        for sending, verb in ((False, "received"), (True, "sent")):
            flows = [flow for flow in session.flows if flow.sending == sending]
            if flows:
                size = sum([flow.bytes for flow in flows])
                self._moved.labels(verb).inc(size)
                more = ""
                if session.request.udp and not sending:
                    more = ", %d of %d datagrams lost" % (
                        sum([flow.form.lost - flow.form.omitted_lost for flow in flows]),
                        sum([flow.form.packets - flow.form.omitted_packets for flow in flows]),
                    )
                what = (peer[0], verb, size, kind, len(flows), megabits(size, report.seconds), more)
                self.app.log.info("iperf3: %s: %s %d bytes of %s in %d streams, %.1f Mbit/s%s", *what)
