# SPDX-License-Identifier: MIT
"""Which answer a request gets: routes to handlers, and files of a folder as Prepared answers.

Files are found in a table made at start: what is not in the folder cannot be named, however the path is
spelled. On ROMFS a file's bytes are used where they lie in the image.
"""

import binascii
import os

from message import HttpError, Prepared, Request, Response

_KINDS = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "txt": b"text/plain; charset=utf-8",
    "svg": b"image/svg+xml",
    "png": b"image/png",
    "jpg": b"image/jpeg",
    "ico": b"image/x-icon",
    "wasm": b"application/wasm",
    "pdf": b"application/pdf",
}


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


class Files:
    """Serves the files below a folder, which must not change; "/" and "/x/" mean index.html there."""

    def __init__(self, folder: str) -> None:
        self._paths: dict = {}  # URL path -> file path
        self._answers: dict = {}  # (URL path, method, whether not modified) -> Prepared
        self._etags: dict = {}  # file path -> (content, ETag)
        self._walk(folder, "/")

    def __len__(self) -> int:
        return len(self._paths)

    def _walk(self, folder: str, url: str) -> None:
        for entry in os.ilistdir(folder):
            name, path = entry[0], folder + "/" + entry[0]
            if entry[1] == 0x4000:
                self._walk(path, url + name + "/")
            else:
                self._paths[url + name] = path
                if name == "index.html":
                    self._paths[url] = path

    def __call__(self, request: Request) -> Response:
        url, method = request.path, request.method
        path = self._paths.get(url)
        if path is None:
            raise HttpError(404)
        if method not in ("GET", "HEAD"):
            return refuse_method(method, {"GET": None})
        content, etag = self._load(path)
        unchanged = _matches(request.field(b"if-none-match"), etag)
        kind = _KINDS.get(path.rsplit(".", 1)[-1], b"application/octet-stream")
        fields = ((b"ETag", etag), (b"Cache-Control", b"no-cache"), (b"Accept-Ranges", b"bytes"))
        if not unchanged and method == "GET" and request.field(b"if-range") in (b"", etag):
            span = _parse_range(request.field(b"range"), len(content))
            if span is not None:
                return _part(content, span, kind, fields)
        key = (url, method, unchanged)
        answer = self._answers.get(key)
        if answer is None:
            status = 304 if unchanged else 200
            answer = Prepared(method, status, b"" if unchanged else content, b"" if unchanged else kind, fields)
            answer.alike = True
            self._answers[key] = answer
        return answer

    def _load(self, path: str) -> tuple:
        """A file's bytes, in place if the file system allows it, and its ETag."""
        loaded = self._etags.get(path)
        if loaded is None:
            with open(path, "rb") as file:
                try:
                    content = memoryview(file)
                except TypeError:
                    content = file.read()
            etag = '"%x-%08x"' % (len(content), binascii.crc32(content))
            loaded = self._etags[path] = (content, etag.encode())
        return loaded


def _matches(field: bytes, etag: bytes) -> bool:
    """If-None-Match, with weak comparison (RFC 9110, section 13.1.2)."""
    if not field:
        return False
    if field == b"*":
        return True
    for candidate in field.split(b","):
        candidate = candidate.strip()
        if candidate == etag or candidate == b"W/" + etag:
            return True
    return False


def _parse_range(field: bytes, size: int) -> tuple | None:
    """First and last byte of a one-part Range (RFC 9110, section 14.2). None: send everything."""
    if field[:6] != b"bytes=" or b"," in field:
        return None
    first, dash, last = field[6:].strip().partition(b"-")
    if not dash or not (first or last) or not (first + last).isdigit():
        return None
    if not first:
        start, end = max(0, size - int(last)), size - 1
        if int(last) == 0:
            start = size
    else:
        start, end = int(first), min(size - 1, int(last)) if last else size - 1
        if last and int(last) < start:
            return None
    if start >= size:
        raise HttpError(416, "", ((b"Content-Range", b"bytes */%d" % size),))
    return start, end


def _part(content: bytes, span: tuple, kind: bytes, fields: tuple) -> Response:
    start, end = span
    where = b"bytes %d-%d/%d" % (start, end, len(content))
    fields = fields + ((b"Content-Range", where),)  # noqa: RUF005 - MicroPython has no (*x, y)
    return Response(206, content[start : end + 1], kind, fields)
