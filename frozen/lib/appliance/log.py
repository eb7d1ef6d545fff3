# SPDX-License-Identifier: MIT
"""A log whose lines wait in memory until nothing else is to be done: no request waits for the console."""

import sys

LEVELS = ("debug", "info", "warning", "error", "off")
_WAITING = 500  # lines at most
_TURN = 20  # lines that are written in one go while requests may wait


class Log:
    """log.info("served %d", n). Before start() lines are written at once, as after close()."""

    def __init__(self, name: str, level: str = "info") -> None:
        self.name = name
        self.dropped = 0  # lines for which there was no room
        self._least = LEVELS.index(level)
        self._lines: list = []
        self._wake = None  # called when a line begins to wait
        self._told = 0  # of the dropped ones

    def debug(self, text: str, *args: object) -> None:
        if self._least == 0:
            self._put("debug", text, args)

    def info(self, text: str, *args: object) -> None:
        if self._least <= 1:
            self._put("info", text, args)

    def warning(self, text: str, *args: object) -> None:
        if self._least <= 2:
            self._put("warning", text, args)

    def error(self, text: str, *args: object) -> None:
        if self._least <= 3:
            self._put("error", text, args)

    def exception(self, exc: Exception) -> None:
        """An error with its traceback, at once."""
        if self._least <= 3:
            self.flush()
            self.error("%s: %s", type(exc).__name__, exc)
            self.flush()
            sys.print_exception(exc)

    def _put(self, level: str, text: str, args: tuple) -> None:
        self.line("%s %s: %s" % (level, self.name, text % args if args else text))

    def line(self, text: str) -> None:
        """A line as it stands, whatever the level: of a log that others read."""
        if len(self._lines) >= _WAITING:
            self.dropped += 1
            return
        self._lines.append(text)
        if self._wake is None:
            self.flush()
        elif len(self._lines) == 1:
            try:
                self._wake()
            except MemoryError:  # nobody would write it, nor those that come after it
                self._lines.clear()
                self.dropped += 1

    def start(self, wake: object) -> None:
        """From here on lines wait for write_some(): wake() is called when there is a first one."""
        self._wake = wake

    def write_some(self) -> bool:
        """Write a few lines. False: nothing waits."""
        if self.dropped > self._told:
            lost, self._told = self.dropped - self._told, self.dropped
            self._lines.append("warning %s: %d lines were dropped" % (self.name, lost))
        now, self._lines = self._lines[:_TURN], self._lines[_TURN:]
        if now:
            print("\n".join(now))
        return bool(self._lines)

    def flush(self) -> None:
        while self.write_some():
            pass

    def close(self) -> None:
        self._wake = None
        self.flush()
