# SPDX-License-Identifier: MIT
"""A table of a TOML file, read key by key: what is unknown, missing or of another type is told with its place, and with
what would be right."""

from appliance import SettingsError
from packet.values import address, network_range, number_range

MISSING = ()  # as a default: the key must be there


class Table:
    """where: its place, as "router.toml: route 2"; keys: all that it may have. Every method raises SettingsError."""

    def __init__(self, where: str, content: object, keys: tuple) -> None:
        self.where = where
        if not isinstance(content, dict):
            self.fail(None, "expected a table, [%s]" % where.rsplit(" ", 1)[-1])
        self.content = content
        for key in content:
            if key not in keys:
                key = sorted([each for each in content if each not in keys])[0]
                self.fail(None, "%s is no key of it; there are: %s" % (key, ", ".join(keys)))

    @staticmethod
    def each(where: str, content: object, keys: tuple, within: str = "") -> list:
        """Those of a list [[name]]. where: "router.toml: route"; within: "lan." for [[lan.name]]."""
        if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
            name = within + where.rsplit(" ", 1)[-1]
            raise SettingsError("%s: expected a list of tables, each [[%s]]" % (where, name))
        return [Table("%s %d" % (where, i + 1), each, keys) for i, each in enumerate(content)]

    def fail(self, key: str | None, problem: object) -> None:
        raise SettingsError("%s%s: %s" % (self.where, "" if key is None else ": " + (key or "''"), problem))

    def _get(self, key: str, default: object) -> object:
        if key in self.content:
            return self.content[key]
        if default is MISSING:
            self.fail(None, "%s is missing" % key)
        return default

    def _typed(self, key: str, default: object, kind: type, words: str) -> object:
        value = self._get(key, default)
        if type(value) is not kind and value is not default:
            self.fail(key, "%r: expected %s" % (value, words))
        return value

    def flag(self, key: str, default: bool) -> bool:
        return self._typed(key, default, bool, "true or false")

    def text(self, key: str, default: object = MISSING, words: str = "text") -> str:
        return self._typed(key, default, str, words)

    def number(self, key: str, default: object, least: int, most: int) -> int:
        value = self._typed(key, default, int, "a whole number")
        if value is not default and not least <= value <= most:
            self.fail(key, "%d: expected %d to %d" % (value, least, most))
        return value

    def items(self, key: str, default: object = MISSING, kinds: tuple = (str,), words: str = "text") -> list:
        """A list; one value alone is a list of one."""
        value = self._get(key, default)
        if value is default:
            return value
        found = value if isinstance(value, list) else [value]
        for each in found:
            if type(each) not in kinds:
                found = None
                break
        if not found:
            self.fail(key, "%r: expected %s, or a list of such" % (value, words))
        return found

    def names(self, key: str, known: object, default: object = MISSING) -> list:
        """A list of words that must be among those known."""
        value = self._get(key, default)
        if value is default:
            return value
        found = value if isinstance(value, list) else [value]
        for each in found or [found]:
            if type(each) is not str or each not in known:
                said = "there is no %s" % each if type(each) is str else "%r is no name" % (each,)
                self.fail(key, "%s; there are: %s" % (said, ", ".join(sorted(known)) or "none"))
        return found

    def checked(self, key: str, function: object, *args: object) -> object:
        """What a function gives that raises ValueError."""
        try:
            return function(*args)
        except ValueError as exc:
            self.fail(key, exc)

    def address(self, key: str, default: object = MISSING, family: int | None = None) -> str:
        """A machine's address as it stands. family: it must be of this one."""
        value = self.text(key, default, "an address")
        if value is not default:
            self.a_machines(key, value, family)
        return value

    def a_machines(self, key: str, text: str, family: int | None = None) -> tuple:
        """(4 or 6, number) of an address that a machine can have."""
        found, number = self.checked(key, address, text)
        if family not in (None, found):
            self.fail(key, "%s is IPv%d; expected IPv%d" % (text, found, family))
        if number in (0, 0xFFFFFFFF) or number >> (28 if found == 4 else 120) == (14 if found == 4 else 255):
            self.fail(key, "%s is no machine's address" % text)
        return found, number

    def networks(self, key: str, default: object = MISSING, words: tuple = ()) -> list:
        """Addresses, networks and ranges, and these words."""
        found = self.items(key, default, words="an address, a/24 or a-b")
        for each in found or ():
            if each not in words:
                self.checked(key, network_range, each)
        return found

    def ports(self, key: str, default: object = MISSING) -> list:
        """Ports and ranges of them."""
        found = self.items(key, default, (int, str), 'a port, or "a-b"')
        for each in found or ():
            self.checked(key, number_range, each, 65535, "port", {}, 1)
        return found
