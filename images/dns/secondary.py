# SPDX-License-Identifier: MIT
"""A zone that another server has the original of: asked for when its time has come or its primary says that it has
changed (RFC 1034, 4.3.5; RFC 1996), fetched whole, and no longer served when it has not been confirmed for too long."""

import dnsname
import loader
from fetch import Fetch
from zonefile import ZoneError

_FIRST_RETRY_S = 5  # before there is a zone whose SOA says more; doubled up to the longest
_LONGEST_RETRY_S = 300
_LONGEST_S = 500000  # of a timer


class Secondary:
    """Owns the timers of one zone."""

    def __init__(self, app: object, authority: object, settings: object, changed: object) -> None:
        self._loop = app.loop
        self._log = app.log
        self._authority = authority
        self._settings = settings
        self._changed = changed  # changed(zone): a new one is served
        self._name = dnsname.to_text(settings.name)
        self._zone = None
        self._fetch = None
        self._again = False  # asked for once more while a fetch went on
        self._next = 0  # which primary
        self._failures = 0
        self._timer = None
        self._expiry = None

    def start(self) -> None:
        """Serve what was saved, if it was, and ask the primary."""
        if self._settings.file:
            try:
                self._serve(loader.load(self._settings.name, self._settings.file))
            except ZoneError:
                pass  # there is none yet
        if self._zone is None:
            self._authority.put(self._settings.name, None)
        self.refresh()

    def accepts(self, host: str, key: object) -> bool:
        """Whether a notification comes from a primary: from its address, or signed with the zone's key."""
        if self._settings.key is not None:
            return key is self._settings.key
        return host in [primary[0] for primary in self._settings.primaries]

    def refresh(self) -> None:
        if self._fetch is not None:
            self._again = True
            return
        if self._timer is None:
            self._timer = self._loop.call_later(0, self.refresh, _LONGEST_RETRY_S * 1000)
        self._timer.again(_LONGEST_RETRY_S * 1000)  # if the memory for what follows is short
        primary = self._settings.primaries[self._next % len(self._settings.primaries)]
        serial = self._zone.serial() if self._zone is not None else None
        fetch = Fetch(self._loop, self._settings, primary, serial, self._fetched)
        fetch.start()
        self._fetch = fetch

    def _fetched(self, zone: object, error: str) -> None:
        """zone: a new one; None without an error: the one that is here is the newest."""
        self._fetch = None
        if error:
            primary = self._settings.primaries[self._next % len(self._settings.primaries)]
            self._log.warning("zone %s from %s@%d: %s", self._name, primary[0], primary[1], error)
            self._next += 1
            self._failures += 1
        else:
            self._failures = 0
            if zone is not None:
                self._serve(zone)
                self._log.info("zone %s serial %d, %d records fetched", self._name, zone.serial(), zone.count)
                self._save(zone)
                self._changed(zone)
            self._confirm()
        again = self._again and not error
        self._again = False
        self._later(0 if again else self._wait_s())

    def _wait_s(self) -> int:
        if self._zone is not None:
            refresh, retry, _ = self._zone.timers()
            return max(1, retry if self._failures else refresh)
        if self._failures < len(self._settings.primaries):
            return 0  # each is asked once at first
        return min(_LONGEST_RETRY_S, _FIRST_RETRY_S << min(6, self._failures - 1))

    def _later(self, seconds: int) -> None:
        self._timer.again(min(seconds, _LONGEST_S) * 1000)

    def _serve(self, zone: object) -> None:
        self._zone = zone
        self._authority.put(self._settings.name, zone)
        self._confirm()

    def _confirm(self) -> None:
        """The primary has this very zone: the time until it expires begins anew."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = None
        if self._zone is not None:
            expire = min(self._zone.timers()[2], _LONGEST_S)
            self._expiry = self._loop.call_later(expire * 1000, self._expire)

    def _expire(self) -> None:
        self._log.error("zone %s has expired: no primary has confirmed it", self._name)
        self._zone = None
        self._authority.put(self._settings.name, None)

    def _save(self, zone: object) -> None:
        if not self._settings.file:
            return
        try:
            loader.save(zone, self._settings.file)
        except OSError as exc:
            self._log.error("zone %s cannot be saved to %s: error %d", self._name, self._settings.file, exc.errno)
