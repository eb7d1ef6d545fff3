# SPDX-License-Identifier: MIT
"""Zones from files: loaded at start, and again when their file has changed or somebody asks for it. While a zone is
read, which goes piece by piece, the one before is served; so it is if the new one is broken."""

import os
import time

import dnsname
import loader
from zonefile import ZoneError


class Reloader:
    """Owns what is known of the files. changed(settings, zone): called for each zone that is new."""

    def __init__(self, app: object, authority: object, changed: object) -> None:
        self._loop = app.loop
        self._log = app.log
        self._authority = authority
        self._changed = changed
        self._files: list = []  # ZoneSettings
        self._stamps: dict = {}  # name -> size and time of the file that was read last
        self._queue: list = []  # (ZoneSettings) to be read
        self._worker = None  # calls _work() while there are any
        self._steps = None
        self._start = 0

    def load_all(self, files: list) -> int:
        """Load each at once. Returns how many can be served."""
        self._files = files
        good = 0
        for settings in files:
            self._begin(settings)
            while self._steps is not None:
                good += self._step(settings) is not None
            if settings.name not in self._authority.zones:
                self._authority.put(settings.name, None)
        return good

    def watch(self, every_s: int) -> None:
        """Look for changed files from now on."""
        self._loop.call_later(every_s * 1000, self._look, every_s * 1000)
        self._look()

    def _look(self) -> None:
        for settings in self._files:
            if self._stamps[settings.name] != _stamp(settings.file):
                self._enqueue(settings)

    def read_again(self) -> None:
        """All of them, changed or not."""
        for settings in self._files:
            self._enqueue(settings)

    def _enqueue(self, settings: object) -> None:
        if settings not in self._queue:
            if self._worker is None:
                self._worker = self._loop.call_later(0, self._work, 1)
            self._queue.append(settings)

    def _work(self) -> None:
        """One step of what is to be read."""
        if not self._queue:
            self._worker.cancel()
            self._worker = None
            return
        settings = self._queue[0]
        try:
            if self._steps is None:
                self._begin(settings)
            self._step(settings)
        except Exception:  # memory is short
            self._steps = None
            self._stamps[settings.name] = 0  # unlike a file's: it is read with the next look
            self._queue.pop(0)
            raise
        if self._steps is None:
            self._queue.pop(0)

    def _begin(self, settings: object) -> None:
        self._start = time.ticks_ms()
        self._stamps[settings.name] = _stamp(settings.file)
        self._steps = loader.steps(settings.name, settings.file)

    def _step(self, settings: object) -> object:
        """Read on. Returns the zone when it is whole."""
        name = dnsname.to_text(settings.name)
        try:
            zone = next(self._steps)
        except ZoneError as exc:
            self._steps = None
            kept = self._authority.zones.get(settings.name) is not None
            self._log.error("zone %s %s: %s", name, "stays as it was" if kept else "is not served", exc)
            return None
        if zone is not None:
            self._steps = None
            self._authority.put(settings.name, zone)
            taken = time.ticks_diff(time.ticks_ms(), self._start)
            self._log.info("zone %s serial %d, %d records (%d ms)", name, zone.serial(), zone.count, taken)
            self._changed(settings, zone)
        return zone


def _stamp(path: str) -> tuple | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found[6], found[8]
