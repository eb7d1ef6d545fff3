# SPDX-License-Identifier: MIT
"""Start, running and end of the server."""

import gc
import socket
import sys

import appliance
import dnsname
import measures
import vfs  # noqa: F401 - a disk is mounted where this is imported
from appliance.console import Console
from appliance.listener import families
from authority import Authority
from compose import NOERROR, NOTAUTH, REFUSED
from forwarder import Forwarder
from notifier import Notifier
from ratelimit import RateLimiter
from reload import Reloader
from secondary import Secondary
from settings import DEFAULTS, Settings
from special import Special
from tcp import Limits, TcpServer
from udp import Udp

_NOTHING_TO_SERVE = 3
_ROOM_MS = 10000


class Service:
    """Owns the sockets and the zones."""

    def __init__(self, app: appliance.PolledApp, settings: Settings) -> None:
        values = app.settings
        self.app = app
        self.settings = settings
        self.loop = app.loop
        self.loop.report = self.report
        self.authority = Authority(values.udp_size)
        self.special = Special(self.authority, settings.keys, settings.zones, app.log)
        self.authority.special = self.special
        self.special.notified = self._notified
        self.notifier = Notifier(app)
        self.reloader = Reloader(app, self.authority, self.notifier.tell)
        self.secondaries: dict = {}  # name -> Secondary
        if settings.forward:
            self.authority.forwarder = Forwarder(self.loop, settings.forward, settings.clients, values.cache << 10)
            self.authority.forwarder.udp_size = values.udp_size
        self.udp: list = []
        self.limiter = None
        if values.rate:
            self.limiter = RateLimiter(values.rate, values.slip)
            self.loop.call_later(1000, self._count_rate, 1000)
        limits = Limits()
        limits.connections = values.connections
        limits.per_address = values.per_address
        limits.idle_s = values.idle_s
        self.tcp = TcpServer(self.loop, self.authority, limits, self.report)

    def report(self, exc: Exception) -> None:
        if isinstance(exc, MemoryError):
            self.authority.forget()
            if self.authority.forwarder is not None:
                self.authority.forwarder.forget()
            self.app.log.error("out of memory: %s", exc)
        else:
            self.app.report(exc)

    def _count_rate(self) -> None:
        self.limiter.next_second()

    def load_zones(self) -> int:
        """Returns how many can be served, or will be. A broken one is said, and answered SERVFAIL."""
        zones = self.settings.zones.values()
        good = self.reloader.load_all([zone for zone in zones if not zone.primaries])
        for zone in zones:
            if zone.primaries:
                good += 1
                self.secondaries[zone.name] = Secondary(self.app, self.authority, zone, self._fetched(zone))
                self.secondaries[zone.name].start()
        return good

    def _fetched(self, settings: object) -> object:
        return lambda zone: self.notifier.tell(settings, zone)

    def _notified(self, name: bytes, address: tuple, key: object) -> int:
        """A notification has come. Returns the code to answer with."""
        secondary = self.secondaries.get(name)
        if secondary is None:
            return NOTAUTH
        if not secondary.accepts(address[0], key):
            return REFUSED
        secondary.refresh()
        return NOERROR

    def _make_room(self) -> None:
        self.authority.make_room()

    def status(self) -> None:
        for name, composer in self.authority.zones.items():
            state = "is not there" if composer is None else "serial %d" % composer.zone.serial()
            print("dns: zone %s %s" % (dnsname.to_text(name), state))
        counts = self.authority.counts
        print(
            "dns: %d queries by UDP, %d by TCP, %d connections"
            % (counts.total(1), counts.total(0), len(self.tcp.connections))
        )
        forwarder = self.authority.forwarder
        if forwarder is not None:
            print("dns: forwarded %d, from the cache %d, %d kept" % (forwarder.asked, forwarder.hits, len(forwarder)))
        if self.limiter is not None:
            print("dns: over the rate: %d dropped, %d cut off" % (self.limiter.dropped, self.limiter.cut))

    def listen(self) -> None:
        """On both families, if there are both. Raises OSError."""

        def listen(family: int, address: object) -> None:
            self.udp.append(Udp(self.loop, self.authority, family, address, self.report))
            self.udp[-1].limiter = self.limiter
            self.tcp.listen(family, address)

        port = self.app.settings.port
        names = families(port, socket.SOCK_DGRAM, listen)
        self.app.log.info("serving %d zones on port %d (%s)", len(self.authority.zones), port, ", ".join(names))

    def run(self) -> None:
        """Until Ctrl-C."""
        if self.app.settings.reload_s:
            self.reloader.watch(self.app.settings.reload_s)
        gc.collect()
        free = gc.mem_free()
        self.authority.use_memory(free)
        # Collected before all is used once, what is kept lies together, and the dicts find room to grow.
        gc.threshold(free // 4)
        self._make_room()
        self.loop.call_later(_ROOM_MS, self._make_room, _ROOM_MS)
        Console(self.loop, "dns", {"reload": self.reloader.read_again, "status": self.status})
        self.app.ready()
        self.app.run()
        counts = self.authority.counts
        self.app.log.info("stopped; %d queries by UDP, %d by TCP", counts.total(1), counts.total(0))


def run() -> None:
    app = appliance.PolledApp("dns", DEFAULTS)
    try:
        settings = Settings(app.settings)
    except appliance.SettingsError as exc:
        app.fail(str(exc))
    if not settings.zones and not settings.forward:
        app.log.error("no zones: put files NAME.zone into /zones of a disk or data/zones of the image, or set ZONES")
        sys.exit(_NOTHING_TO_SERVE)
    service = Service(app, settings)
    if not service.load_zones() and not settings.forward:
        app.log.error("no zone can be served")
        sys.exit(_NOTHING_TO_SERVE)
    measures.add(app, service)
    service.listen()
    service.run()
