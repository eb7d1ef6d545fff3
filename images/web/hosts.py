# SPDX-License-Identifier: MIT
"""Which host a request is for, and what is done with all that it is asked: redirects, headers, proxies, files."""

from files import Files
from http1 import Head
from message import HttpError, Request, Response
from pages import Router

_MEMO = 256  # values of Host remembered
_MEMO_SIZE = 64  # bytes of the longest one
_ADDED = (b"set-cookie", b"vary", b"link")  # stand beside those of an upstream; others instead of them
_PLAIN = frozenset(b"-._~!$&'()*+,;=:@/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class HostSettings:
    """One host as it was configured; the values here are the defaults."""

    def __init__(self, root: str) -> None:
        self.names: list = []  # lower case; "*.x" stands for all below x; none: the default host
        self.root = root
        self.index = False  # list folders that have no index.html
        self.precompressed = True  # serve x.gz, x.br and x.zst for x
        self.cache = {"/*": "no-cache"}  # path, or beginning and "*" -> Cache-Control
        self.headers: dict = {}
        self.redirects: list = []  # (from, to, status)
        self.https = False  # redirect all of it to https
        self.api = False  # the notes
        self.proxy: list = []  # (path, upstreams, options, label)

    def label(self) -> str:
        return self.names[0] if self.names else "default"


def quote(path: str) -> bytes:
    """Percent-encode a path."""
    out = bytearray()
    for char in path.encode():
        if char in _PLAIN:
            out.append(char)
        else:
            out.extend(b"%%%02X" % char)
    return bytes(out)


class Host:
    """One host. secure: requests come over TLS; hidden: a file that is not served."""

    def __init__(self, settings: object, secure: bool, hidden: str) -> None:
        self.label = settings.label()
        self.api = settings.api
        self.headers = tuple([(name.encode(), value.encode()) for name, value in settings.headers.items()])
        self._own = [name.lower() for name, _ in self.headers if name.lower() not in _ADDED]
        self.files = Files(settings, self.headers, hidden)
        self.router = Router(self.files)
        self.proxies: list = []  # (path, handler)
        self._https = settings.https and not secure
        self._name = settings.label().encode() if settings.names and settings.names[0][0] != "*" else b""
        self._redirects = settings.redirects

    def __call__(self, request: Request) -> object:
        if self._https:
            return self.told(self._to_https(request.head))
        for source, target, status in self._redirects:
            if matches(source, request.path):
                return self.told(self._redirect(request.head, source, target, status))
        handler = self.proxy_of(request.path) or self.router
        return self.told(handler(request))

    def told(self, answer: object) -> object:
        """With the headers of this host; Files has put them into its own answers."""
        if self.headers and isinstance(answer, Response) and self.headers[0] not in answer.fields:
            answer.fields = answer.fields + self.headers
        return answer

    def over(self, fields: list) -> list:
        """An upstream's fields and those of this host, which count."""
        return [pair for pair in fields if pair[0].lower() not in self._own] + list(self.headers)

    def proxy_of(self, path: str) -> object:
        for pattern, proxy in self.proxies:
            if matches(pattern, path):
                return proxy
        return None

    def _to_https(self, head: Head) -> Response:
        name = head.fields.get(b"host", b"").lower()
        name = name.partition(b"]")[0] + b"]" if name[:1] == b"[" else name.partition(b":")[0]
        name = name or self._name
        if not name or head.path == "*":
            raise HttpError(400, "https only")
        return self._moved(b"https://" + name + quote(head.path), head, 301)

    def _redirect(self, head: Head, source: str, target: str, status: int) -> Response:
        where = target.encode()
        if target[-1] == "*":
            where = where[:-1] + quote(head.path[len(source) - 1 :])
            if where[:1] == b"/":
                where = b"/" + where.lstrip(b"/")  # `//x` would be a host
        return self._moved(where, head, status)

    def _moved(self, where: bytes, head: Head, status: int) -> Response:
        if head.query and b"?" not in where:
            where += b"?" + head.query
        text = b"%d: see %s\n" % (status, where)
        return Response(status, text, b"text/plain; charset=utf-8", ((b"Location", where),))


def matches(pattern: str, path: str) -> bool:
    """Whether a path is meant by `/a`, or by `/a/*`."""
    return path.startswith(pattern[:-1]) if pattern[-1] == "*" else path == pattern


class Sites:
    """All hosts; a handler of httpd.Server. strict: who asks for another host is refused."""

    def __init__(self, default: Host, strict: bool) -> None:
        self.hosts: list = []
        self.streams: object = None
        self._strict = strict
        self._names: dict = {}  # name -> Host
        self._below: list = []  # (".x", Host), the longest first
        self._memo: dict = {}  # Host as sent -> Host
        self._default = default  # the first, if none is without names

    def add(self, names: list, host: Host) -> None:
        """Names of a host; none: it is the default."""
        self.hosts.append(host)
        if not names:
            self._default = host
        for name in names:
            if name[:2] == "*.":
                self._below.append((name[1:].encode(), host))
            else:
                self._names[name.encode()] = host
        self._below.sort(key=lambda entry: -len(entry[0]))
        if host.proxies:
            self.streams = self._streams

    def find(self, field: bytes) -> Host:
        """Raises HttpError."""
        host = self._memo.get(field)
        if host is None:
            host = self._look_up(field)
            if len(field) <= _MEMO_SIZE:
                if len(self._memo) >= _MEMO:
                    self._memo.clear()
                self._memo[field] = host
        return host

    def _look_up(self, field: bytes) -> Host:
        name = field.lower()
        if name[:1] != b"[":
            name = name.partition(b":")[0].rstrip(b".")
        host = self._names.get(name)
        if host is not None:
            return host
        for end, candidate in self._below:
            if name.endswith(end):
                return candidate
        if self._strict:
            raise HttpError(421, "no such host here")
        return self._default

    def __call__(self, request: Request) -> object:
        head = request.head
        host = head.site = self.find(head.fields.get(b"host", b""))
        try:
            return host(request)
        except HttpError as exc:
            exc.fields = exc.fields + host.headers
            raise

    def _streams(self, head: Head) -> bool:
        proxy = self.find(head.fields.get(b"host", b"")).proxy_of(head.path)
        return proxy is not None and proxy.streams(head)
