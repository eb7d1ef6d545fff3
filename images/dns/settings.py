# SPDX-License-Identifier: MIT
"""What to serve: read once at start from the environment and from a file of settings.

The file has lines `name = value`, comments behind #, and sections `[zone NAME]`. A setting outside of sections is the
same as the variable of that name in capitals, which wins over it.
"""

import os

import dnsname
from access import Access, address_bytes
from tsig import Key

import floe

FOLDERS = ("/zones", "/rom/zones", "/rom")
FILES = ("/dns.conf", "/rom/dns.conf")
_NUMBERS = {
    "port": 53,
    "udp_size": 1232,
    "connections": 128,
    "per_address": 32,
    "idle_s": 10,
    "rate": 0,
    "slip": 2,
    "reload_s": 5,
    "cache": 2048,
}
_LISTS = ("zones", "keys", "transfer", "notify", "primaries", "key", "forward", "clients")
_ZONE = ("file", "transfer", "notify", "primaries", "key")
# Who may have names forwarded: private networks. A server that does it for all is a weapon of others.
_NEAR = "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1 fc00::/7 fe80::/10"


class SettingsError(ValueError):
    """One setting that cannot be."""


class ZoneSettings:
    """One zone: what its section says, or the settings outside of sections."""

    def __init__(self, name: bytes, file: str, find: object, keys: dict) -> None:
        """find(setting's name): its words. Raises SettingsError."""
        self.name = name
        self.file = file
        where = "zone %s: " % dnsname.to_text(name)
        try:
            self.transfer = Access(find("transfer"), keys)  # who may have all of it
            self.notify = [_endpoint(word) for word in find("notify")]  # who is told that it has changed
            self.primaries = [_endpoint(word) for word in find("primaries")]  # where it comes from, if not of a file
            key = find("key")  # with which transfers are asked for and notifications are sent
            self.key = keys[dnsname.from_text(key[0].encode(), dnsname.ROOT)] if key else None
        except ValueError as exc:
            raise SettingsError(where + str(exc))
        except KeyError:
            raise SettingsError("%skey %s is not among KEYS" % (where, key[0]))


def _endpoint(text: str) -> tuple:
    """(address, port) of ADDRESS or ADDRESS@PORT. Raises ValueError."""
    address, at, port = text.partition("@")
    address_bytes(address)
    if at and not (port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("%s is no ADDRESS@PORT" % text)
    return address, int(port) if at else 53


class Settings:
    """All settings. Raises SettingsError."""

    def __init__(self) -> None:
        self._values: dict = {}
        self._sections: dict = {}  # name of a zone -> dict
        path = os.getenv("CONFIG") or ""
        for candidate in [path] if path else FILES:
            lines = _read(candidate)
            if lines is not None:
                self._parse(candidate, lines)
                break
            if path:
                raise SettingsError("CONFIG=%s: no such file" % path)
        self.numbers = {name: self._number(name, default) for name, default in _NUMBERS.items()}
        if not 512 <= self.numbers["udp_size"] <= 4096:
            raise SettingsError("UDP_SIZE is 512 to 4096")
        self.keys = self._keys()
        self.zones = self._zones()
        try:
            self.forward = [_endpoint(word) for word in self.words("forward")]
            self.clients = Access(self.words("clients") or _NEAR.split(), self.keys)
        except ValueError as exc:
            raise SettingsError("FORWARD, CLIENTS: %s" % exc)

    def _value(self, name: str) -> str:
        return os.getenv(name.upper()) or self._values.get(name, "")

    def words(self, name: str) -> list:
        """The words of a setting, between blanks or commas."""
        return self._value(name).replace(",", " ").split()

    def _number(self, name: str, default: int) -> int:
        text = self._value(name)
        if text and not text.isdigit():
            raise SettingsError("%s=%s is not a number" % (name.upper(), text))
        return int(text) if text else default

    def _keys(self) -> dict:
        """Each key is a secret of the same name."""
        keys = {}
        for word in self.words("keys"):
            try:
                name = dnsname.from_text(word.encode(), dnsname.ROOT)
                keys[name] = Key(name, floe.secret(word))
            except KeyError:
                raise SettingsError("KEYS: there is no secret %s" % word)
            except ValueError as exc:
                raise SettingsError("KEYS: %s: %s" % (word, exc))
        return keys

    def _zone(self, name: bytes, file: str) -> ZoneSettings:
        section = self._sections.get(name, {})

        def find(setting: str) -> list:
            return section[setting].replace(",", " ").split() if setting in section else self.words(setting)

        return ZoneSettings(name, section.get("file", file), find, self.keys)

    def _parse(self, path: str, lines: list) -> None:
        section = self._values
        names = sorted(list(_NUMBERS) + list(_LISTS))
        for number, line in enumerate(lines, 1):
            line = line.partition("#")[0].strip()
            if not line:
                continue
            where = "%s:%d: " % (path, number)
            if line[0] == "[":
                words = line.strip("[]").split()
                if len(words) != 2 or words[0] != "zone" or line[-1] != "]":
                    raise SettingsError(where + "a section is [zone NAME]")
                section = self._sections.setdefault(_zone_name(words[1], where), {})
                names = _ZONE
                continue
            name, sign, value = line.partition("=")
            name = name.strip().lower().replace("-", "_")
            if not sign or name not in names:
                raise SettingsError("%s%s is no setting; there are: %s" % (where, name, ", ".join(names)))
            section[name] = value.strip()

    def _zones(self) -> dict:
        zones = {name: self._zone(name, "") for name in self._sections}
        for word in self.words("zones"):
            text, sign, file = word.rpartition("=")
            if not sign:
                text = _name_in_path(file)
                if self.words("primaries") and "/" not in file:
                    file = ""
            name = _zone_name(text, "ZONES: ")
            zones[name] = self._zone(name, file)
        for folder in FOLDERS:
            if zones:
                break
            for file in _zone_files(folder):
                name = _zone_name(_name_in_path(file), "%s: " % file)
                zones[name] = self._zone(name, file)
        for zone in zones.values():
            if not zone.file and not zone.primaries:
                raise SettingsError("zone %s: neither file nor primaries" % dnsname.to_text(zone.name))
        return zones


def _read(path: str) -> list | None:
    try:
        with open(path) as file:
            return file.read().split("\n")
    except OSError:
        return None


def _name_in_path(path: str) -> str:
    """/zones/example.org.zone is that of example.org."""
    name = path.rsplit("/", 1)[-1]
    return name[:-5] if name.endswith(".zone") else name


def _zone_name(text: str, where: str) -> bytes:
    try:
        return dnsname.from_text(text.encode(), dnsname.ROOT)
    except ValueError as exc:
        raise SettingsError("%s%s" % (where, exc))


def _zone_files(folder: str) -> list:
    try:
        return sorted([folder + "/" + name for name in os.listdir(folder) if name.endswith(".zone")])
    except OSError:
        return []
