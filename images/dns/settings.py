# SPDX-License-Identifier: MIT
"""What to serve: appliance's settings, of which those of zones may stand in a table `[zone."NAME"]` of the file for one
zone alone."""

import os

import dnsname
from access import Access, address_bytes
from appliance import Port, SettingsError
from tsig import Key

import floe

FOLDERS = ("/zones", "/rom/zones", "/rom")
# Who may have names forwarded: private networks. A server that does it for all is a weapon of others.
_NEAR = "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1 fc00::/7 fe80::/10"
DEFAULTS = {
    "port": Port(53),
    "udp_size": 1232,
    "connections": 128,
    "per_address": 32,
    "idle_s": 10,
    "rate": 0,
    "slip": 2,
    "reload_s": 5,
    "cache": 2048,
    "zones": [],
    "keys": [],
    "transfer": [],
    "notify": [],
    "primaries": [],
    "key": "",
    "forward": [],
    "clients": _NEAR.split(),
}
_OF_A_ZONE = ("file", "transfer", "notify", "primaries", "key")


class ZoneSettings:
    """One zone: what its table says, or the settings outside of tables."""

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

    def __init__(self, values: object) -> None:
        """values: an appliance.Settings of DEFAULTS."""
        self.values = values
        for name, default in DEFAULTS.items():
            if isinstance(default, int) and getattr(values, name) < 0:
                raise SettingsError("%s=%d is less than 0" % (name.upper(), getattr(values, name)))
        if not 512 <= values.udp_size <= 4096:
            raise SettingsError("UDP_SIZE is 512 to 4096")
        self._tables = self._checked(values.tables)
        self.keys = self._keys()
        self.zones = self._zones()
        try:
            self.forward = [_endpoint(word) for word in values.forward]
            self.clients = Access(values.clients, self.keys)
        except ValueError as exc:
            raise SettingsError("FORWARD, CLIENTS: %s" % exc)

    def _checked(self, tables: dict) -> dict:
        """Name of a zone -> its table."""
        found = {}
        for kind, zones in tables.items():
            if kind != "zone" or not isinstance(zones, dict):
                raise SettingsError('%s: %s: tables are [zone."NAME"]' % (self.values.file, kind))
            for text, table in zones.items():
                where = "%s: zone %s: " % (self.values.file, text)
                if not isinstance(table, dict):
                    raise SettingsError(where + "this is no table")
                for key in table:
                    if key not in _OF_A_ZONE:
                        known = ", ".join(_OF_A_ZONE)
                        raise SettingsError(
                            '%s%s is no setting; there are: %s; a name stands in quotes: [zone."%s.%s"]'
                            % (where, key, known, text, key)
                        )
                    if not isinstance(table[key], str if key == "file" else (str, list)):
                        raise SettingsError("%s%s: expected text, or a list of strings" % (where, key))
                found[_zone_name(text, where)] = table
        return found

    def _keys(self) -> dict:
        """Each key is a secret of the same name."""
        keys = {}
        for word in self.values.keys:
            try:
                name = dnsname.from_text(word.encode(), dnsname.ROOT)
                keys[name] = Key(name, floe.secret(word))
            except KeyError:
                raise SettingsError("KEYS: there is no secret %s" % word)
            except ValueError as exc:
                raise SettingsError("KEYS: %s: %s" % (word, exc))
        return keys

    def _zone(self, name: bytes, file: str) -> ZoneSettings:
        table = self._tables.get(name, {})

        def find(setting: str) -> list:
            return _words(table[setting] if setting in table else getattr(self.values, setting))

        return ZoneSettings(name, table.get("file", file), find, self.keys)

    def _zones(self) -> dict:
        zones = {name: self._zone(name, "") for name in self._tables}
        for word in self.values.zones:
            text, sign, file = word.rpartition("=")
            if not sign:
                text = _name_in_path(file)
                if self.values.primaries and "/" not in file:
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


def _words(value: object) -> list:
    """Of a text between blanks or commas, or of a list."""
    return value.replace(",", " ").split() if isinstance(value, str) else [str(word) for word in value]


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
