# SPDX-License-Identifier: MIT
"""main.py over TLS: `floe run --tls`. The certificate with its chain and its key are the secrets `cert` and `key`."""

import ssl
import sys

import service
from httpd import Limits

import floe


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(floe.secret("cert"), floe.secret("key"))
    context.set_alpn_protocols(["http/1.1"])
    return context


def main() -> None:
    limits = Limits()
    limits.connections = 192  # each takes about 30 KiB
    try:
        context = _context()
    except (KeyError, OSError, ValueError) as exc:
        print("cannot serve TLS: %s (secrets cert and key, PEM)" % exc)
        sys.exit(2)
    service.run(443, limits, context)


main()
