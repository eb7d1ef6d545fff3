# SPDX-License-Identifier: MIT
"""Several parts of a file in one answer (RFC 9110, section 14.6)."""

import binascii
import os

from message import Response


def several(content: object, spans: list, kind: bytes, fields: tuple) -> Response:
    border = binascii.hexlify(os.urandom(12))
    body = bytearray()
    for first, last in spans:
        body.extend(b"\r\n--%s\r\nContent-Type: %s\r\n" % (border, kind))
        body.extend(b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (first, last, len(content)))
        body.extend(content[first : last + 1])
    body.extend(b"\r\n--%s--\r\n" % border)
    return Response(206, body, b"multipart/byteranges; boundary=" + border, fields)
