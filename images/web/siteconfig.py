# SPDX-License-Identifier: MIT
"""The tables [[host]] of the configuration, checked: what is unknown or of another type is told with its place."""

from appliance import SettingsError
from hosts import HostSettings

STATUSES = (301, 302, 303, 307, 308)
_FRAMING = "connection content-length content-type date keep-alive te trailer transfer-encoding".split()  # noqa: SIM905
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_NAME = frozenset("-.0123456789abcdefghijklmnopqrstuvwxyz_")


def read_hosts(settings: object) -> list:
    """HostSettings of the file's tables. Raises SettingsError."""
    for key in settings.tables:
        if key != "host":
            raise SettingsError("%s: [%s] is no table of it; there are: [[host]]" % (settings.file, key))
    tables = settings.tables["host"]
    if not isinstance(tables, list):
        raise SettingsError("%s: [host]: expected [[host]]" % settings.file)
    hosts = []
    seen: dict = {}
    for number, table in enumerate(tables):
        place = "%s: host %d: " % (settings.file, number + 1)
        host = _read_host(place, table, settings.site)
        for name in host.names or [""]:
            if name in seen:
                what = "names: %s is host %d, too" % (name, seen[name]) if name else "there is a host without names"
                raise SettingsError(place + what)
            seen[name] = number + 1
        hosts.append(host)
    return hosts


def _read_host(place: str, table: dict, root: str) -> HostSettings:
    host = HostSettings(root)
    for key, value in table.items():
        if key not in dir(host) or key[:1] == "_" or key == "label":
            raise SettingsError("%s%s is no key of a host" % (place, key))
        where = place + key
        if key in ("names", "redirects", "proxy"):
            _want(where, value, list, "a list")
        elif key == "cache":
            value = (
                {"/*": value} if isinstance(value, str) else dict(host.cache, **_want(where, value, dict, "a table"))
            )
        elif key == "headers":
            _want(where, value, dict, "a table of texts")
        elif key == "root":
            _want(where, value, str, "text")
        else:
            _want(where, value, bool, "true or false")
        setattr(host, key, value)
    host.names = [_name(place + "names", name) for name in host.names]
    host.headers = {_field_name(place + "headers", name): value for name, value in host.headers.items()}
    for name, value in host.headers.items():
        _text("%sheaders: %s" % (place, name), value, " ")
    for path, value in host.cache.items():
        _path("%scache: %s" % (place, path), path)
        _text("%scache: %s" % (place, path), value, " ")
    host.redirects = [_redirect(place + "redirects", each) for each in host.redirects]
    host.proxy = [_proxy(place + "proxy", each) for each in host.proxy]
    return host


def _want(where: str, value: object, kind: type, text: str) -> object:
    if type(value) is not kind:
        raise SettingsError("%s = %r: expected %s" % (where, value, text))
    return value


def _text(where: str, value: object, least: str) -> str:
    """Text that ends no line of a header. least: the first character that may be in it."""
    _want(where, value, str, "text")
    for char in value:
        if not least <= char <= "~":
            raise SettingsError("%s = %r: has a character that no header may have" % (where, value))
    if not value or value.strip() != value:
        raise SettingsError("%s = %r: is empty, or has a blank at an end" % (where, value))
    return value


def _name(where: str, name: object) -> str:
    lower = _text(where, name, "!").lower()
    plain = lower[2:] if lower[:2] == "*." else lower
    if not plain or not all(char in _NAME for char in plain):
        raise SettingsError(
            "%s: %s is no name of a host (no port; `*.` at its beginning stands for any)" % (where, name)
        )
    return lower.rstrip(".")


def _field_name(where: str, name: str) -> str:
    lower = name.lower()
    if not name or not all(char in _TOKEN for char in lower):
        raise SettingsError("%s: %r is no name of a header field" % (where, name))
    if lower in _FRAMING:
        raise SettingsError("%s: %s is the server's own" % (where, name))
    return name


def _path(where: str, path: object) -> str:
    _text(where, path, "!")
    if path[0] != "/" or "*" in path[:-1]:
        raise SettingsError("%s = %s: expected a path, /a or /a/*" % (where, path))
    return path


def _redirect(where: str, table: object) -> tuple:
    _want(where, table, dict, "tables {from=, to=, status=}")
    for key in table:
        if key not in ("from", "to", "status"):
            raise SettingsError("%s: %s is no key of a redirect" % (where, key))
    source = _path(where + ": from", table.get("from"))
    where = "%s: %s" % (where, source)
    target = _text(where + ": to", table.get("to"), "!")
    scheme = target[:7] == "http://" or target[:8] == "https://"
    if not scheme and (target[0] != "/" or target[:2] == "//"):
        raise SettingsError("%s: to = %s: expected /path, http://... or https://..." % (where, target))
    if "*" in target and (target.index("*") < len(target) - 1 or source[-1] != "*"):
        raise SettingsError("%s: to = %s: `*` stands at the end, and at that of `from`" % (where, target))
    status = table.get("status", 301)
    if type(status) is not int or status not in STATUSES:  # 301.0 is 301, too
        raise SettingsError("%s: status = %r: one of %s" % (where, status, ", ".join([str(s) for s in STATUSES])))
    return source, target, status


def _proxy(where: str, table: object) -> tuple:
    _want(where, table, dict, "tables [[host.proxy]]")
    options = dict(table)
    path = _path(where + ": path", options.pop("path", "/*"))
    upstreams = _want(where + ": upstreams", options.pop("upstreams", None), list, 'a list, as ["web1:80"]')
    for each in upstreams:
        _text(where + ": upstreams", each, "!")
    return path, upstreams, options, where
