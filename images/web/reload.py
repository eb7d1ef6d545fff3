# SPDX-License-Identifier: MIT
"""Configuration and folders read again while requests flow, when somebody writes `reload` to the console. What is wrong
leaves all as it was; connections go on. Only in images with disks, as no other file changes."""

import asyncio
import time

from appliance import Settings
from appliance.console import Console
from service import limit, make_proxy, make_sites


def now() -> None:
    """For a dev image, whose console is the REPL's."""
    Reloader.running.reload()


class Reloader:
    """service: a service.Service whose server has started."""

    running: object = None

    def __init__(self, service: object) -> None:
        self._service = service
        self._task: object = None
        self._again = False  # somebody has asked while it was read

    def start(self) -> None:
        Reloader.running = self
        Console(self._service.server.events, "web", {"reload": self.reload})

    def reload(self) -> None:
        self._again = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        log = self._service.app.log
        while self._again:
            self._again = False
            start = time.ticks_ms()
            try:
                count = await self._read()
                log.info("read again: %d hosts (%d ms)", count, time.ticks_diff(time.ticks_ms(), start))
            except Exception as exc:  # no memory, too
                log.error("the configuration stays as it was: %s", exc)
        self._task = None

    async def _read(self) -> int:
        """How many hosts there are now. Raises SettingsError, ValueError, OSError."""
        service = self._service
        app, server = service.app, service.server
        settings = Settings(app.name, app.settings.defaults)
        proxies: list = []
        sites = None
        for step in make_sites(app, settings, server.context is not None, proxies, self._proxy):
            sites = step
            await asyncio.sleep_ms(0)
        limit(settings, server.limits)
        app.settings = settings
        service.use(sites, proxies)
        return len(sites.hosts)

    def _proxy(self, app: object, upstreams: list, options: dict, where: str) -> object:
        """One that has the same upstreams and options goes on."""
        for proxy in self._service.proxies:
            if proxy.made_of == (upstreams, options):
                return proxy
        return make_proxy(app, upstreams, options, where)
