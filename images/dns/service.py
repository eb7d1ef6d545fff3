# SPDX-License-Identifier: MIT
"""Start, running and end of the server."""

import socket
import sys
import time

import dnsname
import vfs  # noqa: F401 - a disk is mounted where this is imported
from authority import Authority
from loader import load
from loop import Loop
from settings import Settings, SettingsError
from tcp import Limits, TcpServer
from udp import Udp
from zonefile import ZoneError

_BAD_SETTINGS = 2
_NOTHING_TO_SERVE = 3


class Service:
    """Owns the loop, the sockets and the zones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = Loop(self.report)
        self.authority = Authority(settings.numbers["udp_size"])
        self.udp: list = []
        limits = Limits()
        limits.connections = settings.numbers["connections"]
        limits.per_address = settings.numbers["per_address"]
        limits.idle_s = settings.numbers["idle_s"]
        self.tcp = TcpServer(self.loop, self.authority, limits, self.report)

    def report(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            print("dns: error %d" % exc.errno)
        else:
            sys.print_exception(exc)

    def load_zones(self) -> int:
        """Returns how many can be served. A broken one is said, and asked for answers SERVFAIL."""
        good = 0
        for zone in self.settings.zones.values():
            start = time.ticks_ms()
            name = dnsname.to_text(zone.name)
            try:
                loaded = load(zone.name, zone.file)
                self.authority.put(zone.name, loaded)
            except ZoneError as exc:
                self.authority.put(zone.name, None)
                print("dns: zone %s is not served: %s" % (name, exc))
                continue
            good += 1
            taken = time.ticks_diff(time.ticks_ms(), start)
            print("dns: zone %s serial %d, %d records (%d ms)" % (name, loaded.serial(), loaded.count, taken))
        return good

    def listen(self) -> None:
        """On both families, if there are both. Raises OSError."""
        port = self.settings.numbers["port"]
        families = []
        for name, family, host in (("IPv6", socket.AF_INET6, "::"), ("IPv4", socket.AF_INET, "0.0.0.0")):
            try:
                address = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)[0][-1]
                self.udp.append(Udp(self.loop, self.authority, family, address, self.report))
                self.tcp.listen(family, address)
                families.append(name)
            except OSError:  # no such family, or the other one serves it too
                if name == "IPv4" and not families:
                    raise
        print("dns: serving %d zones on port %d (%s)" % (len(self.authority.zones), port, ", ".join(families)))

    def run(self) -> None:
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
    if not settings.zones:
        print("dns: no zones: put files NAME.zone into /zones of a disk or data/zones of the image, or set ZONES")
        sys.exit(_NOTHING_TO_SERVE)
    service = Service(settings)
    if not service.load_zones():
        print("dns: no zone can be served")
        sys.exit(_NOTHING_TO_SERVE)
    service.listen()
    service.run()
