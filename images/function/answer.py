# SPDX-License-Identifier: MIT
"""From what a handler returns to an answer: a dict with statusCode, headers, cookies, body, isBase64Encoded; a tuple
(body, status, headers); None: 204; text, bytes, and what JSON can hold: 200."""

import binascii
import json

from message import Response

_TEXT = b"text/plain; charset=utf-8"
_JSON = b"application/json"
_BYTES = b"application/octet-stream"
_OURS = ("content-length", "transfer-encoding", "connection", "keep-alive", "date", "upgrade", "trailer", "te")
_NAME = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_VALUES_MOST = 1000000  # of one answer; each counts as often as JSON would write it
_BODILESS = (204, 205, 304)


class ReturnError(Exception):
    """What was returned is no answer."""


def answer_of(value: object, request_id: bytes) -> Response:
    """Raises ReturnError."""
    headers: object = None
    status, cookies, encoded = 200, (), False
    if isinstance(value, Response):
        return Response(value.status, value.body, b"", value.fields + ((b"X-Request-Id", request_id),))  # noqa: RUF005
    if isinstance(value, dict) and "statusCode" in value:
        status, headers = value["statusCode"], value.get("headers")
        cookies, encoded = value.get("cookies") or (), value.get("isBase64Encoded")
        value = value.get("body", "")
        if value is None:
            value = ""
    elif isinstance(value, tuple):
        if not 2 <= len(value) <= 3:
            raise ReturnError("a tuple is (body, status) or (body, status, headers)")
        status, headers = value[1], value[2] if len(value) == 3 else None
        value = value[0]
    elif value is None:
        status = 204
    if type(status) is not int or not 200 <= status <= 599:
        raise ReturnError("%r is no status: a number from 200 to 599" % (status,))
    body, kind = _body_of(value, encoded)
    fields, has_kind = _fields_of(headers, cookies)
    if status in _BODILESS:
        body = b""
    if has_kind or not body:
        kind = b""
    return Response(status, body, kind, tuple(fields) + ((b"X-Request-Id", request_id),))  # noqa: RUF005


def _body_of(value: object, encoded: bool) -> tuple:
    """Bytes, and of which type they are unless the handler says it."""
    if isinstance(value, str):
        if not encoded:
            return value.encode(), _TEXT
        try:
            return binascii.a2b_base64(value), _BYTES
        except ValueError:
            raise ReturnError("the body is not base64")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), _BYTES
    if value is None:
        return b"", b""
    _check_json(value, 0, _VALUES_MOST)
    return (json.dumps(value) + "\n").encode(), _JSON


def _check_json(value: object, depth: int, room: int) -> int:
    """MicroPython's dumps writes anything, in a form that nobody reads. room: for so many values, of which it
    returns what is left."""
    if depth > 32:
        raise ReturnError("what was returned is nested too deeply for JSON")
    if not room:
        raise ReturnError("what was returned has more than %d values" % _VALUES_MOST)
    room -= 1
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ReturnError("a key of JSON is text, not %s" % type(key).__name__)
            room = _check_json(inner, depth + 1, room)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            room = _check_json(inner, depth + 1, room)
    elif isinstance(value, float):
        if value - value != 0:
            raise ReturnError("%s is no number of JSON" % value)
    elif value is not None and not isinstance(value, (str, int, bool)):
        raise ReturnError("%s is not for JSON" % type(value).__name__)
    return room


def _fields_of(headers: object, cookies: object) -> tuple:
    """Pairs of bytes, and whether the type is among them."""
    fields = []
    has_kind = False
    if headers is not None and not isinstance(headers, dict):
        raise ReturnError("headers are a dict")
    for name, value in (headers or {}).items():
        low = name.lower() if isinstance(name, str) else ""
        for each in value if isinstance(value, (list, tuple)) else (value,):
            fields.append((_name(name), _value(each)))
        if low in _OURS:
            fields.pop()  # the server's own affair
        has_kind = has_kind or low == "content-type"
    if not isinstance(cookies, (list, tuple)):
        raise ReturnError("cookies are a list")
    for each in cookies:
        fields.append((b"Set-Cookie", _value(each)))
    return fields, has_kind


def is_name(raw: bytes) -> bool:
    """Whether it can be the name of a header."""
    return bool(raw) and all(char in _NAME for char in raw)


def _name(name: object) -> bytes:
    raw = name.encode() if isinstance(name, str) else b""
    if not is_name(raw):
        raise ReturnError("%r is no name of a header" % (name,))
    return raw


def _value(value: object) -> bytes:
    if not isinstance(value, (str, int, float, bytes)):
        raise ReturnError("a header is text, not %s" % type(value).__name__)
    raw = value if isinstance(value, bytes) else str(value).encode()
    for char in raw:
        if char != 9 and (char < 0x20 or char == 0x7F):
            raise ReturnError("a header with a control character")
    return raw
