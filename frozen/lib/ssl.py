# SPDX-License-Identifier: MIT
# ssl, as MicroPython documents it and with CPython's names where that has more, over the C module tls.

from tls import *  # noqa: F403 - all of the C module is offered
from tls import CERT_NONE, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER, SSLContext


class TLSVersion:
    TLSv1_2 = 0x0303
    TLSv1_3 = 0x0304


def create_default_context(cafile=None, cadata=None):
    """A client's context that verifies; without arguments, against the certificates that the image trusts."""
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    if cafile is None and cadata is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile, cadata)
    return context


def wrap_socket(
    sock,
    server_side=False,
    key=None,
    cert=None,
    cert_reqs=CERT_NONE,
    cadata=None,
    server_hostname=None,
    do_handshake=True,
    suppress_ragged_eofs=False,
):
    """As MicroPython documents it: without cert_reqs nothing is verified."""
    context = SSLContext(PROTOCOL_TLS_SERVER if server_side else PROTOCOL_TLS_CLIENT)
    context.verify_mode = cert_reqs
    if key is not None:
        context.load_cert_chain(cert, key)
    if cadata is not None:
        context.load_verify_locations(cadata=cadata)
    return context.wrap_socket(
        sock,
        server_side=server_side,
        do_handshake_on_connect=do_handshake,
        server_hostname=server_hostname,
        suppress_ragged_eofs=suppress_ragged_eofs,
    )
