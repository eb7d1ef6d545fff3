# SPDX-License-Identifier: MIT
"""Start and end of the server: what main.py and secure.py run. README.md has the settings."""

import asyncio
import os

from appliance import App, Port, SettingsError
from counts import Counts
from hosts import Host, HostSettings, Sites
from httpd import Limits, Server
from notes import Notes, Status

_DRAIN_S = 4  # for requests in flight when the end is asked for


def limit(settings: object, limits: Limits) -> None:
    """Take the limits from the settings. Raises SettingsError."""
    for name in ("port", "idle_s", "head_s", "max_connections"):
        if getattr(settings, name) <= 0:
            raise SettingsError("%s = %d: expected a number above 0" % (name, getattr(settings, name)))
    limits.idle_s, limits.head_s = settings.idle_s, settings.head_s
    limits.connections, limits.per_address = settings.max_connections, settings.max_per_address


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


def make_proxy(app: App, upstreams: list, options: dict, where: str) -> object:
    """Raises ValueError; where: the place of the options."""
    from proxy import Proxy
    from reverse import make_options

    proxy = Proxy(upstreams, make_options(options, lambda key: where + ": " + key), app.log)
    proxy.made_of = upstreams, options
    return proxy


def make_sites(app: App, settings: object, secure: bool, proxies: list, proxy_of: object) -> object:
    """The hosts of the configuration, folder by folder: yields None now and then, and at last Sites.

    What they pass on, made by proxy_of as make_proxy(), is in proxies. Raises SettingsError, ValueError."""
    hosts = []
    for found in _configured(settings):
        _check_root(found, settings.file)
        host = Host(found, secure, settings.file or "")
        yield from host.files.walk()
        for path, upstreams, options, where in found.proxy:
            proxy = proxy_of(app, upstreams, options, where)
            host.proxies.append((path, proxy))
            proxies.append(proxy)
        hosts.append((found, host))
    sites = Sites(hosts[0][1], settings.strict)
    for found, host in hosts:
        sites.add(found.names, host)
    yield sites


class Service:
    """All that runs. context: an ssl.SSLContext to serve TLS."""

    def __init__(self, port: int, context: object) -> None:
        limits = Limits()
        if context is not None:
            limits.connections = 192  # each takes about 30 KiB
        self.app = app = App(
            "web",
            port=Port(port),
            site="/rom",
            idle_s=limits.idle_s,
            head_s=limits.head_s,
            max_connections=limits.connections,
            max_per_address=limits.per_address,
            strict=False,
            access_log=False,
        )
        self.notes = Notes()
        self.gateway: object = None
        self.proxies: list = []
        self._is_measured = False
        handler = None
        try:
            limit(app.settings, limits)
            if os.getenv("UPSTREAMS"):
                from reverse import Gateway

                self.gateway = Gateway(app.log)
                handler = self.gateway.proxy
                self.proxies.append(handler)
            else:
                for step in make_sites(app, app.settings, context is not None, self.proxies, make_proxy):
                    handler = step
        except (SettingsError, ValueError) as exc:
            app.fail(str(exc))
        self.server = Server(handler, limits, context)
        self.server.note = Counts(app, self.server)
        self._status = Status(self.server)
        self._prepare()

    def use(self, sites: Sites, proxies: list) -> None:
        """Other sites from here on, while the server runs."""
        server = self.server
        server.handler, server.streams = sites, sites.streams
        server.heads.clear()
        server.forget()
        old, self.proxies[:] = self.proxies[:], proxies
        for each in proxies:
            if each not in old:
                each.start(server)
        for each in old:
            if each not in proxies:
                each.retire()
        self._prepare()

    def _prepare(self) -> None:
        """What follows from sites, proxies and settings."""
        app, server = self.app, self.server
        if self.gateway is None:
            for host in server.handler.hosts:
                if host.api:
                    self.notes.routes(host.router)
                    self._status.routes(host.router)
        if self.proxies and not self._is_measured:
            from reverse import measure

            self._is_measured = True
            measure(app, self.proxies)
        server.note.log = None
        server.forgets = app.settings.access_log
        if server.forgets:
            from access import AccessLog

            server.note.log = AccessLog(app.log)

    async def serve(self, reloader: object) -> None:
        server, app = self.server, self.app
        families = server.start(app.settings.port)
        for each in self.proxies:
            each.start(server)
        if self.gateway is not None:
            self.gateway.start()
        elif reloader is not None:
            reloader(self).start()
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
            app.log.info("%d requests served, %d connections cut", server.served, cut)


def run(port: int, context: object = None, reloader: object = None) -> None:
    """context: an ssl.SSLContext to serve TLS; reloader: the class of reload.py, where files may change."""
    service = Service(port, context)
    service.app.run(service.serve(reloader))
