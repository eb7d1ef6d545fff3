# SPDX-License-Identifier: MIT
"""Start and end of the server: what main.py and secure.py run. README.md has the settings."""

import asyncio
import os

from appliance import App, SettingsError
from counts import Counts
from hosts import Host, HostSettings, Sites
from httpd import Limits, Server
from notes import Notes, Status

_DRAIN_S = 4  # for requests in flight when the end is asked for


def _settings(port: int, limits: Limits) -> App:
    app = App(
        "web",
        port=port,
        site="/rom",
        idle_s=limits.idle_s,
        head_s=limits.head_s,
        max_connections=limits.connections,
        max_per_address=limits.per_address,
        strict=False,
        access_log=False,
    )
    settings = app.settings
    for name in ("port", "idle_s", "head_s", "max_connections"):
        if getattr(settings, name) <= 0:
            app.fail("%s = %d: expected a number above 0" % (name, getattr(settings, name)))
    limits.idle_s, limits.head_s = settings.idle_s, settings.head_s
    limits.connections, limits.per_address = settings.max_connections, settings.max_per_address
    return app


def _configured(settings: object) -> list:
    if settings.tables:
        from siteconfig import read_hosts

        return read_hosts(settings)
    host = HostSettings(settings.site)
    host.api = True
    return [host]


def _check_root(host: HostSettings, file: str) -> None:
    try:
        if os.stat(host.root)[0] & 0x4000:
            return
    except OSError:
        pass
    raise SettingsError("%s: %s is no folder here (disks: `--variant disk`)" % (file or "SITE", host.root))


def _make_sites(app: App, secure: bool, proxies: list) -> Sites:
    """The hosts of the configuration. What they pass on is in proxies. Raises SettingsError, ValueError."""
    settings = app.settings
    hosts = []
    for found in _configured(settings):
        _check_root(found, settings.file)
        host = Host(found, secure, settings.file or "")
        for path, upstreams, options, where in found.proxy:
            from gateway import make_options
            from proxy import Proxy

            proxy = Proxy(upstreams, make_options(options, lambda key, where=where: where + ": " + key), app.log)
            host.proxies.append((path, proxy))
            proxies.append(proxy)
        hosts.append((found, host))
    sites = Sites(hosts[0][1], settings.strict)
    for found, host in hosts:
        sites.add(found.names, host)
    return sites


class Service:
    """All that runs. context: an ssl.SSLContext to serve TLS."""

    def __init__(self, port: int, limits: Limits, context: object) -> None:
        self.app = app = _settings(port, limits)
        self.notes = Notes()
        self.gateway: object = None
        self.proxies: list = []
        try:
            if os.getenv("UPSTREAMS"):
                from gateway import Gateway

                self.gateway = Gateway(app.log)
                handler = self.gateway.proxy
                self.proxies.append(handler)
            else:
                handler = _make_sites(app, context is not None, self.proxies)
        except (SettingsError, ValueError) as exc:
            app.fail(str(exc))
        self.server = Server(handler, limits, context)
        if self.gateway is None:
            for host in handler.hosts:
                if host.api:
                    self.notes.routes(host.router)
                    Status(self.server).routes(host.router)
        if self.proxies:
            from gateway import measure

            measure(app, self.proxies)
        access = None
        if app.settings.access_log:
            from access import AccessLog

            access = AccessLog(app.log)
            self.server.forgets = True
        self.server.note = Counts(app, self.server, access)

    async def serve(self) -> None:
        server, app = self.server, self.app
        families = server.start(app.settings.port)
        for each in self.proxies:
            each.start(server)
        if self.gateway is not None:
            self.gateway.start()
        app.ready()
        app.log.info("serving on port %d (%s)", app.settings.port, ", ".join(families))
        try:
            await asyncio.Event().wait()
        finally:
            self.notes.wake()
            if self.gateway is not None:
                await self.gateway.stop()
            cut = await server.stop(_DRAIN_S)
            server.fold()
            app.log.info("stopped; %d requests served, %d connections cut", server.served, cut)


def run(port: int, limits: Limits, context: object = None) -> None:
    """context: an ssl.SSLContext to serve TLS."""
    service = Service(port, limits, context)
    service.app.run(service.serve())
