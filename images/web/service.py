# SPDX-License-Identifier: MIT
"""A web site from the image's data folder with a small JSON API, until Ctrl-C: what main.py and secure.py run."""

import asyncio
import os
import sys

import micropython
from appliance import Log
from httpd import Limits, Server
from notes import Notes, Status
from pages import Files, Router

_DRAIN_S = 5  # for requests in flight after Ctrl-C


def _number(name: str, default: int) -> int:
    text = os.getenv(name) or ""
    if text and not text.isdigit():
        raise ValueError("%s=%s is not a number" % (name, text))
    return int(text) if text else default


def _make_server(notes: Notes, limits: Limits, context: object) -> Server:
    limits.idle_s = _number("IDLE_S", limits.idle_s)
    limits.head_s = _number("HEAD_S", limits.head_s)
    limits.connections = _number("MAX_CONNECTIONS", limits.connections)
    limits.per_address = _number("MAX_PER_ADDRESS", limits.per_address)
    if os.getenv("UPSTREAMS"):
        return _make_gateway(limits, context)
    router = Router(Files(os.getenv("SITE") or "/rom"))
    server = Server(router, limits, context)
    notes.routes(router)
    Status(server).routes(router)
    return server


def _make_gateway(limits: Limits, context: object) -> Server:
    """All requests go to other servers."""
    from gateway import Gateway

    try:
        gateway = Gateway(Log("web"))
    except ValueError as exc:
        print("error web: %s" % exc)
        sys.exit(2)
    server = Server(gateway.proxy, limits, context)
    server.gateway = gateway
    return server


async def _wait_for_ctrl_c() -> None:
    """Ctrl-C as a character and not as an exception in the middle of a request."""
    micropython.kbd_intr(-1)
    console = asyncio.StreamReader(sys.stdin.buffer)
    char = b""
    while char != b"\x03":
        char = await console.read(1)
        if not char:  # a console without input
            await asyncio.sleep(3600)
    micropython.kbd_intr(3)  # the next one does not wait


async def _serve(server: Server, port: int) -> None:
    families = server.start(port)
    if server.gateway is not None:
        server.gateway.start(server)
    print("serving on port %d (%s)" % (port, ", ".join(families)))
    if sys.platform == "floe":
        await _wait_for_ctrl_c()
    else:
        while True:
            await asyncio.sleep(3600)


async def _stop(server: Server, notes: Notes) -> None:
    print("stopping")
    notes.wake()
    if server.gateway is not None:
        await server.gateway.stop()
    cut = await server.stop(_DRAIN_S)
    print("stopped; %d requests served, %d connections cut" % (server.served, cut))


def run(port: int, limits: Limits, context: object = None) -> None:
    """context: an ssl.SSLContext to serve TLS."""
    notes = Notes()
    server = _make_server(notes, limits, context)
    try:
        asyncio.run(_serve(server, _number("PORT", port)))
    except KeyboardInterrupt:
        pass
    asyncio.run(_stop(server, notes))
