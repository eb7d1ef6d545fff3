# SPDX-License-Identifier: MIT
"""What an appliance tells on a port of its own by HTTP: /metrics, /health, /ready.

Takes bytes and gives bytes; sockets are others'.
"""

MAX_HEAD = 2048  # bytes of a request
_TEXT = ""  # between text/plain and its character set
_METRICS = " version=0.0.4;"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def complete(head: bytes) -> bool:
    """Whether a request is whole, or more than is taken."""
    return b"\r\n\r\n" in head or b"\n\n" in head or len(head) > MAX_HEAD


def answer(app: object, head: bytes) -> bytes:
    """The answer to a request's head; the connection is closed after it."""
    words = head.split(b"\n", 1)[0].split()
    status, kind, body = 400, _TEXT, "bad request\n"
    method = b""
    if len(words) == 3 and words[2][:5] == b"HTTP/" and len(head) <= MAX_HEAD:
        method = words[0]
        if method in (b"GET", b"HEAD"):
            status, kind, body = _page(app, words[1].split(b"?")[0])
        else:
            status, body = 405, "GET or HEAD\n"
    data = body.encode()
    said = (
        "HTTP/1.1 %d %s\r\nContent-Type: text/plain;%s charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    )
    said = (said % (status, _REASONS[status], kind, len(data))).encode()
    return said if method == b"HEAD" else said + data


def _page(app: object, path: bytes) -> tuple:
    if path == b"/metrics":
        return 200, _METRICS, app.page()
    if path in (b"/health", b"/ready"):
        problems = app.problems()
        if path == b"/ready" and not app.is_ready:
            problems.append("starting" if not app.is_stopping else "stopping")
        return (503, _TEXT, "\n".join(problems) + "\n") if problems else (200, _TEXT, "ok\n")
    return 404, _TEXT, "there are: /metrics /health /ready\n"
