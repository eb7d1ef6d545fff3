# SPDX-License-Identifier: MIT
"""Files on a disk: whether one has changed, and rules in Python of one."""

import io
import os
import sys

import ruleset
from appliance import SettingsError

_NAMES = ("rules", "prerouting", "input", "forward", "postrouting", "chains")


class Rules:
    """What a file assigned; what it did not is ruleset.py's."""


class Files:
    """What was read last of the files that rules come from."""

    def __init__(self) -> None:
        self._stamps: dict = {}
        self._turns = 0

    def rules(self, path: str) -> Rules:
        """Run a file. Raises SettingsError with the line that is wrong; RuleErrors are raised as they are."""
        try:
            with open(path) as file:
                text = file.read()
        except OSError as exc:
            why = "no such file" if exc.errno in (2, 19) else "cannot be read (error %d)" % exc.errno
            raise SettingsError("rules: %s: %s" % (path, why))
        names: dict = {"__name__": "rules"}
        try:
            exec(compile(text, path, "exec"), names)
        except ValueError as exc:
            if type(exc).__name__ == "RuleError":
                raise
            raise SettingsError(_traced(path, exc))
        except Exception as exc:
            raise SettingsError(_traced(path, exc))
        made = Rules()
        for name in _NAMES:
            setattr(made, name, names.get(name, getattr(ruleset, name)))
        return made

    def have_changed(self, settings: object) -> bool:
        """Asked each second, and once at the start: whether a file is another one than the last time."""
        self._turns += 1
        if self._stamps and (not settings.reload_s or self._turns < settings.reload_s):
            return False
        self._turns = 0
        before, self._stamps = self._stamps, {path: _stamp(path) for path in (settings.file, settings.rules) if path}
        return any(before.get(path, stamp) != stamp for path, stamp in self._stamps.items())


def _traced(path: str, exc: Exception) -> str:
    """An exception with the last line of the file that it went through."""
    text = io.StringIO()
    sys.print_exception(exc, text)
    lines = [line.strip() for line in text.getvalue().split("\n") if path in line]
    place = lines[-1].split("line ", 1)[-1].split(",")[0] if lines else "?"
    return "%s: line %s: %s: %s" % (path, place, type(exc).__name__, exc)


def _stamp(path: str) -> tuple | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found[6], found[8]
