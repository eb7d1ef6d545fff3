# SPDX-License-Identifier: MIT
"""The upstreams of a proxy: which takes the next request, who joins and leaves, and the clock of all of them."""

import socket
import time

from upstream import Upstream

ROUND_ROBIN, LEAST = "round-robin", "least-connections"


def split_host(text: str) -> tuple:
    """Host and port of "host:port", "host" or "[v6]:port". Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or host.endswith(":") or ("]" in port):
        host, port = text, "80"
    if host[:1] == "[" and host[-1:] == "]":
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("%s: an IPv6 address is written in brackets" % text)
    number = int(port) if port.isdigit() else 0
    if not host or not 0 < number < 65536:
        raise ValueError("%s: expected host:port" % text)
    for char in host:
        if not ("a" <= char.lower() <= "z" or char.isdigit() or char in ".-_:%"):
            raise ValueError("%s: expected host:port" % text)
    if ":" not in host and (len(host) > 253 or not all(0 < len(part) < 64 for part in host.rstrip(".").split("."))):
        raise ValueError("%s: a name has at most 253 characters, each part of it 1 to 63" % text)
    return host, number


def literal(host: str) -> int:
    """The family of a numeric address; 0: it is a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
            return family
        except (OSError, ValueError):
            pass
    return 0


class _Name:
    """A host that is asked for again and again, and the upstreams that it has brought."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.at = time.ticks_ms()  # when it is to be asked for
        self.asking = False


class Balancer:
    """Owns the upstreams. balance: ROUND_ROBIN or LEAST; limit: requests of one upstream at a time."""

    def __init__(self, balance: str, limit: int) -> None:
        self.balance = balance
        self.limit = limit
        self.all: dict = {}  # name -> Upstream
        self.leaving: list = []  # removed ones with requests in flight
        self.names: dict = {}  # "host:port" -> _Name
        self._turn = 0
        self._ready: list = []

    # ---- who is there ---------------------------------------------------------------------------

    def add(self, text: str) -> None:
        """A server or a name of several; one that is drained takes requests again. Raises ValueError."""
        host, port = split_host(text)
        family = literal(host)
        key = _label(host, port)
        if family:
            self._join(key, family, host, port, key)
        else:
            for upstream in self.of(key):
                upstream.draining = False
            if key not in self.names:
                self.names[key] = _Name(host, port)
        self.refresh()

    def _join(self, name: str, family: int, host: str, port: int, origin: str) -> None:
        upstream = self.all.get(name)
        if upstream is None:
            self.all[name] = Upstream(name, family, (host, port), origin)
        elif origin == name:  # asked for by address: not when a name is looked up again
            upstream.draining = False

    def of(self, text: str) -> list:
        """The upstreams of a name or an address."""
        return [upstream for upstream in self.all.values() if text in (upstream.name, upstream.origin)]

    def drain(self, text: str) -> bool:
        """No new requests for these. False: there are none of that name."""
        found = self.of(text)
        for upstream in found:
            upstream.draining = True
            upstream.close_idle()
        self.refresh()
        return bool(found)

    def remove(self, text: str) -> bool:
        named = self.names.pop(text, None)
        found = self.of(text)
        for upstream in found:
            self._leave(upstream)
        self.refresh()
        return bool(found) or named is not None

    def _leave(self, upstream: Upstream) -> None:
        del self.all[upstream.name]
        upstream.draining = True
        upstream.close_idle()
        if upstream.users:
            self.leaving.append(upstream)

    def resolved(self, name: _Name, addresses: list) -> None:
        """What a name stands for now: (family, address) pairs."""
        key = _label(name.host, name.port)
        if self.names.get(key) is not name or not addresses:
            return  # removed meanwhile; or nobody knows: better the old ones than none
        wanted = [_label(host, name.port) for _, host in addresses]
        for upstream in self.of(key):
            if upstream.name not in wanted:
                upstream.vanished = True
                self._leave(upstream)
        for family, host in addresses:
            self._join(_label(host, name.port), family, host, name.port, key)
        self.refresh()

    # ---- who takes a request --------------------------------------------------------------------

    def refresh(self) -> None:
        """Something about an upstream has changed."""
        self._ready = [each for each in self.all.values() if each.healthy and not each.draining and not each.is_down]

    def choose(self, tried: list) -> Upstream | None:
        """One that has not been tried; one that has failed of late, or at its checks, only if there is no other."""
        ready = self._ready
        if ready and not tried and self.balance == ROUND_ROBIN:  # by far the most frequent case
            self._turn = (self._turn + 1) % len(ready)
            upstream = ready[self._turn]
            if len(upstream.users) < self.limit:
                return upstream
        found = self._free(ready, tried)
        if not found:
            found = self._free([each for each in self.all.values() if each.healthy and not each.draining], tried)
        if not found:
            found = self._free([each for each in self.all.values() if not each.draining], tried)
        if not found:
            return None
        self._turn += 1
        turn = self._turn % len(found)
        best = found[turn]
        if self.balance == LEAST:
            for upstream in found[turn + 1 :] + found[:turn]:
                if len(upstream.users) < len(best.users):
                    best = upstream
        return best

    def _free(self, some: list, tried: list) -> list:
        limit = self.limit
        return [each for each in some if len(each.users) < limit and each not in tried]

    def has_good(self) -> bool:
        return bool(self._ready)

    def tick(self, now: int, idle_ms: int) -> None:
        """Time has passed: marks and idle connections end."""
        for upstream in self.all.values():
            if upstream.is_down and time.ticks_diff(now, upstream.down_until) >= 0:
                upstream.is_down = False
            while upstream.idle and time.ticks_diff(now, upstream.idle[0].since) > idle_ms:
                upstream.idle[0].close()
        self.leaving = [upstream for upstream in self.leaving if upstream.users]
        self.refresh()


def _label(host: str, port: int) -> str:
    return ("[%s]:%d" if ":" in host else "%s:%d") % (host, port)
