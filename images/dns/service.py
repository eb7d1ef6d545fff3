# SPDX-License-Identifier: MIT
"""Start, running and end of the server."""

import gc
import socket
import sys

import dnsname
import vfs  # noqa: F401 - a disk is mounted where this is imported
from authority import Authority
from compose import NOERROR, NOTAUTH, REFUSED
from console import Console
from forwarder import Forwarder
from loop import Loop
from notifier import Notifier
from ratelimit import RateLimiter
from reload import Reloader
from secondary import Secondary
from settings import Settings, SettingsError
from special import Special
from tcp import Limits, TcpServer
from udp import Udp

_BAD_SETTINGS = 2
_NOTHING_TO_SERVE = 3
_ROOM_MS = 10000


class Service:
    """Owns the loop, the sockets and the zones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = Loop(self.report)
        self.authority = Authority(settings.numbers["udp_size"])
        self.special = Special(self.authority, settings.keys, settings.zones)
        self.authority.special = self.special
        self.special.notified = self._notified
        self.notifier = Notifier(self.loop)
        self.reloader = Reloader(self.loop, self.authority, self.notifier.tell)
        self.secondaries: dict = {}  # name -> Secondary
        if settings.forward:
            cache = settings.numbers["cache"] << 10
            self.authority.forwarder = Forwarder(self.loop, settings.forward, settings.clients, cache)
            self.authority.forwarder.udp_size = settings.numbers["udp_size"]
        self.udp: list = []
        self.limiter = None
        if settings.numbers["rate"]:
            self.limiter = RateLimiter(settings.numbers["rate"], settings.numbers["slip"])
            self._count_rate()
        limits = Limits()
        limits.connections = settings.numbers["connections"]
        limits.per_address = settings.numbers["per_address"]
        limits.idle_s = settings.numbers["idle_s"]
        self.tcp = TcpServer(self.loop, self.authority, limits, self.report)

    def report(self, exc: Exception) -> None:
        if isinstance(exc, MemoryError):
            self.authority.forget()
            if self.authority.forwarder is not None:
                self.authority.forwarder.forget()
            print("dns: out of memory: %s" % exc)
        elif isinstance(exc, OSError):
            print("dns: error %d" % exc.errno)
        else:
            sys.print_exception(exc)

    def _count_rate(self) -> None:
        self.loop.call_later(1000, self._count_rate)
        self.limiter.next_second()

    def load_zones(self) -> int:
        """Returns how many can be served, or will be. A broken one is said, and answered SERVFAIL."""
        zones = self.settings.zones.values()
        good = self.reloader.load_all([zone for zone in zones if not zone.primaries])
        for zone in zones:
            if zone.primaries:
                good += 1
                self.secondaries[zone.name] = Secondary(self.loop, self.authority, zone, self._fetched(zone))
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
        self.loop.call_later(_ROOM_MS, self._make_room)
        self.authority.make_room()

    def status(self) -> None:
        for name, composer in self.authority.zones.items():
            state = "is not there" if composer is None else "serial %d" % composer.zone.serial()
            print("dns: zone %s %s" % (dnsname.to_text(name), state))
        served = sum([udp.served for udp in self.udp])
        print(
            "dns: %d queries by UDP, %d by TCP, %d connections" % (served, self.tcp.served, len(self.tcp.connections))
        )
        forwarder = self.authority.forwarder
        if forwarder is not None:
            print("dns: forwarded %d, from the cache %d, %d kept" % (forwarder.asked, forwarder.hits, len(forwarder)))
        if self.limiter is not None:
            print("dns: over the rate: %d dropped, %d cut off" % (self.limiter.dropped, self.limiter.cut))

    def listen(self) -> None:
        """On both families, if there are both. Raises OSError."""
        port = self.settings.numbers["port"]
        families = []
        for name, family, host in (("IPv6", socket.AF_INET6, "::"), ("IPv4", socket.AF_INET, "0.0.0.0")):
            try:
                address = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)[0][-1]
                self.udp.append(Udp(self.loop, self.authority, family, address, self.report))
                self.udp[-1].limiter = self.limiter
                self.tcp.listen(family, address)
                families.append(name)
            except OSError:  # no such family, or the other one serves it too
                if name == "IPv4" and not families:
                    raise
        print("dns: serving %d zones on port %d (%s)" % (len(self.authority.zones), port, ", ".join(families)))

    def run(self) -> None:
        """Until Ctrl-C."""
        if self.settings.numbers["reload_s"]:
            self.reloader.watch(self.settings.numbers["reload_s"])
        gc.collect()
        free = gc.mem_free()
        self.authority.use_memory(free)
        # Collected before all is used once, what is kept lies together, and the dicts find room to grow.
        gc.threshold(free // 4)
        self._make_room()
        Console(self.loop, {"reload": self.reloader.read_again, "status": self.status})
        try:
            self.loop.run()
        except KeyboardInterrupt:
            pass
        served = sum([udp.served for udp in self.udp])
        print("dns: stopped; %d queries by UDP, %d by TCP" % (served, self.tcp.served))


def run() -> None:
    try:
        settings = Settings()
    except SettingsError as exc:
        print("dns: %s" % exc)
        sys.exit(_BAD_SETTINGS)
    if not settings.zones and not settings.forward:
        print("dns: no zones: put files NAME.zone into /zones of a disk or data/zones of the image, or set ZONES")
        sys.exit(_NOTHING_TO_SERVE)
    service = Service(settings)
    if not service.load_zones() and not settings.forward:
        print("dns: no zone can be served")
        sys.exit(_NOTHING_TO_SERVE)
    service.listen()
    service.run()
