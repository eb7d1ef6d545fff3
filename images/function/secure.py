# SPDX-License-Identifier: MIT
"""main.py over TLS: `floe run images/function --tls`. The secrets `cert` and `key` are PEM."""

import ssl
import sys

import service

import floe


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(floe.secret("cert"), floe.secret("key"))
    except (ValueError, OSError) as exc:
        print("error function: secrets cert and key: %s" % exc)
        sys.exit(2)
    context.set_alpn_protocols(["http/1.1"])
    return context


service.run(8443, _context())
