# SPDX-License-Identifier: MIT
"""What an appliance is told at its start: variables of the environment over a TOML file over defaults.

A setting's type is its default's: str, int, float, bool, a list of str, Size (bytes), Seconds or Port. A setting
`idle` is the variable IDLE, and `idle = ...` at the top of the file. The file is the one that CONFIG names, or
NAME.toml on the first disk, or in /rom, where its name may begin with a dot. Its tables belong to the appliance:
`settings.tables`.
"""

import os

_PLACES = ("/%s.toml", "/rom/%s.toml", "/rom/.%s.toml")
_ABSENT = (2, 19)  # ENOENT; ENODEV: there is no file system at that place
_UNITS = {"": 1, "K": 1024, "M": 1048576, "G": 1073741824}
_TIMES = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class SettingsError(ValueError):
    """One setting that cannot be; says which, where it stands, and what it may be."""


class Size(int):
    """Bytes, written as a number with K, M or G."""


class Seconds(float):
    """A time, written as a number of seconds or with ms, s, m, h or d behind it."""


class Port(int):
    """Of TCP or UDP, 0 to 65535."""


class Settings:
    """`settings.NAME` for each default. Raises SettingsError for what no setting is or has the wrong form."""

    def __init__(self, name: str, defaults: dict, known: tuple = ()) -> None:
        """known: names of tables, as far as the appliance tells what is wrong with a value that is none."""
        self.file = None  # the file that was read
        self.tables: dict = {}
        self.defaults = defaults
        self.known = known
        values = self._read(name)
        for key, value in values.items():
            is_list = isinstance(value, list) and set(map(type, value)) == {dict}
            if isinstance(value, dict) or is_list or key in known:
                self.tables[key] = value
            elif key not in defaults:
                known = ", ".join(sorted(defaults))
                raise SettingsError("%s: %s is no setting; there are: %s" % (self.file, key, known))
        for key, default in defaults.items():
            text = os.getenv(key.upper())
            if text:
                setattr(self, key, self._parse(key.upper(), text, default))
            elif key in values:
                setattr(self, key, self._take("%s: %s" % (self.file, key), values[key], default))
            else:
                setattr(
                    self, key, default + 0 if isinstance(default, (Size, Seconds, Port)) else default
                )  # a plain number

    def _read(self, name: str) -> dict:
        named = os.getenv("CONFIG")
        for path in [named] if named else [form % name for form in _PLACES]:
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except OSError as e:
                if named:
                    why = "no such file" if e.errno in _ABSENT else "cannot be read (error %d)" % e.errno
                    raise SettingsError("CONFIG=%s: %s" % (path, why))
                continue
            import tomllib  # what has no file starts sooner

            self.file = path
            try:
                return tomllib.loads(data.decode())
            except (ValueError, RuntimeError) as e:  # the latter: nested more deeply than the stack is
                raise SettingsError("%s: %s" % (path, str(e) or "it is not UTF-8"))
        return {}

    def _take(self, where: str, value: object, default: object) -> object:
        """A value that TOML gave a type."""
        kind = type(default)
        if kind in (Size, Seconds, Port) and type(value) in (str, int, float):
            return self._parse(where, str(value), default)
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise SettingsError("%s = %r: expected %s" % (where, value, _name_of(default)))
        if kind is list and not all(isinstance(each, str) for each in value):
            raise SettingsError("%s: expected a list of strings" % where)
        return value

    def _parse(self, where: str, text: str, default: object) -> object:
        """A value from words."""
        kind = type(default)
        try:
            if kind is bool:
                return _WORDS[text.lower()]
            if kind is list:
                return text.replace(",", " ").split()
            if kind is Size:
                return _with_unit(text, _UNITS, 1, upper=True)
            if kind is Seconds:
                return _with_unit(text, _TIMES, 0, upper=False)
            if kind is Port:
                return _port(text)
            return kind(text)
        except (ValueError, KeyError):
            raise SettingsError("%s=%s: expected %s" % (where, text, _name_of(default)))


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 65536:
        raise ValueError
    return number


def _with_unit(text: str, units: dict, step: int, upper: bool) -> object:
    """step 1: a whole number. Times end where their nanoseconds fit in 64 bits no more."""
    digits = len(text)
    while digits and not text[digits - 1].isdigit():
        digits -= 1
    unit = text[digits:].strip()
    if upper:
        unit = unit.upper().rstrip("B").rstrip("I") if unit else unit
    elif not unit:
        unit = "s"
    number = float(text[:digits]) * units[unit]
    if not 0 <= number < (1 << 50 if step else 1 << 33) or (step and number != int(number)):
        raise ValueError
    return int(number) if step else number


def _name_of(default: object) -> str:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, Size):
        return "a size, as 64K or 16M"
    if isinstance(default, Seconds):
        return "a time, as 5, 200ms or 2m"
    if isinstance(default, Port):
        return "a port, 0 to 65535"
    if isinstance(default, int):
        return "a whole number"
    if isinstance(default, float):
        return "a number"
    return "words" if isinstance(default, list) else "text"
