# SPDX-License-Identifier: MIT
"""Certificate and key of an appliance that is spoken to over TLS."""

import ssl
import sys

import floe


def tls_context(name: str, protocols: tuple = (), cert: object = None, key: object = None) -> ssl.SSLContext:
    """What asyncio.start_server() takes as `ssl`. name: of the appliance; protocols: for ALPN, the best first.

    cert, key: a path each, or the PEM as bytes; the secrets `cert` and `key` where they are None. What cannot be used
    is printed and ends the script with exit code 2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert or floe.secret("cert"), key or floe.secret("key"))
    except (KeyError, OSError, ValueError) as exc:
        print("error %s: cert and key: %s" % (name, exc))
        sys.exit(2)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context
