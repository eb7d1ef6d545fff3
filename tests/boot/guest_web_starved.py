# SPDX-License-Identifier: MIT
"""A proxy for tests/boot/test_web_starved.py, which finds no memory where and as often as a request for /WHERE=TIMES
says. UPSTREAMS is as images/web has it; whatever name is asked for is that of the machine that runs the VM."""

import asyncio
import os
import select
import socket

import network
import proxy
import resolve
import upstream
from httpd import Server
from message import Response

_ANSWER = b"\x81\x80\0\1\0\1\0\0\0\0"
_HERE = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + bytes((10, 0, 2, 2))


class Starving:
    naming = 2  # the answers of name servers; then those of upstreams; then connections to these
    arriving = connecting = 0


class Question(resolve.Question):
    def ready(self, events):
        if Starving.naming:
            Starving.naming -= 1
            raise MemoryError
        super().ready(events)


class Link(upstream.Link):
    def __init__(self, *args):
        if Starving.connecting and not Starving.arriving:
            Starving.connecting -= 1
            raise MemoryError
        super().__init__(*args)

    def ready(self, events):
        if Starving.arriving and not self.connecting:
            Starving.arriving -= 1
            raise MemoryError
        super().ready(events)


class NameServer:
    def __init__(self, events):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(("0.0.0.0", 53))
        events.watch(self.sock, self, select.POLLIN)

    def ready(self, events):
        query, client = self.sock.recvfrom(512)
        self.sock.sendto(query[:2] + _ANSWER + query[12:] + _HERE, client)

    def failed(self, exc):
        pass


async def main():
    options = proxy.Options()
    options.idle = 0  # each request has a connection of its own
    passing = proxy.Proxy(os.getenv("UPSTREAMS").split(","), options)

    def handler(request):
        where, _, times = request.path[1:].partition("=")
        if not times:
            return passing(request)
        setattr(Starving, where, int(times))
        return Response(200, b"ok", b"text/plain")

    server = Server(handler)
    server.start(80)
    NameServer(server.events)
    network.ipconfig(dns="127.0.0.1")
    passing.start(server)
    print("serving")
    await asyncio.Event().wait()


proxy.Question = Question
upstream.Link = Link
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
