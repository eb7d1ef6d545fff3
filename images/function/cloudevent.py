# SPDX-License-Identifier: MIT
"""A CloudEvent 1.0 in a request: binary mode (attributes are headers) or structured mode (all is JSON)."""

import binascii

import http1
from message import HttpError, parse_json

_STRUCTURED = "application/cloudevents+json"
_ATTRIBUTES = ("id", "source", "type", "specversion")


def taken_from(headers: dict, body: bytes, text: str | None) -> dict | None:
    """Attributes and "data". None: there is none. Raises HttpError 400."""
    kind = headers.get("content-type", "")
    plain = kind.split(";")[0].strip().lower()
    if plain == _STRUCTURED:
        found = parse_json(body)
        if isinstance(found, dict) and "data_base64" in found:
            try:
                found["data"] = binascii.a2b_base64(found.pop("data_base64"))
            except (ValueError, TypeError):
                raise HttpError(400, "data_base64 is not base64")
    elif "ce-specversion" in headers:
        found = {key[3:]: _unquoted(value) for key, value in headers.items() if key[:3] == "ce-"}
        if kind:
            found["datacontenttype"] = kind
        found["data"] = body if text is None else text
        if plain.endswith(("/json", "+json")):
            found["data"] = parse_json(body)
    else:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) and found[key] for key in _ATTRIBUTES):
        raise HttpError(400, "a CloudEvent has " + ", ".join(_ATTRIBUTES))
    if found["specversion"] != "1.0":
        raise HttpError(400, "CloudEvents 1.0 only")
    return found


def _unquoted(value: str) -> str:
    try:
        return str(http1.unquote(value.encode()), "utf-8")
    except UnicodeError:
        return value
