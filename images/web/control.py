# SPDX-License-Identifier: MIT
"""Asks and changes the upstreams of a proxy while requests flow, by HTTP on a port of its own.

- GET /upstreams: all, as JSON
- POST /upstreams/HOST:PORT: add it, or end its draining; POST /upstreams/HOST:PORT/drain; DELETE /upstreams/HOST:PORT

Each request needs `Authorization: Bearer TOKEN`.
"""

from message import HttpError, Request, Response, json_response

FIGURES = ("requests", "failures", "retries", "connections")


def _same(one: bytes, other: bytes) -> bool:
    """Compare in a time that says nothing of where they differ."""
    if len(one) != len(other):
        return False
    differ = 0
    for at, char in enumerate(one):
        differ |= char ^ other[at]
    return differ == 0


class Control:
    """A handler of httpd.Server."""

    def __init__(self, proxy: object, token: bytes) -> None:
        self._proxy = proxy
        self._token = token.strip()

    def __call__(self, request: Request) -> Response:
        given = request.field(b"authorization")
        if not self._token or not _same(given, b"Bearer " + self._token):
            raise HttpError(401, "", ((b"WWW-Authenticate", b"Bearer"),))
        first, _, rest = request.path[1:].partition("/")
        name, _, verb = rest.partition("/")
        if first != "upstreams" or verb not in ("", "drain"):
            raise HttpError(404)
        return self._do(request.method, name, verb)

    def _do(self, method: str, name: str, verb: str) -> Response:
        balancer = self._proxy.balancer
        if name == "" and method in ("GET", "HEAD"):
            return json_response(describe(balancer))
        if name == "" or method not in ("POST", "DELETE"):
            raise HttpError(405, "", ((b"Allow", b"POST, DELETE" if name else b"GET, HEAD"),))
        if method == "POST" and not verb:
            try:
                balancer.add(name)
            except (ValueError, OSError) as exc:
                raise HttpError(400, str(exc))
            return json_response(describe(balancer), 201)
        done = balancer.drain(name) if verb else balancer.remove(name)
        if not done:
            raise HttpError(404, "no upstream " + name)
        return json_response(describe(balancer))


def describe(balancer: object) -> list:
    """Each upstream as a dict."""
    said = []
    for one in list(balancer.all.values()) + balancer.leaving:
        state = "draining" if one.draining else "down" if one.is_down else "up" if one.healthy else "out"
        told = {key: getattr(one, key) for key in FIGURES}
        told.update({"name": one.name, "from": one.origin, "state": state, "active": len(one.users)})
        said.append(told)
    return said
