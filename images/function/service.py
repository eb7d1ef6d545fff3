# SPDX-License-Identifier: MIT
"""Settings, the handler's start, serving, the end."""

import time

import appliance
from calls import Calls
from httpd import Limits, Server
from loading import load

_DRAIN_S = 5  # for calls at the end
_DEFAULTS = {
    "handler": "handle",
    "timeout": appliance.Seconds(10),
    "concurrency": 1,
    "queue": 100,
    "max_body": appliance.Size(1048576),
    "connections": 256,
    "idle": appliance.Seconds(15),
    "debug": False,
}


class Service:
    """Owns the server."""

    def __init__(self, port: int, context: object) -> None:
        self.app = appliance.App("function", dict(_DEFAULTS, port=appliance.Port(port)))
        settings = self.app.settings
        for name in ("timeout", "concurrency", "connections"):
            if getattr(settings, name) <= 0:
                self.app.fail("%s: must be more than 0" % name.upper())
        limits = Limits()
        limits.body = settings.max_body
        limits.connections = settings.connections
        limits.idle_s = max(1, int(settings.idle))
        start = time.ticks_us()
        module = load(self.app.name, self.app.settings.handler)
        init_s = time.ticks_diff(time.ticks_us(), start) / 1000000
        self.app.gauge("function_init_seconds", "What the handler's module took to be imported.").set(init_s)
        self._cold = self.app.gauge("function_cold_start_seconds", "From the VM's start until it serves.")
        self._calls = Calls(self.app, module)
        if callable(getattr(module, "health", None)):
            self.app.check("handler", self._calls.health)
        self._server = Server(self._calls, limits, context)

    async def _main(self) -> None:
        port = self.app.settings.port
        try:
            self._server.start(port)
        except OSError as exc:
            self.app.fail("PORT=%d cannot be opened (error %d)" % (port, exc.errno))
        self._cold.set(time.ticks_us() / 1000000)
        self.app.ready()
        self.app.log.info("serving on port %d", port)
        try:
            await self._calls.stop.wait()
        finally:
            cut = await self._server.stop(_DRAIN_S)
            self.app.log.info("%d requests, %d cut", self._server.served, cut)

    def run(self) -> None:
        self.app.run(self._main())


def run(port: int, context: object = None) -> None:
    """context: an ssl.SSLContext to serve TLS."""
    Service(port, context).run()
