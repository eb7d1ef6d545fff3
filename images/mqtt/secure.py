# SPDX-License-Identifier: MIT
"""main.py over TLS: `floe run images/mqtt --tls`. The secrets `cert` and `key` are PEM."""

import ssl
import sys

import service

import floe


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(floe.secret("cert"), floe.secret("key"))
    except (ValueError, OSError) as exc:
        print("error mqtt: secrets cert and key: %s" % exc)
        sys.exit(2)
    return context


service.run(8883, _context())
