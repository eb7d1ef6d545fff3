# SPDX-License-Identifier: MIT
"""Which handler a request gets, by path and method."""

from message import HttpError, Request, Response


class Router:
    """Maps (path, method) to handlers. A path that ends in "*" matches all that begin so."""

    def __init__(self, fallback: object) -> None:
        self._exact: dict = {}
        self._prefixes: list = []  # (prefix, {method: handler})
        self._fallback = fallback  # serves paths without a route

    def add(self, method: str, path: str, handler: object) -> None:
        if path.endswith("*"):
            for prefix, methods in self._prefixes:
                if prefix == path[:-1]:
                    methods[method] = handler
                    return
            self._prefixes.append((path[:-1], {method: handler}))
        else:
            self._exact.setdefault(path, {})[method] = handler

    def __call__(self, request: Request) -> object:
        if request.path == "*":  # OPTIONS * asks about the server as a whole
            return Response(204, fields=((b"Allow", b"GET, HEAD, POST, PUT, DELETE, OPTIONS"),))
        methods = self._find(request.path)
        if methods is None:
            return self._fallback(request)
        method = request.method
        handler = methods.get(method)
        if handler is None and method == "HEAD":
            handler = methods.get("GET")  # the connection leaves the body out
        return refuse_method(method, methods) if handler is None else handler(request)

    def _find(self, path: str) -> dict | None:
        methods = self._exact.get(path)
        if methods is None:
            for prefix, candidate in self._prefixes:
                if path.startswith(prefix):
                    return candidate
        return methods


def refuse_method(method: str, methods: dict) -> Response:
    """The answer to OPTIONS, HttpError 405 for any other method."""
    names = set(methods)
    names.add("OPTIONS")
    if "GET" in names:
        names.add("HEAD")
    allow = ((b"Allow", ", ".join(sorted(names)).encode()),)
    if method == "OPTIONS":
        return Response(204, fields=allow)
    raise HttpError(405, "", allow)
