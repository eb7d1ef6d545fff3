# SPDX-License-Identifier: MIT
"""The proxy as settings describe it: UPSTREAMS, PROXY_..., or a table of the configuration."""

import os

from balance import LEAST, ROUND_ROBIN
from control import FIGURES, Control
from httpd import Server
from proxy import Options, Proxy

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def make_options(values: dict, label: object) -> Options:
    """Options from a table; times are in seconds, as connect_s. Raises ValueError; label(key) says where it stands."""
    options = Options()
    for key, value in values.items():
        name = key[:-2] + "_ms" if key[-2:] == "_s" else key
        default = getattr(options, name, None)
        if default is None or key[-3:] == "_ms":
            raise ValueError("%s is no option of a proxy" % label(key))
        try:
            setattr(options, name, _convert(name, value, default, name != key))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError("%s = %s: %s" % (label(key), value, _wanted(name, default, name != key)))
    return options


def _convert(name: str, value: object, default: object, seconds: bool) -> object:
    if isinstance(default, bool):
        return value if isinstance(value, bool) else _WORDS[value.lower()]
    if isinstance(default, int):
        number = float(value) * (1000 if seconds else 1)
        if isinstance(value, bool) or not 0 <= number < 1e9 or number != int(number):
            raise ValueError
        return int(number)
    if name == "balance" and value not in (ROUND_ROBIN, LEAST):
        raise ValueError
    for char in value:
        if not " " < char < "\x7f":
            raise ValueError
    return value.encode() if isinstance(default, bytes) else value


def _wanted(name: str, default: object, seconds: bool) -> str:
    if name == "balance":
        return "%s or %s" % (ROUND_ROBIN, LEAST)
    if isinstance(default, bool):
        return "expected true or false"
    if isinstance(default, int):
        return "expected seconds" if seconds else "expected a whole number"
    return "expected text without blanks"


def from_environment(log: object) -> Proxy:
    """UPSTREAMS=web1:80,web2:80 and PROXY_BALANCE, PROXY_CHECK_PATH, PROXY_READ_S, ... Raises ValueError."""
    values = {}
    for key in dir(Options()):
        if key[:1] != "_":
            key = key[:-3] + "_s" if key[-3:] == "_ms" else key
            text = os.getenv("PROXY_" + key.upper())
            if text:
                values[key] = text
    names = [name for name in os.getenv("UPSTREAMS").replace(",", " ").split() if name]
    return Proxy(names, make_options(values, lambda key: "PROXY_" + key.upper()), log)


def measure(app: object, proxies: list) -> None:
    """Metrics of all upstreams, by name. app: an appliance.App."""

    def all_of(value: object) -> list:
        return [((one.name,), value(one)) for proxy in proxies for one in proxy.balancer.all.values()]

    for name in FIGURES:
        count = lambda name=name: all_of(lambda one: getattr(one, name))  # noqa: E731
        app.counter("web_upstream_%s_total" % name, "Of an upstream.", ("upstream",), count)
    app.gauge("web_upstream_active", "Requests in flight.", ("upstream",), lambda: all_of(lambda one: len(one.users)))
    usable = lambda one: int(one.healthy and not one.is_down)  # noqa: E731
    app.gauge("web_upstream_healthy", "Whether it is asked.", ("upstream",), lambda: all_of(usable))


class Gateway:
    """The proxy and the port of its control. With CONTROL_PORT there must be a secret `control`."""

    def __init__(self, log: object = None) -> None:
        self.proxy = from_environment(log)
        text = os.getenv("CONTROL_PORT") or "0"
        if not text.isdigit() or int(text) > 65535:
            raise ValueError("CONTROL_PORT=%s: expected a port" % text)
        self._port = int(text)
        self._server: object = None
        if self._port:
            self._server = Server(Control(self.proxy, _token()))

    def start(self) -> None:
        if self._server is not None:
            self._server.start(self._port)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(1)


def _token() -> bytes:
    import floe

    try:
        token = floe.secret("control").strip()
    except (KeyError, OSError):
        token = b""
    if len(token) < 8:
        raise ValueError("CONTROL_PORT needs a secret `control` of at least 8 bytes")
    return token
