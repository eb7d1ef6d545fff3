# SPDX-License-Identifier: MIT
"""iperf3's control connection: states of a byte, JSON behind its length, what a client asks for, results.

The protocol has no specification; what is here is what iperf3 3.12 says and takes.
"""

import asyncio
import json
import struct

TEST_START = 1
TEST_RUNNING = 2
TEST_END = 4
PARAM_EXCHANGE = 9
CREATE_STREAMS = 10
SERVER_TERMINATE = 11
CLIENT_TERMINATE = 12
EXCHANGE_RESULTS = 13
DISPLAY_RESULTS = 14
IPERF_DONE = 16
ACCESS_DENIED = 255
SERVER_ERROR = 254

COOKIE = 37  # bytes, the last one zero
HELLO = b"9876"  # a client's first datagram, and the server's answer
HELLO_BACK = b"6789"
NOT_IMPLEMENTED = 13  # iperf3's number of an error
STEP_S = 15  # for one step of the protocol but the measurement itself
_LARGEST_JSON = 65536
_DIGITS = 500  # of a number in it; reading one takes the square of them
MOST_STREAMS = 128
_LARGEST_DATAGRAM = 65507


class ProtocolError(Exception):
    """The other side said something else than iperf3 would."""


class Control:
    """A control connection; owns its stream."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self.stream = stream

    async def read(self, size: int, seconds: float = STEP_S) -> bytes:
        """Raises EOFError, asyncio.TimeoutError."""
        return await asyncio.wait_for(self.stream.readexactly(size), seconds)

    async def state(self, seconds: float = STEP_S) -> int:
        return (await self.read(1, seconds))[0]

    async def expect(self, wanted: int) -> None:
        got = await self.state()
        if got != wanted:
            raise ProtocolError("state %d instead of %d" % (got, wanted))

    async def write(self, data: bytes) -> None:
        self.stream.write(data)
        await asyncio.wait_for(self.stream.drain(), STEP_S)

    async def say(self, state: int) -> None:
        await self.write(bytes((state,)))

    async def read_json(self) -> dict:
        size = struct.unpack(">I", await self.read(4))[0]
        if size > _LARGEST_JSON:
            raise ProtocolError("JSON of %d bytes" % size)
        data = await self.read(size)
        for at in range(0, size - _DIGITS, _DIGITS):
            if data[at : at + _DIGITS].isdigit():
                raise ProtocolError("a number without end in JSON")
        try:
            value = json.loads(data.rstrip(b"\0").decode())
        except ValueError:
            raise ProtocolError("what should be JSON is none")
        if not isinstance(value, dict):
            raise ProtocolError("what should be a JSON object is none")
        return value

    async def write_json(self, value: dict) -> None:
        data = json.dumps(value).encode()
        await self.write(struct.pack(">I", len(data)) + data)

    async def close(self) -> None:
        self.stream.close()
        await self.stream.wait_closed()


class Request:
    """What a client asks for, checked. Raises ProtocolError."""

    def __init__(self, said: dict) -> None:
        self.udp = bool(said.get("udp"))
        if said.get("sctp"):
            raise ProtocolError("SCTP")
        self.parallel = _number(said, "parallel", 1, 1, MOST_STREAMS)
        self.seconds = _number(said, "time", 0, 0, 86400)
        self.omit = _number(said, "omit", 0, 0, 600)
        self.rate = _number(said, "bandwidth", 0, 0, 1 << 40)
        least, most = (16, _LARGEST_DATAGRAM) if self.udp else (1, 1 << 24)
        self.length = _number(said, "len", 1460 if self.udp else 131072, least, most)
        self.reverse = bool(said.get("reverse"))
        self.both = bool(said.get("bidirectional"))
        self.wide = bool(said.get("udp_counters_64bit"))
        self.wants_output = bool(said.get("get_server_output"))

    def directions(self) -> list:
        """For each stream in the order of their connections, whether the server sends."""
        if self.both:
            return [False] * self.parallel + [True] * self.parallel
        return [self.reverse] * self.parallel


def _number(said: dict, key: str, default: int, least: int, most: int) -> int:
    value = said.get(key, default)
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise ProtocolError("%s is %s" % (key, repr(value)[:40]))
    return int(value)


def stream_number(index: int) -> int:
    """iperf3's: 1, 3, 4, 5 ..."""
    return index + 2 if index else 1


def results(flows: list, seconds: float) -> dict:
    """What one side tells the other at the end."""
    streams = []
    for flow in flows:
        form = flow.form
        streams.append(
            {
                "id": flow.number,
                "bytes": flow.bytes,
                "retransmits": -1,  # not counted
                "jitter": form.jitter_s if form else 0,
                "errors": form.lost if form else 0,
                "omitted_errors": form.omitted_lost if form else 0,
                "packets": form.packets if form else 0,
                "omitted_packets": form.omitted_packets if form else 0,
                "start_time": 0,
                "end_time": seconds,
            }
        )
    said = {"cpu_util_total": 0, "cpu_util_user": 0, "cpu_util_system": 0, "streams": streams}
    said["sender_has_retransmits"] = 0 if any(flow.sending for flow in flows) else -1
    return said
